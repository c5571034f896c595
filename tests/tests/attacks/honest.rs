//! The other half of the promise: an honest guest loses nothing to the guard, and nobody loses anything on the way to it.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Result, ensure};
use lab::Namespace;

use crate::{
    field::Field,
    packet::{
        ADVERTISE, ALL_NODES6, FRAGMENT, GUEST, GUEST_LOCAL, GUEST4, GUEST6, ICMP, ICMPV6, IGMP, IPV4, IPV6, Ip4,
        LISTENER_QUERY, NOBODY, NODE, NODE_LOCAL, NODE4, NODE6, OPTIONS, OTHER4, REPLY, REQUEST, SOLICIT,
        SOLICIT_ROUTERS, STRANGER, UDP, announced, arp, checked, dhcp, ethernet, fragment, icmpv6, icmpv6_message,
        ipv4, ipv6, ipv6_packet, neighbour, options, rarp, router_advertisement, tagged, udp, udp6,
    },
    row::Way,
};

type Named = (&'static str, Vec<u8>);

const NOTHING: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const NOTHING6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const ALL_ROUTERS6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const LISTENERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Where the guest's addresses are asked for.
const ITS_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 5);

/// Who it is, and which groups it wants.
fn of_neighbours() -> Vec<Named> {
    vec![
        ("ARP probe of its own address", arp(REQUEST, (GUEST, NOTHING), (NOBODY, GUEST4))),
        ("ARP announcement of its own address", announced((GUEST, GUEST4))),
        ("ARP request", arp(REQUEST, (GUEST, GUEST4), (NOBODY, OTHER4))),
        ("ARP reply", arp(REPLY, (GUEST, GUEST4), (NODE, NODE4))),
        ("RARP after a migration", rarp(GUEST)),
        ("duplicate address detection", icmpv6(NOTHING6, ITS_GROUP, SOLICIT, &neighbour(0, GUEST6, None))),
        (
            "duplicate address detection of its link-local address, with a nonce",
            icmpv6(
                NOTHING6,
                ITS_GROUP,
                SOLICIT,
                &[&neighbour(0, GUEST_LOCAL, None)[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat(),
            ),
        ),
        ("NS", icmpv6(GUEST6, ITS_GROUP, SOLICIT, &neighbour(0, NODE6, Some((1, GUEST))))),
        ("NA", icmpv6(GUEST6, NODE6, ADVERTISE, &neighbour(0x60, GUEST6, Some((2, GUEST))))),
        ("NA without an option", icmpv6(GUEST_LOCAL, NODE_LOCAL, ADVERTISE, &neighbour(0x40, GUEST_LOCAL, None))),
        ("RS", icmpv6(GUEST_LOCAL, ALL_ROUTERS6, SOLICIT_ROUTERS, &[&[0; 4][..], &[1, 1], &GUEST].concat())),
        ("RS without an address", icmpv6(NOTHING6, ALL_ROUTERS6, SOLICIT_ROUTERS, &[0; 4])),
        ("IGMP report", ipv4(GUEST4, [224, 0, 0, 22].into(), IGMP, &checked(igmp_report()))),
        ("IGMP leave", ipv4(GUEST4, [224, 0, 0, 2].into(), IGMP, &checked(vec![0x17, 0, 0, 0, 224, 0, 0, 251]))),
        ("MLD report", listener_report(GUEST_LOCAL)),
        ("MLD report without an address", listener_report(NOTHING6)),
    ]
}

/// One group that is joined (RFC 3376, 4.2).
fn igmp_report() -> Vec<u8> {
    vec![0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 251]
}

/// The same of IPv6, behind a router alert, as is prescribed (RFC 3810, 5).
fn listener_report(from: Ipv6Addr) -> Vec<u8> {
    let record = [&[0, 0, 0, 1, 4, 0, 0, 0], &ITS_GROUP.octets()[..]].concat();
    let payload = [&[ICMPV6, 0, 5, 2, 0, 0, 1, 0][..], &icmpv6_message(from, LISTENERS, 143, &record)].concat();
    ipv6(from, LISTENERS, 0, &payload)
}

/// What it talks about.
fn of_datagrams() -> Vec<Named> {
    let data = udp((5000, 5001), &[7; 32]);
    let part = |fragment, payload: &[u8]| {
        ethernet(NODE, GUEST, IPV4, &Ip4 { fragment, ..Ip4::default() }.packet(GUEST4, NODE4, UDP, payload))
    };
    let part6 = |offset, more, payload: &[u8]| {
        ipv6(GUEST6, NODE6, FRAGMENT, &[&fragment(UDP, offset, more)[..], payload].concat())
    };
    let with_options = Ip4 { options: 8, ..Ip4::default() }.packet(GUEST4, NODE4, UDP, &data);
    let alone = [&fragment(ICMPV6, 0, false)[..], &icmpv6_message(GUEST6, NODE6, 128, &[0; 4])].concat();
    vec![
        ("mDNS", ipv4(GUEST4, [224, 0, 0, 251].into(), UDP, &udp((5353, 5353), &[0; 12]))),
        ("broadcast", ipv4(GUEST4, [10, 244, 1, 255].into(), UDP, &data)),
        ("ICMP", ipv4(GUEST4, NODE4, ICMP, &checked(vec![8, 0, 0, 0, 0, 1, 0, 1]))),
        ("ICMPv6", icmpv6(GUEST6, NODE6, 128, &[0, 1, 0, 1])),
        ("IPv4 options", ethernet(NODE, GUEST, IPV4, &with_options)),
        ("first IPv4 fragment", part(0x2000, &data)),
        ("last IPv4 fragment", part(5, &[8; 24])),
        ("first IPv6 fragment", part6(0, true, &data)),
        ("last IPv6 fragment", part6(5, false, &[8; 24])),
        ("IPv6 fragment that is the only one", ipv6(GUEST6, NODE6, FRAGMENT, &alone)),
        ("IPv6 destination options", ipv6(GUEST6, NODE6, OPTIONS, &[&options(2, UDP)[..], &data].concat())),
        ("DHCPv6 client", udp6(GUEST_LOCAL, DHCP_SERVERS, (546, 547), &[1, 0, 0, 1])),
        ("NTP from a low port", ipv4(GUEST4, NODE4, UDP, &udp((123, 123), &[0; 48]))),
    ]
}

/// What the network sends, some of it what a guest may not.
fn to_guest() -> Vec<Named> {
    let of_node = |mut frame: Vec<u8>| {
        frame[..6].copy_from_slice(&GUEST);
        frame[6..12].copy_from_slice(&NODE);
        frame
    };
    let discover = udp((68, 67), &dhcp(1, 1, STRANGER, &[]));
    let advertisement = router_advertisement(NODE_LOCAL);
    vec![
        (
            "RA of the network",
            ethernet(GUEST, NODE, IPV6, &ipv6_packet(NODE_LOCAL, ALL_NODES6, ICMPV6, &advertisement)),
        ),
        ("NS of the network", of_node(icmpv6(NODE6, ITS_GROUP, SOLICIT, &neighbour(0, GUEST6, Some((1, NODE)))))),
        ("MLD query of the network", of_node(icmpv6(NODE_LOCAL, ALL_NODES6, LISTENER_QUERY, &[0; 20]))),
        ("ARP request of the network", of_node(arp(REQUEST, (NODE, NODE4), (NOBODY, GUEST4)))),
        ("DHCP client of the network", of_node(ipv4(NOTHING, Ipv4Addr::BROADCAST, UDP, &discover))),
        ("frame of a VLAN", tagged(of_node(ipv4(NODE4, GUEST4, UDP, &udp((9, 9), &[]))), &[(0x8100, 100)])),
        ("frame of another pod", of_node(ipv4(OTHER4, GUEST4, UDP, &udp((9, 9), &[1; 32])))),
    ]
}

/// Sends frames one by one and fails with the names of those that did not come out as they are.
fn all_arrive(field: &Field, way: Way, frames: &[Named]) -> Result<()> {
    let mut lost = Vec::new();
    for (name, frame) in frames {
        field.send(way, frame)?;
        if !field.arrived(way)?.contains(frame) {
            lost.push(*name);
        }
    }
    ensure!(lost.is_empty(), "lost {}: {lost:?}", way.name());
    Ok(())
}

/// Octets that a connection carries.
const BULK: usize = 300_000;

/// A connection in one direction.
fn connects(from: &Namespace, to: &Namespace, address: IpAddr) -> Result<()> {
    let listener = to.run(|| Ok(TcpListener::bind((address, 0))?))?;
    let place = listener.local_addr()?;
    let sender = from.run(|| Ok(TcpStream::connect_timeout(&place, crate::field::SOON)?))?;
    sender.set_write_timeout(Some(crate::field::SOON))?;
    let receiver = thread::spawn(move || -> Result<usize> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(crate::field::SOON))?;
        Ok(stream.read_to_end(&mut Vec::new())?)
    });
    (&sender).write_all(&vec![7; BULK])?;
    drop(sender);
    let received = receiver.join().unwrap()?;
    ensure!(received == BULK, "{received} octets arrived at {address}");
    Ok(())
}

#[test]
fn an_honest_guest_loses_nothing_to_the_guard() {
    lab::require_root!();
    let field = Field::of_tapwire(&[]).unwrap();
    for frames in [of_neighbours(), of_datagrams()] {
        all_arrive(&field, Way::ToNetwork, &frames).unwrap();
    }
    let (guest, node) = (field.guest(), &field.pod.node);
    for (from, to, address) in [
        (guest, node, IpAddr::from(NODE4)),
        (node, guest, GUEST4.into()),
        (guest, node, NODE6.into()),
        (node, guest, GUEST6.into()),
    ] {
        connects(from, to, address).unwrap();
        // In fragments, and its answer too.
        from.exec(&["busybox", "ping", "-c", "1", "-W", "5", "-s", "5000", &address.to_string()]).unwrap();
    }
    // What the guest's kernel said by itself since it came up is in it.
    assert_eq!(field.drops().unwrap(), serde_json::json!({}));
}

#[test]
fn the_network_speaks_to_the_guest_as_before() {
    lab::require_root!();
    let field = Field::of_tapwire(&[]).unwrap();
    all_arrive(&field, Way::ToGuest, &to_guest()).unwrap();
    assert_eq!(field.drops().unwrap(), serde_json::json!({}));
}
