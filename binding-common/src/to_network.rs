//! Whose is a frame that the guest sends?

use crate::packet::{self, Packet};

/// What a frame of the guest is, as far as the programs must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// To be forwarded as it is.
    Plain,
    /// An ARP packet; whether it is ours to answer, [`crate::arp`] says.
    Arp,
    /// Sent to the DHCP server port; [`crate::dhcp`] decides what becomes of it.
    Dhcp(packet::Udp),
    /// Sent to the DHCP server port behind tags which a receiver would take off, or behind more of them than anybody needs.
    Hidden,
}

/// Tells frames that a responder must see from the rest.
#[inline(always)]
pub fn classify(packet: &(impl Packet + ?Sized)) -> Class {
    match packet::ether_type(packet) {
        Some(packet::ETH_P_ARP) => Class::Arp,
        Some(packet::ETH_P_IP) => match packet::udp(packet) {
            Some(udp) if udp.destination == crate::dhcp::SERVER_PORT => Class::Dhcp(udp),
            _ => Class::Plain,
        },
        Some(kind) if packet::ETH_P_VLAN.contains(&kind) => match packet::behind_tags(packet) {
            packet::Behind::Udp(crate::dhcp::SERVER_PORT) | packet::Behind::TooDeep => Class::Hidden,
            _ => Class::Plain,
        },
        _ => Class::Plain,
    }
}
