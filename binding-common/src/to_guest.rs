//! May the guest have a frame that the network sends?

use crate::{
    counters::Reason,
    packet::{self, Packet},
};

/// Drops what a DHCP server sends to a client: with the responder on, the guest has one server, and it is not out there.
///
/// The destination port decides, since clients take an offer from any source port. Messages to a relay (port 67) pass.
#[inline(always)]
pub fn classify(packet: &(impl Packet + ?Sized)) -> Result<(), Reason> {
    if packet::ether_type(packet) != Some(packet::ETH_P_IP) {
        return Ok(());
    }
    match packet::udp(packet) {
        Some(udp) if udp.destination == crate::dhcp::CLIENT_PORT => Err(Reason::DhcpServer),
        _ => Ok(()),
    }
}
