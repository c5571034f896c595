//! IPv6: sources, what routers say, and headers that hide.

use crate::{
    packet::{
        ALL_NODES6, FRAGMENT, GUEST_LOCAL, GUEST6, ICMPV6, IPV6, LISTENER_QUERY, NODE6, OPTIONS, OTHER6, PIM,
        REDIRECT6, UDP, checked6, fragment, icmpv6_message, ipv6, options, router_advertisement, udp,
    },
    row::{Count, Row},
    seen,
};

fn is_spoofed(frame: &[u8]) -> bool {
    seen::ipv6(frame).is_some_and(|packet| packet.source == OTHER6)
}

fn is_advertisement(frame: &[u8]) -> bool {
    seen::ipv6(frame).is_some_and(|packet| packet.says(ICMPV6, crate::packet::ADVERTISE_ROUTER))
}

/// The beginning of a datagram in fragments; the rest is nothing without it.
fn begins(frame: &[u8]) -> bool {
    seen::ipv6(frame).is_some_and(|packet| packet.fragment && packet.is_first())
}

fn is_of_router(frame: &[u8]) -> bool {
    let kinds = [LISTENER_QUERY, 151, 153];
    seen::ipv6(frame)
        .is_some_and(|packet| packet.protocol == PIM || kinds.iter().any(|kind| packet.says(ICMPV6, *kind)))
}

pub(crate) fn rows() -> Vec<Row> {
    // Last: a bridge that has heard a query sends to few ports what it sent to all before.
    let query = "nmap -n -6 -e eth0 --script targets-ipv6-multicast-mld --script-args \
                 interface=eth0,targets-ipv6-multicast-mld.timeout=1";
    let query = Row::tool("MLD query", query, Count::Exactly(1), "multicast-querier", is_of_router);
    [sources(), routers(), hidden(), vec![query]].into_iter().flatten().collect()
}

fn sources() -> Vec<Row> {
    let spoof = "udp6 -i eth0 -s fd00:10:244:1::9 -d fd00:10:244:1::1 -o 5000 -a 5001";
    vec![
        Row::tool("IPv6 source of another pod", spoof, Count::Exactly(1), "spoofed-ipv6", is_spoofed),
        Row::frames("IPv6 source of another pod, in fragments", 2, spoofed_fragments, "spoofed-ipv6", is_spoofed),
    ]
}

fn routers() -> Vec<Row> {
    let redirect = "rd6 -i eth0 -s fe80::858:aff:fef4:105 -d fd00:10:244:1::1 -r fd00:1::1 -t fe80::858:aff:fef4:105";
    let one = Count::Exactly(1);
    vec![
        Row::endless("RA", "atk6-fake_router26 -A fd00:bad::/64 eth0", "rogue-ra", is_advertisement),
        Row::tool("IPv6 redirect", redirect, one, "icmp-redirect", |frame| {
            seen::ipv6(frame).is_some_and(|packet| packet.says(ICMPV6, REDIRECT6))
        }),
        Row::endless("MRD advertisement", "atk6-fake_mldrouter6 eth0 advertise", "multicast-querier", is_of_router),
        Row::endless("MRD termination", "atk6-fake_mldrouter6 eth0 terminate", "multicast-querier", is_of_router),
        Row::tool("PIM hello over IPv6", "atk6-fake_pim6 eth0 hello", one, "multicast-querier", is_of_router),
    ]
}

fn hidden() -> Vec<Row> {
    let rogue = is_for_client;
    vec![
        Row::endless(
            "RA behind a hop-by-hop header",
            "atk6-fake_router26 -E H -A fd00:bad::/64 eth0",
            "rogue-ra",
            is_advertisement,
        ),
        Row::endless(
            "RA in a fragment that is the only one",
            "atk6-fake_router26 -E 1 -A fd00:bad::/64 eth0",
            "rogue-ra",
            is_advertisement,
        ),
        Row::endless(
            "RA behind a header that fills a fragment",
            "atk6-fake_router26 -E D -A fd00:bad::/64 eth0",
            "hidden-header",
            begins,
        ),
        Row::endless(
            "RA in overlapping fragments, for those who keep the last",
            "atk6-fake_router26 -E o -A fd00:bad::/64 eth0",
            "hidden-header",
            begins,
        ),
        Row::endless(
            "RA in overlapping fragments, for those who keep the first",
            "atk6-fake_router26 -E O -A fd00:bad::/64 eth0",
            "hidden-header",
            begins,
        ),
        Row::endless(
            "RA in fragments, full evasion",
            "atk6-fake_router26 -E F -A fd00:bad::/64 eth0",
            "hidden-header",
            begins,
        ),
        Row::frames("RA behind a chain of three extension headers", 1, || chain(3), "rogue-ra", is_advertisement),
        Row::frames("RA behind a chain that does not end", 1, || chain(40), "hidden-header", is_advertisement),
        Row::frames("DHCPv6 server behind extension headers", 2, server, "rogue-dhcp", rogue),
        Row::frames("DHCPv6 server in fragments", 1, server_in_fragments, "rogue-dhcp", rogue),
        Row::frames("DHCPv6 server behind options in fragments", 1, server_behind_fragment, "hidden-header", rogue),
        Row::frames("first fragment that ends with an extension header", 1, cut, "hidden-header", begins),
        Row::frames("first fragment with padding for a header", 2, padded, "hidden-header", begins),
        Row::frames("fragments in fragments", 1, nested, "hidden-header", |frame| {
            seen::kind(frame) == IPV6 && frame[20] == FRAGMENT
        }),
    ]
}

fn is_for_client(frame: &[u8]) -> bool {
    seen::ipv6(frame).is_some_and(|packet| packet.port() == Some(546))
}

fn spoofed_fragments() -> Vec<Vec<u8>> {
    let of = |offset, more| [&fragment(UDP, offset, more)[..], &udp((9, 9), &[7; 24])].concat();
    [of(0, true), of(4, false)].map(|payload| ipv6(OTHER6, NODE6, FRAGMENT, &payload)).to_vec()
}

fn chain(count: usize) -> Vec<Vec<u8>> {
    let payload = [options(count, ICMPV6), router_advertisement(GUEST_LOCAL)].concat();
    vec![ipv6(GUEST_LOCAL, ALL_NODES6, OPTIONS, &payload)]
}

/// An answer of a server of `DHCPv6`.
fn reply() -> Vec<u8> {
    checked6(GUEST_LOCAL, ALL_NODES6, UDP, 6, udp((547, 546), &[7, 0x12, 0x34, 0x56]))
}

fn server() -> Vec<Vec<u8>> {
    [1, 4].map(|count| ipv6(GUEST_LOCAL, ALL_NODES6, OPTIONS, &[options(count, UDP), reply()].concat())).to_vec()
}

fn server_in_fragments() -> Vec<Vec<u8>> {
    let first = [&fragment(UDP, 0, true)[..], &udp((547, 546), &[7; 16])].concat();
    vec![ipv6(GUEST_LOCAL, ALL_NODES6, FRAGMENT, &first)]
}

fn server_behind_fragment() -> Vec<Vec<u8>> {
    let first = [&fragment(OPTIONS, 0, true)[..], &options(2, UDP), &udp((547, 546), &[7; 16])].concat();
    vec![ipv6(GUEST_LOCAL, ALL_NODES6, FRAGMENT, &first)]
}

fn cut() -> Vec<Vec<u8>> {
    let first = [&fragment(OPTIONS, 0, true)[..], &options(1, UDP)].concat();
    vec![ipv6(GUEST_LOCAL, ALL_NODES6, FRAGMENT, &first)]
}

/// The packet ends with an extension header, and behind its end the frame goes on with a header that says something
/// harmless. The receiver cuts that off, and puts in its place what the second fragment has.
fn padded() -> Vec<Vec<u8>> {
    let harmless = udp((9, 9), &[0; 16]);
    let echo = icmpv6_message(GUEST_LOCAL, ALL_NODES6, 128, &[0; 20]);
    let first = |next, padding: &[u8]| [cut_with(next), padding.to_vec()].concat();
    vec![first(UDP, &harmless), first(ICMPV6, &echo)]
}

fn cut_with(next: u8) -> Vec<u8> {
    let first = [&fragment(OPTIONS, 0, true)[..], &options(1, next)].concat();
    ipv6(GUEST_LOCAL, ALL_NODES6, FRAGMENT, &first)
}

/// The outer fragment ends before the inner one begins, and the padding says that the inner one is not the first.
fn nested() -> Vec<Vec<u8>> {
    let first = [&fragment(OPTIONS, 0, true)[..], &options(1, FRAGMENT)].concat();
    let mut frame = ipv6(GUEST6, ALL_NODES6, FRAGMENT, &first);
    frame.extend(fragment(UDP, 100, false));
    vec![frame]
}
