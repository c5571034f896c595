//! The ARP responder: it answers for the DHCP server's address where that is nobody else's.
//!
//! Without a gateway there is no host whose address could serve as server identifier, so a link-local one stands in
//! ([`crate::dhcp::LINK_LOCAL_SERVER`]). The guest resolves it before it renews its lease by unicast.

use crate::{
    MacAddr,
    packet::{ETH_P_ARP, Packet},
};

/// Octets of an Ethernet frame with an ARP packet for IPv4.
pub const FRAME: usize = 42;

/// The fixed part of a packet for IPv4 over Ethernet (RFC 826): hardware and protocol type, their address lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// The reply to a request for `address`, which is at `mac`; `None` when the packet asks for anything else.
///
/// A probe (RFC 5227: sender address zero) is answered too: the address is in use.
#[inline(always)]
pub fn reply(packet: &(impl Packet + ?Sized), address: [u8; 4], mac: MacAddr) -> Option<[u8; FRAME]> {
    if packet.header(14)? != ETHERNET_IPV4 || packet.header(20)? != REQUEST || packet.header(38)? != address {
        return None;
    }
    let sender_mac: [u8; 6] = packet.header(22)?;
    let sender_address: [u8; 4] = packet.header(28)?;
    let mut frame = [0; FRAME];
    frame[0..6].copy_from_slice(&sender_mac);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&ETH_P_ARP);
    frame[14..20].copy_from_slice(&ETHERNET_IPV4);
    frame[20..22].copy_from_slice(&REPLY);
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&address);
    frame[32..38].copy_from_slice(&sender_mac);
    frame[38..42].copy_from_slice(&sender_address);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: [u8; 4] = [169, 254, 75, 10];
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn request(target: [u8; 4]) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        frame[0..6].fill(0xff);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[12..14].copy_from_slice(&ETH_P_ARP);
        frame[14..20].copy_from_slice(&ETHERNET_IPV4);
        frame[20..22].copy_from_slice(&REQUEST);
        frame[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[28..32].copy_from_slice(&[10, 1, 1, 5]);
        frame[38..42].copy_from_slice(&target);
        frame
    }

    #[test]
    fn the_server_address_is_at_the_server_mac() {
        let reply = reply(&request(SERVER)[..], SERVER, MAC).unwrap();
        assert_eq!(reply[0..6], [2, 0, 0, 0, 0, 9]);
        assert_eq!(reply[20..22], REPLY);
        assert_eq!(reply[22..28], MAC.0);
        assert_eq!(reply[28..32], SERVER);
        assert_eq!(reply[32..42], [2, 0, 0, 0, 0, 9, 10, 1, 1, 5]);
    }

    #[test]
    fn other_requests_and_replies_are_not_ours() {
        assert_eq!(reply(&request([10, 1, 1, 1])[..], SERVER, MAC), None);
        let mut answer = request(SERVER);
        answer[21] = 2;
        assert_eq!(reply(&answer[..], SERVER, MAC), None);
        assert_eq!(reply(&request(SERVER)[..FRAME - 1], SERVER, MAC), None);
    }
}
