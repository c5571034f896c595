//! What the operator takes away from the guard, and allows beside it: exactly that passes.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    field::Field,
    packet::{
        ADVERTISE, ALL_NODES6, BROADCAST, GUEST, GUEST_LOCAL, GUEST4, GUEST6, ICMP, ICMPV6, IGMP, IPV4, IPV6, Ip4,
        LLDP, Mac, NOBODY, NODE, NODE_LOCAL, NODE4, OTHER4, OTHER6, REPLY, STRANGER, UDP, announced, arp, checked,
        checked6, ethernet, icmpv6, ipv4, ipv6, ipv6_packet, llc, neighbour, router_advertisement, tagged, udp, udp6,
    },
    row::Way::{self, ToGuest, ToNetwork},
};

type Sample = (&'static str, Way, Vec<u8>);

/// A frame that breaks each rule, and no other.
fn samples() -> Vec<Sample> {
    let data = udp((9, 9), &[7; 24]);
    let plain = || ipv4(GUEST4, NODE4, UDP, &data);
    let cut = Ip4 { fragment: 0x2000, ..Ip4::default() }.packet(GUEST4, NODE4, UDP, &[]);
    let advertisement = ipv6(GUEST_LOCAL, ALL_NODES6, ICMPV6, &router_advertisement(GUEST_LOCAL));
    let server6 = checked6(NODE_LOCAL, GUEST_LOCAL, UDP, 6, udp((547, 546), &[7, 0, 0, 1]));
    vec![
        ("spoofed-mac", ToNetwork, from(STRANGER, plain())),
        ("spoofed-ipv4", ToNetwork, ipv4(OTHER4, NODE4, UDP, &data)),
        ("spoofed-arp", ToNetwork, arp(REPLY, (GUEST, NODE4), (NOBODY, OTHER4))),
        ("spoofed-ipv6", ToNetwork, udp6(OTHER6, ALL_NODES6, (9, 9), &[7; 24])),
        ("spoofed-nd", ToNetwork, icmpv6(GUEST6, ALL_NODES6, ADVERTISE, &neighbour(0x20, OTHER6, Some((2, GUEST))))),
        ("rogue-dhcp", ToNetwork, ipv4(GUEST4, OTHER4, UDP, &udp((67, 68), &[0; 24]))),
        ("rogue-ra", ToNetwork, advertisement),
        ("icmp-redirect", ToNetwork, ipv4(GUEST4, NODE4, ICMP, &checked([&[5, 1, 0, 0], &[7; 32][..]].concat()))),
        (
            "multicast-querier",
            ToNetwork,
            ipv4(GUEST4, [224, 0, 0, 1].into(), IGMP, &checked(vec![0x11, 0, 0, 0, 0, 0, 0, 0])),
        ),
        ("vlan", ToNetwork, tagged(plain(), &[(0x8100, 100)])),
        ("llc", ToNetwork, llc(NODE, GUEST, &[0x42, 0x42, 3, 0, 0, 0])),
        ("reserved-multicast", ToNetwork, to([0x01, 0x80, 0xc2, 0, 0, 3], plain())),
        ("ether-type", ToNetwork, ethernet(NODE, GUEST, 0x8863, &[7; 46])),
        ("hidden-header", ToNetwork, ethernet(NODE, GUEST, IPV4, &cut)),
        ("dhcp-server", ToGuest, ethernet(GUEST, NODE, IPV6, &ipv6_packet(NODE_LOCAL, GUEST_LOCAL, UDP, &server6))),
        ("looped", ToGuest, ethernet(BROADCAST, GUEST, IPV4, &Ip4::default().packet(NODE4, GUEST4, UDP, &data))),
    ]
}

fn from(mac: Mac, mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac);
    frame
}

fn to(mac: Mac, mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac);
    frame
}

/// Sends frames and gives the names of those that arrive as they are.
fn passing<'a>(field: &Field, frames: impl IntoIterator<Item = &'a Sample>) -> Result<Vec<&'static str>> {
    let mut passed = Vec::new();
    for (name, way, frame) in frames {
        field.send(*way, frame)?;
        passed.extend(field.arrived(*way)?.contains(frame).then_some(*name));
    }
    Ok(passed)
}

/// What `show` says of the rules.
fn off(field: &Field) -> Vec<String> {
    serde_json::from_value(field.show().unwrap()["wire"]["guard_off"].clone()).unwrap()
}

#[test]
fn a_rule_that_is_off_lets_through_what_it_names_and_nothing_else() {
    lab::require_root!();
    let (field, samples) = (Field::of_tapwire(&[]).unwrap(), samples());
    assert_eq!(passing(&field, &samples).unwrap(), [""; 0]);
    for (rule, ..) in &samples {
        field.reattach(&[&format!("--guard=-{rule}")]).unwrap();
        assert_eq!(passing(&field, &samples).unwrap(), [*rule]);
        assert_eq!(off(&field), [*rule]);
    }
}

/// Ways of a binding, and what the guest's MAC is taken from.
const WIRES: [&[&str]; 5] = [
    &["--to-network", "redirect"],
    &["--hook", "clsact"],
    &["--mac-mode", "keep"],
    &["--guest-mac", "learn"],
    &["--guest-mac", "0a:58:0a:f4:01:05"],
];

#[test]
fn the_guard_holds_on_every_wire() {
    lab::require_root!();
    let (field, samples) = (Field::of_tapwire(&[]).unwrap(), samples());
    for options in WIRES {
        field.reattach(options).unwrap();
        // The guest speaks first, or there would be no MAC to learn.
        field.is_honest().unwrap();
        assert_eq!(passing(&field, &samples).unwrap(), [""; 0], "{options:?}");
        field.is_honest().unwrap();
    }
}

#[test]
fn without_a_guard_it_is_a_wire() {
    lab::require_root!();
    let (field, samples) = (Field::of_tapwire(&["--guard", "off"]).unwrap(), samples());
    assert_eq!(passing(&field, &samples).unwrap(), samples.iter().map(|(rule, ..)| *rule).collect::<Vec<_>>());
    assert_eq!(field.show().unwrap()["wire"]["guard"], false);
    assert_eq!(field.drops().unwrap(), serde_json::json!({}));
}

#[test]
fn without_a_lease_the_rules_that_need_one_are_off_and_the_others_hold() {
    lab::require_root!();
    let (field, samples) = (Field::of_tapwire(&["--dhcp", "off"]).unwrap(), samples());
    let mut passed = passing(&field, &samples).unwrap();
    passed.sort_unstable();
    let mut off = off(&field);
    off.sort_unstable();
    assert_eq!(passed, off);
    for rule in ["spoofed-arp", "spoofed-ipv4", "spoofed-ipv6", "spoofed-nd"] {
        assert!(passed.contains(&rule), "{passed:?}");
    }
    for rule in ["spoofed-mac", "rogue-ra", "icmp-redirect", "vlan", "llc", "ether-type", "hidden-header"] {
        assert!(!passed.contains(&rule), "{passed:?}");
    }
}

/// Frames of which some pass with options, and none without.
fn only_what_is_allowed_passes(options: &[&str], allowed: &[Sample], others: &[Sample]) {
    let field = Field::of_tapwire(&[]).unwrap();
    let all = || allowed.iter().chain(others);
    assert_eq!(passing(&field, all()).unwrap(), [""; 0], "without {options:?}");
    field.reattach(options).unwrap();
    let names = allowed.iter().map(|(name, ..)| *name).collect::<Vec<_>>();
    assert_eq!(passing(&field, all()).unwrap(), names, "with {options:?}");
    field.is_honest().unwrap();
}

/// MACs of virtual routers (RFC 9568, 7.3).
const VIRTUAL: Mac = [0, 0, 0x5e, 0, 1, 7];
const ANOTHERS: Mac = [0, 0, 0x5e, 0, 1, 8];
const VIRTUAL4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 100);
const VIRTUAL6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 0x100);
/// Protocol number of VRRP, and its group.
const VRRP: u8 = 112;
const ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

#[test]
fn a_virtual_router_speaks_from_the_addresses_that_it_is_allowed() {
    lab::require_root!();
    let claim = |target| icmpv6(VIRTUAL6, ALL_NODES6, ADVERTISE, &neighbour(0x20, target, Some((2, VIRTUAL))));
    let data = udp((9, 9), &[7; 24]);
    let allowed = [
        ("advertisement", ToNetwork, from(VIRTUAL, ipv4(GUEST4, ROUTERS, VRRP, &[0x31, 7, 100, 1, 0, 100, 0, 0]))),
        ("announcement", ToNetwork, from(VIRTUAL, announced((VIRTUAL, VIRTUAL4)))),
        ("announcement from its own MAC", ToNetwork, announced((VIRTUAL, VIRTUAL4))),
        ("datagram", ToNetwork, ipv4(VIRTUAL4, NODE4, UDP, &data)),
        ("datagram from the MAC", ToNetwork, from(VIRTUAL, ipv4(VIRTUAL4, NODE4, UDP, &data))),
        ("IPv6 announcement", ToNetwork, from(VIRTUAL, claim(VIRTUAL6))),
    ];
    let others = [
        ("another's MAC", ToNetwork, from(ANOTHERS, ipv4(GUEST4, ROUTERS, VRRP, &[0x31, 8, 100, 1, 0, 100, 0, 0]))),
        ("announcement of another's address", ToNetwork, from(VIRTUAL, announced((VIRTUAL, OTHER4)))),
        ("datagram of another's address", ToNetwork, from(VIRTUAL, ipv4(OTHER4, NODE4, UDP, &data))),
        ("IPv6 announcement of another's address", ToNetwork, from(VIRTUAL, claim(OTHER6))),
    ];
    let options = ["--allow-mac", "00:00:5e:00:01:07", "--allow-address", "10.244.1.100,fd00:10:244:1::100"];
    only_what_is_allowed_passes(&options, &allowed, &others);
}

fn in_vlan(vlan: u16) -> Vec<u8> {
    // Its addresses are the VLAN's own.
    tagged(ipv4(OTHER4, NODE4, UDP, &udp((9, 9), &[7; 24])), &[(0x8100, vlan)])
}

#[test]
fn of_vlans_those_pass_that_are_allowed() {
    lab::require_root!();
    let allowed = [("100", ToNetwork, in_vlan(100)), ("102", ToNetwork, in_vlan(102))];
    let others = [("0", ToNetwork, in_vlan(0)), ("101", ToNetwork, in_vlan(101)), ("4095", ToNetwork, in_vlan(4095))];
    only_what_is_allowed_passes(&["--allow-vlan=100,102"], &allowed, &others);
}

#[test]
fn lldp_passes_where_it_is_allowed_and_nothing_else_that_bridges_end() {
    lab::require_root!();
    let nearest = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
    let allowed = [("LLDP", ToNetwork, ethernet(nearest, GUEST, LLDP, &[2, 7, 4, 1, 2, 3, 4, 5, 6, 0, 0]))];
    let others = [
        ("spanning tree", ToNetwork, llc([0x01, 0x80, 0xc2, 0, 0, 0], GUEST, &[0x42, 0x42, 3, 0, 0, 0])),
        ("802.1X", ToNetwork, ethernet([0x01, 0x80, 0xc2, 0, 0, 3], GUEST, 0x888e, &[1, 1, 0, 0])),
    ];
    only_what_is_allowed_passes(&["--allow-lldp"], &allowed, &others);
}

#[test]
fn of_protocols_those_pass_that_are_allowed() {
    lab::require_root!();
    let of = |kind| ethernet(NODE, GUEST, kind, &[7; 46]);
    let allowed = [("PPPoE", ToNetwork, of(0x8863))];
    let others = [("MPLS", ToNetwork, of(0x8847)), ("experiments", ToNetwork, of(0x88b5))];
    only_what_is_allowed_passes(&["--allow-ethertype", "0x8863"], &allowed, &others);
}
