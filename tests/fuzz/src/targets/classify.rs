//! Whose is a frame: nothing that a receiver takes for DHCP may look like anything else.

use binding_common::{Reason, packet, to_guest, to_network};

use crate::{bindings::LEASE, oracle};

/// The first two octets are the MTU, the next two the size of a segment.
pub(super) fn run(bytes: &[u8]) {
    let Some(([m0, m1, g0, g1], frame)) = bytes.split_first_chunk::<4>() else { return };
    let (mtu, gso) = (u16::from_be_bytes([*m0, *m1]), u16::from_be_bytes([*g0, *g1]));
    to_network(frame);
    to_guest(frame);
    size(frame, mtu.into(), gso.into());
}

fn to_network(frame: &[u8]) {
    let class = to_network::classify(frame);
    if oracle::delivered_to(frame) == Some(67) {
        assert!(matches!(class, to_network::Class::Dhcp(_) | to_network::Class::Hidden), "{class:?}");
    }
    if let to_network::Class::Dhcp(udp) = class {
        let read = oracle::frame(frame).unwrap();
        let packet = oracle::ipv4(&frame[14..]);
        assert_eq!((read.tags, read.kind), (0, 0x0800));
        // An IPv4 header may be cut short where only its ports are needed; then there is nothing to compare.
        if let Some(packet) = packet {
            assert_eq!(oracle::udp_ports(&packet), Some((udp.source, udp.destination)));
            assert_eq!(udp.offset, 14 + packet.header.len());
            assert_eq!(udp.fragment, packet.more);
        }
    }
}

fn to_guest(frame: &[u8]) {
    let verdict = to_guest::classify(frame, LEASE);
    if oracle::delivered_to(frame) == Some(68) {
        assert_eq!(verdict, Err(Reason::DhcpServer));
    }
    let Some(read) = oracle::frame(frame) else { return };
    let claims =
        read.tags == 0 && read.kind == 0x0806 && oracle::arp(read.rest).is_some_and(|arp| arp.sender.1 == LEASE);
    if claims {
        assert_eq!(verdict, Err(Reason::ArpConflict));
    }
    if verdict == Err(Reason::ArpConflict) {
        assert_eq!((read.tags, read.kind), (0, 0x0806));
    }
}

fn size(frame: &[u8], mtu: u32, gso: u32) {
    let len = u32::try_from(frame.len()).unwrap();
    let big = packet::too_big(frame, len, gso, mtu);
    let tagged = frame.get(12..14).is_some_and(|kind| kind == [0x81, 0] || kind == [0x88, 0xa8]);
    match gso {
        0 => assert_eq!(big, len.saturating_sub(if tagged { 18 } else { 14 }) > mtu),
        0xffff => assert!(!big),
        // A segment has an IPv4 and a UDP header at the least.
        _ => assert_eq!(big, gso + 28 > mtu),
    }
}
