//! The ARP responder: it answers where the network would not.
//!
//! Three kinds of address are nobody's on the wire, or have a MAC that only the pod's own neighbour table knows: the
//! stand-in for a gateway that serves as DHCP server ([`crate::dhcp::LINK_LOCAL_SERVER`]); neighbours that the CNI wrote
//! into the pod as permanent ones, because the host side does not answer for them (AWS); and, where the operator wants
//! it so, everything, at the gateway's MAC. Which address is at which MAC, a table says; the rest is here.
//!
//! And a client whose address was lost ([`Request::looks_for`]) is told where its server is. It renews there, and most
//! clients must find it first, from the address that the guard lets pass no more; so it gets this far, and then its NAK.
//!
//! For the lease's own address nothing is ever answered, and nothing that the network says of it reaches the guest
//! ([`claims`]): a gateway that answers for every address would make a client that probes (RFC 5227) decline its lease,
//! again and again. The guest's own probes and announcements pass to the network: switches learn from them, and
//! neighbours renew what they know.

use crate::{
    MacAddr,
    packet::{ETH_P_ARP, Packet, ether_type},
};

/// How many addresses are answered for at the most.
pub const MAX_NEIGHBOURS: u32 = 128;

/// For what the responder answers.
pub mod answers {
    /// For nothing.
    pub const NONE: u32 = 0;
    /// For the addresses of its table.
    pub const TABLE: u32 = 1;
    /// For those, and at the gateway's MAC for every other.
    pub const ALL: u32 = 2;
}

/// Octets of an Ethernet frame with an ARP packet for IPv4.
pub const FRAME: usize = 42;

/// Offset of the sender's hardware address; RARP has it in the same place.
pub const SENDER_MAC: usize = 22;
/// Offset of the sender's protocol address.
const SENDER: usize = 28;
/// Offset of the target's hardware address; RARP has it in the same place.
pub const TARGET_MAC: usize = 32;
/// Offset of the target's protocol address.
const TARGET: usize = 38;

/// The fixed part of a packet for IPv4 over Ethernet (RFC 826): hardware and protocol type, their address lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// Hardware types of a frame of Ethernet: its own, and that of IEEE 802, which Linux takes for the same (`arp_process`).
const ETHERNET: u8 = 1;
const IEEE_802: u8 = 6;
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A request for the MAC of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks; zero is a probe (RFC 5227).
    pub sender: [u8; 4],
    /// Who asks.
    pub sender_mac: MacAddr,
    /// What is asked for.
    pub target: [u8; 4],
}

impl Request {
    /// Reads a frame; `None` for everything that asks for no IPv4 address on Ethernet.
    #[inline(always)]
    pub fn read(packet: &(impl Packet + ?Sized)) -> Option<Self> {
        if ether_type(packet)? != ETH_P_ARP || !is_ipv4(packet)? || packet.header(20)? != REQUEST {
            return None;
        }
        Some(Self {
            sender: packet.header(SENDER)?,
            sender_mac: MacAddr(packet.header(SENDER_MAC)?),
            target: packet.header(TARGET)?,
        })
    }

    /// Whether somebody else than the asker can answer: it asks neither for its own address, which is an announcement,
    /// nor for that of the lease, which is a probe.
    #[inline(always)]
    pub fn asks_for_another(&self, lease: [u8; 4]) -> bool {
        self.target != lease && self.target != self.sender
    }

    /// Whether it looks whether anybody has an address (RFC 5227).
    #[inline(always)]
    pub fn is_probe(&self) -> bool {
        self.sender == [0; 4]
    }

    /// Whether `guest` looks for `server`. One that asks for the address that it says to have announces it.
    #[inline(always)]
    pub fn looks_for(&self, server: [u8; 4], guest: MacAddr) -> bool {
        self.target == server && self.sender != server && self.sender_mac == guest
    }

    /// The reply: the target is at `mac`.
    #[inline(always)]
    pub fn reply(&self, mac: MacAddr) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        frame[0..6].copy_from_slice(&self.sender_mac.0);
        frame[6..12].copy_from_slice(&mac.0);
        frame[12..14].copy_from_slice(&ETH_P_ARP);
        frame[14..20].copy_from_slice(&ETHERNET_IPV4);
        frame[20..22].copy_from_slice(&REPLY);
        frame[SENDER_MAC..SENDER].copy_from_slice(&mac.0);
        frame[SENDER..TARGET_MAC].copy_from_slice(&self.target);
        frame[TARGET_MAC..TARGET].copy_from_slice(&self.sender_mac.0);
        frame[TARGET..FRAME].copy_from_slice(&self.sender);
        frame
    }
}

/// Whether an ARP packet says that its sender has this address, be it a request or a reply.
#[inline(always)]
pub fn claims(packet: &(impl Packet + ?Sized), address: [u8; 4]) -> bool {
    let of_ethernet = matches!(packet.header::<6>(14), Some([0, ETHERNET | IEEE_802, 8, 0, 6, 4]));
    of_ethernet && packet.header(SENDER) == Some(address)
}

#[inline(always)]
pub(crate) fn is_ipv4(packet: &(impl Packet + ?Sized)) -> Option<bool> {
    Some(packet.header(14)? == ETHERNET_IPV4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ETH_P_RARP;

    const SERVER: [u8; 4] = [169, 254, 75, 10];
    const LEASE: [u8; 4] = [10, 1, 1, 5];
    const GUEST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn packet(operation: [u8; 2], sender: [u8; 4], target: [u8; 4]) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        frame[0..6].fill(0xff);
        frame[6..12].copy_from_slice(&GUEST.0);
        frame[12..14].copy_from_slice(&ETH_P_ARP);
        frame[14..20].copy_from_slice(&ETHERNET_IPV4);
        frame[20..22].copy_from_slice(&operation);
        frame[22..28].copy_from_slice(&GUEST.0);
        frame[28..32].copy_from_slice(&sender);
        frame[38..42].copy_from_slice(&target);
        frame
    }

    #[test]
    fn a_reply_says_where_the_target_is() {
        let request = Request::read(&packet(REQUEST, LEASE, SERVER)[..]).unwrap();
        assert!(request.asks_for_another(LEASE));
        let reply = request.reply(MAC);
        assert_eq!(reply[0..6], GUEST.0);
        assert_eq!(reply[20..22], REPLY);
        assert_eq!(reply[22..28], MAC.0);
        assert_eq!(reply[28..32], SERVER);
        assert_eq!(reply[32..42], [2, 0, 0, 0, 0, 9, 10, 1, 1, 5]);
    }

    #[test]
    fn what_asks_for_no_address_is_no_request() {
        assert_eq!(Request::read(&packet(REPLY, LEASE, SERVER)[..]), None);
        assert_eq!(Request::read(&packet(REQUEST, LEASE, SERVER)[..FRAME - 1]), None);
        let mut other = packet(REQUEST, LEASE, SERVER);
        other[18] = 8;
        assert_eq!(Request::read(&other[..]), None);
        let mut reverse = packet(REQUEST, LEASE, SERVER);
        reverse[12..14].copy_from_slice(&ETH_P_RARP);
        assert_eq!(Request::read(&reverse[..]), None);
    }

    #[test]
    fn probes_and_announcements_are_for_nobody_to_answer() {
        let asks = |sender, target| Request::read(&packet(REQUEST, sender, target)[..]).unwrap();
        assert!(!asks([0; 4], LEASE).asks_for_another(LEASE), "a probe");
        assert!(!asks(LEASE, LEASE).asks_for_another(LEASE), "an announcement");
        assert!(!asks([10, 9, 9, 9], [10, 9, 9, 9]).asks_for_another(LEASE), "an announcement of a second address");
        assert!(!asks([10, 9, 9, 9], LEASE).asks_for_another(LEASE), "a guest that looks whether it has the lease");
        let probe = asks([0; 4], SERVER);
        assert!(probe.asks_for_another(LEASE) && probe.is_probe(), "a probe for another");
    }

    #[test]
    fn only_the_guest_looks_for_the_server_and_not_by_announcing_it() {
        let asks = |sender, target| Request::read(&packet(REQUEST, sender, target)[..]).unwrap();
        assert!(asks([10, 9, 9, 9], SERVER).looks_for(SERVER, GUEST));
        assert!(!asks([10, 9, 9, 9], SERVER).looks_for(SERVER, MAC), "somebody else's MAC");
        assert!(!asks([10, 9, 9, 9], LEASE).looks_for(SERVER, GUEST), "for somebody else");
        assert!(!asks(SERVER, SERVER).looks_for(SERVER, GUEST), "an announcement");
    }

    #[test]
    fn a_claim_of_the_lease_is_one_in_requests_and_in_replies() {
        for operation in [REQUEST, REPLY] {
            assert!(claims(&packet(operation, LEASE, SERVER)[..], LEASE));
            assert!(!claims(&packet(operation, SERVER, LEASE)[..], LEASE));
            let mut of_ieee_802 = packet(operation, LEASE, SERVER);
            of_ieee_802[15] = 6;
            assert!(claims(&of_ieee_802[..], LEASE));
        }
        assert!(!claims(&packet(REPLY, LEASE, SERVER)[..20], LEASE));
    }
}
