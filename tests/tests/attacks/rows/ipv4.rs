//! IPv4: sources, what routers say, and headers that hide.

use crate::{
    packet::{GUEST, GUEST4, ICMP, IGMP, IPV4, IPV6, Ip4, NODE, NODE4, OTHER4, PIM, UDP, checked, ethernet, ipv4, udp},
    row::{Attack, Count, Row},
    seen,
};

fn is_spoofed(frame: &[u8]) -> bool {
    seen::ipv4(frame).is_some_and(|packet| packet.source != GUEST4)
}

fn is_for_client(frame: &[u8]) -> bool {
    seen::ipv4(frame).is_some_and(|packet| packet.port() == Some(68))
}

/// The first fragment, or what is not IPv4 at all.
fn is_cut(frame: &[u8]) -> bool {
    seen::kind(frame) == IPV4 && frame.len() < 42
}

fn is_of_router(frame: &[u8]) -> bool {
    let says = |packet: &seen::Packet<'_, _>| [0x11, 0x30, 0x32].iter().any(|kind| packet.says(IGMP, *kind));
    seen::ipv4(frame).is_some_and(|packet| says(&packet) || packet.protocol == PIM)
}

pub(crate) fn rows() -> Vec<Row> {
    let spoof = "hping3 -I eth0 --spoof 10.244.1.9 -1 -c 3 --fast 10.244.1.1";
    let redirect = "hping3 -I eth0 -1 -C 5 -K 1 --icmp-gw 10.244.1.5 -c 2 --fast 10.244.1.1";
    let query = "nmap -n --send-eth -e eth0 --script broadcast-igmp-discovery --script-args \
                 broadcast-igmp-discovery.timeout=1";
    let pieces = "hping3 -I eth0 --udp -s 67 -p 68 -f -d 64 -c 2 --fast 10.244.1.1";
    let some = Count::Exactly;
    vec![
        Row::tool("IPv4 source of another pod", spoof, some(3), "spoofed-ipv4", is_spoofed),
        Row::frames("IPv4 source of another pod, in fragments", 2, spoofed_fragments, "spoofed-ipv4", is_spoofed),
        Row::tool("ICMP redirect", redirect, some(2), "icmp-redirect", |frame| {
            seen::ipv4(frame).is_some_and(|packet| packet.says(ICMP, 5))
        }),
        Row::frames("ICMP router advertisement", 1, router, "rogue-ra", |frame| {
            seen::ipv4(frame).is_some_and(|packet| packet.says(ICMP, 9))
        }),
        Row::tool("IGMP query", query, some(1), "multicast-querier", is_of_router),
        Row::frames("multicast router over IPv4: MRD, PIM", 3, routers, "multicast-querier", is_of_router),
        Row::tool("fragments of a datagram from port 67 to 68", pieces, Count::Some, "rogue-dhcp", is_for_client),
        Row::frames("IPv4 options in front of ports 67 and 68", 2, behind_options, "rogue-dhcp", is_for_client),
        Row::frames("first fragment without the ports", 2, cut, "hidden-header", is_cut),
        Row::frames("IPv4 header of a wrong length or version", 3, wrong, "hidden-header", |frame| {
            [IPV4, IPV6].contains(&seen::kind(frame)) && WRONG.contains(&frame[14])
        }),
        Row {
            attack: Attack::Jumbo(oversize),
            ..Row::frames("oversize", 2, Vec::new, "too-big", |frame| frame.len() > 1518)
        }
        .kept("a bridge drops them too, and does not tell"),
    ]
}

fn spoofed_fragments() -> Vec<Vec<u8>> {
    let of = |fragment, payload: &[u8]| {
        let packet = Ip4 { fragment, ..Ip4::default() }.packet(OTHER4, NODE4, UDP, payload);
        ethernet(NODE, GUEST, IPV4, &packet)
    };
    vec![of(0x2000, &udp((9, 9), &[7; 24])), of(4, &[8; 24])]
}

fn router() -> Vec<Vec<u8>> {
    // One address, two words, 1800 seconds; the address and its preference (RFC 1256, 3).
    let message = checked([&[9, 0, 0, 0, 1, 2, 0x07, 0x08], &GUEST4.octets()[..], &[0; 4]].concat());
    vec![ipv4(GUEST4, [224, 0, 0, 1].into(), ICMP, &message)]
}

fn routers() -> Vec<Vec<u8>> {
    let hello = checked([0x20, 0, 0, 0, 0, 1, 0, 2, 0, 105].to_vec());
    vec![
        ipv4(GUEST4, [224, 0, 0, 106].into(), IGMP, &checked(vec![0x30, 20, 0, 0, 0, 125, 0, 2])),
        ipv4(GUEST4, [224, 0, 0, 106].into(), IGMP, &checked(vec![0x32, 0, 0, 0, 0, 0, 0, 0])),
        ipv4(GUEST4, [224, 0, 0, 13].into(), PIM, &hello),
    ]
}

fn behind_options() -> Vec<Vec<u8>> {
    let datagram = udp((67, 68), &crate::packet::dhcp(2, 2, crate::packet::STRANGER, &[]));
    [4, 40]
        .map(|options| Ip4 { options, ..Ip4::default() }.packet(GUEST4, OTHER4, UDP, &datagram))
        .map(|packet| ethernet([0xff; 6], GUEST, IPV4, &packet))
        .to_vec()
}

fn cut() -> Vec<Vec<u8>> {
    let of = |octets: &[u8]| {
        let packet = Ip4 { fragment: 0x2000, ..Ip4::default() }.packet(GUEST4, NODE4, UDP, octets);
        ethernet(NODE, GUEST, IPV4, &packet)
    };
    vec![of(&[]), of(&[0, 67])]
}

/// What begins an IPv4 header of 16 octets, one of version 5, and IPv4 in a frame of IPv6.
const WRONG: [u8; 3] = [0x44, 0x55, 0x46];

fn wrong() -> Vec<Vec<u8>> {
    let of = |kind, to, first| {
        let mut packet = Ip4::default().packet(GUEST4, NODE4, UDP, &udp((9, 9), &[7; 24]));
        packet[0] = first;
        ethernet(to, GUEST, kind, &packet)
    };
    vec![of(IPV4, NODE, WRONG[0]), of(IPV4, NODE, WRONG[1]), of(IPV6, NODE, WRONG[2])]
}

fn oversize() -> Vec<Vec<u8>> {
    [1501, 4000].map(|size| ipv4(GUEST4, NODE4, UDP, &udp((9, 9), &vec![7; size - 28]))).to_vec()
}
