//! Neighbour discovery: what a message says of its sender (RFC 4861, RFC 4862).

use super::{Policy, ipv6};
use crate::{
    MacAddr,
    packet::{ETH_HEADER, Packet},
};

/// A router solicitation.
pub(super) const ROUTERS: u8 = 133;
/// A neighbour solicitation.
pub(super) const SOLICITATION: u8 = 135;
/// A neighbour advertisement.
pub(super) const ADVERTISEMENT: u8 = 136;
/// Options of one message that are looked at. Two are defined for these messages, a nonce and its timestamp are two more.
const MAX_OPTIONS: usize = 6;
/// Source and target link-layer address (RFC 4861, 4.6.1).
const LINK_LAYER_ADDRESS: [u8; 2] = [1, 2];

/// A message of neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its offset in the frame.
    pub at: usize,
    /// Its type, which says how long it is.
    pub kind: u8,
    /// It comes from the unspecified address, so a solicitation claims its target.
    pub nobody: bool,
}

/// Whether a message says nothing of anybody but the guest: a target that is claimed is its own, and every link-layer
/// address is its MAC.
#[inline(always)]
pub fn is_true(packet: &(impl Packet + ?Sized), message: Message, policy: &impl Policy) -> bool {
    let Message { at, kind, nobody } = message;
    let claims = kind == ADVERTISEMENT || (kind == SOLICITATION && nobody);
    if claims && !ipv6::address(packet, at + 8).is_some_and(|target| ipv6::is_own(target, policy)) {
        return false;
    }
    let Some(length) = packet.load(18) else { return false };
    let end = ETH_HEADER + 40 + usize::from(u16::from_be_bytes(length));
    let mut at = at + if kind == ROUTERS { 8 } else { 24 };
    for _ in 0..MAX_OPTIONS {
        if at >= end {
            return at == end;
        }
        let Some([kind, words, mac @ ..]) = packet.load::<8>(at) else { return false };
        if words == 0 {
            return false;
        }
        if LINK_LAYER_ADDRESS.contains(&kind) && (words != 1 || !is_guest(MacAddr(mac), policy)) {
            return false;
        }
        at += usize::from(words) * 8;
    }
    at == end
}

#[inline(always)]
fn is_guest(mac: MacAddr, policy: &impl Policy) -> bool {
    mac == policy.guest() || policy.allows_mac(mac)
}
