//! What the network may not send to the guest.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    packet::{
        BROADCAST, GUEST, GUEST_LOCAL, GUEST4, IPV4, IPV6, Ip4, NODE, NODE_LOCAL, NODE4, OPTIONS, STRANGER, UDP, arp,
        checked6, dhcp, ethernet, ipv6_packet, options, udp,
    },
    row::Row,
    seen,
};

fn looped(frame: &[u8]) -> bool {
    seen::from(frame) == GUEST
}

pub(crate) fn rows() -> Vec<Row> {
    let rows = vec![
        Row::frames("DHCP server of the network", 2, offers, "dhcp-server", |frame| {
            seen::ipv4(frame).is_some_and(|packet| packet.port() == Some(68))
        }),
        Row::frames("DHCPv6 server of the network", 2, replies, "dhcp-server", |frame| {
            seen::ipv6(frame).is_some_and(|packet| packet.port() == Some(546))
        }),
        Row::frames("ARP of the lease's address by another", 2, conflict, "arp-conflict", |frame| {
            seen::arp_sender(frame).is_some_and(|(_, address)| address == GUEST4)
        }),
        Row::frames("the guest's own frames, from outside", 2, own, "looped", looped),
    ];
    rows.into_iter().map(Row::reversed).collect()
}

fn offers() -> Vec<Vec<u8>> {
    let of = |to_mac, to: Ipv4Addr, client| {
        let packet = Ip4::default().packet(NODE4, to, UDP, &udp((67, 68), &dhcp(2, 2, client, &[])));
        ethernet(to_mac, NODE, IPV4, &packet)
    };
    vec![of(BROADCAST, Ipv4Addr::BROADCAST, GUEST), of(GUEST, GUEST4, GUEST)]
}

fn replies() -> Vec<Vec<u8>> {
    let of = |from: Ipv6Addr, count| {
        let reply = checked6(from, GUEST_LOCAL, UDP, 6, udp((547, 546), &[7, 0x12, 0x34, 0x56]));
        let (next, headers) = if count == 0 { (UDP, Vec::new()) } else { (OPTIONS, options(count, UDP)) };
        ethernet(GUEST, NODE, IPV6, &ipv6_packet(from, GUEST_LOCAL, next, &[headers, reply].concat()))
    };
    vec![of(NODE_LOCAL, 0), of(NODE_LOCAL, 2)]
}

fn conflict() -> Vec<Vec<u8>> {
    [1, 2]
        .map(|operation| {
            let mut frame = arp(operation, (STRANGER, GUEST4), (GUEST, GUEST4));
            frame[6..12].copy_from_slice(&STRANGER);
            frame
        })
        .to_vec()
}

fn own() -> Vec<Vec<u8>> {
    let packet = Ip4::default().packet(GUEST4, NODE4, UDP, &udp((9, 9), b"round and round"));
    [BROADCAST, GUEST].map(|to| ethernet(to, GUEST, IPV4, &packet)).to_vec()
}
