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
    let is_to_client = match packet::ether_type(packet) {
        Some(packet::ETH_P_IP) => packet::udp(packet).is_some_and(|udp| udp.destination == crate::dhcp::CLIENT_PORT),
        Some(kind) if packet::ETH_P_VLAN.contains(&kind) => matches!(
            packet::behind_tags(packet),
            packet::Behind::Udp(crate::dhcp::CLIENT_PORT) | packet::Behind::TooDeep
        ),
        _ => false,
    };
    if is_to_client { Err(Reason::DhcpServer) } else { Ok(()) }
}
