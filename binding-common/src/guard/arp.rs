//! ARP and RARP: what a packet says of its sender.

use super::Policy;
use crate::{
    MacAddr,
    arp::{self, SENDER_MAC},
    packet::Packet,
};

/// RARP's request, `ares_op$REQUEST_REVERSE` (RFC 903). QEMU announces a guest with it, after a migration.
const REQUEST_REVERSE: [u8; 2] = [0, 3];

/// Whether the sender of an ARP packet is the guest, with an address of its own, or none (a probe, RFC 5227).
#[inline(always)]
pub(super) fn is_true(packet: &(impl Packet + ?Sized), policy: &impl Policy) -> bool {
    let Some(Sender { mac, address }) = Sender::read(packet) else { return false };
    if arp::is_ipv4(packet) != Some(true) || !is_guest(mac, policy) {
        return false;
    }
    address == [0; 4] || address == policy.lease() || policy.allows_ipv4(address)
}

/// Whether the sender of a RARP packet is the guest, and asks. It has no address: it would be told one.
#[inline(always)]
pub(super) fn is_true_reverse(packet: &(impl Packet + ?Sized), policy: &impl Policy) -> bool {
    let Some(Sender { mac, address }) = Sender::read(packet) else { return false };
    packet.header(20) == Some(REQUEST_REVERSE) && address == [0; 4] && is_guest(mac, policy)
}

/// What a packet says of its sender.
struct Sender {
    mac: MacAddr,
    address: [u8; 4],
}

impl Sender {
    /// Reads both at once: of several reads the verifier would try the ways where one fails and a later one does not.
    #[inline(always)]
    fn read(packet: &(impl Packet + ?Sized)) -> Option<Self> {
        let octets = packet.header::<10>(SENDER_MAC)?;
        Some(Self { mac: MacAddr(*octets.first_chunk()?), address: *octets.last_chunk()? })
    }
}

#[inline(always)]
fn is_guest(mac: MacAddr, policy: &impl Policy) -> bool {
    mac == policy.guest() || policy.allows_mac(mac)
}
