//! Who has which address: ARP, and neighbour discovery of IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    packet::{
        ADVERTISE, ALL_NODES6, ARP, BROADCAST, FRAGMENT, GUEST, GUEST_LOCAL, GUEST4, GUEST6, ICMPV6, NOBODY,
        NODE_LOCAL, NODE4, NODE6, OTHER4, OTHER6, RARP, REPLY, SOLICIT, STRANGER, announced, arp, arp_of, ethernet,
        fragment, icmpv6, icmpv6_message, ipv6, neighbour, rarp,
    },
    row::{Count, Row},
    seen,
};

pub(crate) fn rows() -> Vec<Row> {
    [arp_rows(), claims(), hidden()].into_iter().flatten().collect()
}

fn is_spoofed(frame: &[u8]) -> bool {
    seen::arp_sender(frame).is_some_and(|(mac, ip)| mac != GUEST || ![GUEST4, Ipv4Addr::UNSPECIFIED].contains(&ip))
}

fn arp_rows() -> Vec<Row> {
    let spoof = "arpspoof -i eth0 -t 10.244.1.1 10.244.1.9";
    let gateway = "arping -U -c 1 -w 1 -i eth0 -S 10.244.1.1 10.244.1.1";
    vec![
        Row::endless("ARP spoof of another pod", spoof, "spoofed-arp", is_spoofed),
        Row::tool("gratuitous ARP of the gateway", gateway, Count::Exactly(1), "spoofed-arp", is_spoofed),
        Row::frames("ARP with another's MAC as sender", 2, foreign_mac, "spoofed-arp", is_spoofed),
        Row::frames("ARP with another's address as sender, to probe", 1, foreign_address, "spoofed-arp", is_spoofed),
        Row::frames("ARP spoof of hardware type 6, which Linux takes too", 1, ieee802, "spoofed-arp", is_spoofed),
        Row::frames(
            "RARP of another's MAC",
            1,
            || vec![rarp(STRANGER)],
            "spoofed-arp",
            |frame| seen::kind(frame) == RARP,
        ),
    ]
}

fn foreign_mac() -> Vec<Vec<u8>> {
    vec![announced((STRANGER, GUEST4)), arp(REPLY, (STRANGER, GUEST4), (BROADCAST, NODE4))]
}

fn foreign_address() -> Vec<Vec<u8>> {
    // Not for the node: the guest's server is there, and the way to that it is told.
    vec![arp(1, (GUEST, NODE4), (NOBODY, OTHER4))]
}

fn ieee802() -> Vec<Vec<u8>> {
    vec![ethernet(BROADCAST, GUEST, ARP, &arp_of(6, REPLY, (GUEST, NODE4), (NOBODY, OTHER4)))]
}

fn is_any_claim(frame: &[u8]) -> bool {
    seen::ipv6(frame).is_some_and(|packet| {
        let target = packet.payload.and_then(|payload| <[u8; 16]>::try_from(payload.get(8..24)?).ok());
        let own = [GUEST6, GUEST_LOCAL].map(|ip| ip.octets());
        packet.says(ICMPV6, ADVERTISE) && target.is_some_and(|target| !own.contains(&target))
    })
}

/// From a MAC that the program made up.
fn is_foreign_claim(frame: &[u8]) -> bool {
    is_any_claim(frame) && seen::from(frame) != GUEST
}

fn is_claim(frame: &[u8]) -> bool {
    is_any_claim(frame) && seen::from(frame) == GUEST
}

fn is_duplicate(frame: &[u8]) -> bool {
    seen::ipv6(frame).is_some_and(|packet| packet.says(ICMPV6, SOLICIT) && packet.source.is_unspecified())
}

fn names_stranger(frame: &[u8]) -> bool {
    frame.windows(6).any(|octets| octets == STRANGER)
}

fn claims() -> Vec<Row> {
    let advertise = "atk6-fake_advertise6 -n 1 eth0 fd00:10:244:1::1";
    let (site, local) = (
        "na6 -i eth0 -s fe80::858:aff:fef4:105 -d ff02::1 -t fd00:10:244:1::9 -E 0a:58:0a:f4:01:05 -o",
        "na6 -i eth0 -s fe80::858:aff:fef4:105 -d ff02::1 -t fe80::858:aff:fef4:101 -E 0a:58:0a:f4:01:05 -o",
    );
    let deny = "atk6-dos-new-ip6 eth0";
    vec![
        Row::tool("NA spoof from the gateway's address", advertise, Count::Exactly(1), "spoofed-ipv6", is_claim),
        Row::tool("NA spoof of another pod", site, Count::Exactly(1), "spoofed-nd", is_claim),
        Row::tool("NA spoof of the gateway's link-local address", local, Count::Exactly(1), "spoofed-nd", is_claim),
        Row::server("denial of every new IPv6 address", deny, duplicate_of_node, "spoofed-mac", is_foreign_claim),
        Row::frames("duplicate address detection of another's address", 1, duplicates, "spoofed-nd", is_duplicate),
        Row::frames("NS and NA with another's MAC", 2, foreign_options, "spoofed-nd", names_stranger),
    ]
}

/// The node asks whether somebody has an address that it wants.
fn duplicate_of_node() -> Vec<u8> {
    let (nobody, wanted, group) = (Ipv6Addr::UNSPECIFIED, site(0x77), solicited(0x77));
    let mut frame = icmpv6(nobody, group, SOLICIT, &neighbour(0, wanted, None));
    frame[6..12].copy_from_slice(&crate::packet::NODE);
    frame
}

fn site(host: u16) -> Ipv6Addr {
    let [a, b, c, d, ..] = NODE6.segments();
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, host)
}

/// The group in which a node listens for those who ask for its address (RFC 4291, 2.7.1), of small numbers.
fn solicited(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, host)
}

fn duplicates() -> Vec<Vec<u8>> {
    vec![icmpv6(Ipv6Addr::UNSPECIFIED, solicited(9), SOLICIT, &neighbour(0, OTHER6, None))]
}

fn foreign_options() -> Vec<Vec<u8>> {
    vec![
        icmpv6(GUEST6, solicited(1), SOLICIT, &neighbour(0, NODE6, Some((1, STRANGER)))),
        icmpv6(GUEST6, ALL_NODES6, ADVERTISE, &neighbour(0x20, GUEST6, Some((2, STRANGER)))),
    ]
}

fn hidden() -> Vec<Row> {
    let hop = "atk6-fake_advertise6 -n 1 -H eth0 fd00:10:244:1::9 ff02::1 0a:58:0a:f4:01:05 fd00:10:244:1::5";
    let large = "atk6-fake_advertise6 -n 1 -D eth0 fd00:10:244:1::9 ff02::1 0a:58:0a:f4:01:05 fd00:10:244:1::5";
    vec![
        Row::tool("NA spoof behind a hop-by-hop header", hop, Count::Exactly(1), "spoofed-nd", is_claim),
        Row::tool(
            "NA spoof behind a header that fills a fragment",
            large,
            Count::Exactly(1),
            "hidden-header",
            |frame| seen::ipv6(frame).is_some_and(|packet| packet.fragment && packet.is_first()),
        ),
        Row::frames("NA spoof in a fragment that is the only one", 1, alone, "hidden-header", is_claim),
    ]
}

fn alone() -> Vec<Vec<u8>> {
    let claim = icmpv6_message(GUEST_LOCAL, ALL_NODES6, ADVERTISE, &neighbour(0x20, NODE_LOCAL, Some((2, GUEST))));
    let payload = [&fragment(ICMPV6, 0, false)[..], &claim].concat();
    vec![ipv6(GUEST_LOCAL, ALL_NODES6, FRAGMENT, &payload)]
}
