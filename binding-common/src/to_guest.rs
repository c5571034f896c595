//! May the guest have a frame that the network sends?

use crate::{
    arp,
    counters::Reason,
    packet::{self, Packet},
};

/// Drops what would have the guest doubt its lease.
///
/// What a DHCP server sends to a client: with the responder on, the guest has one server, and it is not out there. The
/// destination port decides, since clients take an offer from any source port. Messages to a relay (port 67) pass.
///
/// And ARP packets whose sender has the lease's address: the pod has it, and nobody else. Gateways that answer for every
/// address, and the old host of a guest that has moved, say otherwise.
#[inline(always)]
pub fn classify(packet: &(impl Packet + ?Sized), lease: [u8; 4]) -> Result<(), Reason> {
    let is_to_client = match packet::ether_type(packet) {
        Some(packet::ETH_P_ARP) if arp::claims(packet, lease) => return Err(Reason::ArpConflict),
        Some(packet::ETH_P_IP) => packet::udp(packet).is_some_and(|udp| udp.destination == crate::dhcp::CLIENT_PORT),
        Some(kind) if packet::ETH_P_VLAN.contains(&kind) => matches!(
            packet::behind_tags(packet),
            packet::Behind::Udp(crate::dhcp::CLIENT_PORT) | packet::Behind::TooDeep
        ),
        _ => false,
    };
    if is_to_client { Err(Reason::DhcpServer) } else { Ok(()) }
}
