//! What the other way does for the guest, this way does too: the guard, the responder's silence, lengths, counters.

use lab::{
    Offloads, Pod,
    gso::{self, GsoPort},
    stream::datagram,
    wait::wait_until,
};

use crate::wire::{BROADCAST, GUEST, HOST, SOON, Wire, addressed, frame};

const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const NODE4: [u8; 4] = [10, 244, 1, 1];
const GUEST4: [u8; 4] = [10, 244, 1, 5];

/// A datagram between two ports.
fn udp(ends: [[u8; 6]; 2], addresses: [[u8; 4]; 2], ports: [u16; 2]) -> Vec<u8> {
    let mut frame = datagram(&ends[0], &ends[1], addresses);
    frame[34..36].copy_from_slice(&ports[0].to_be_bytes());
    frame[36..38].copy_from_slice(&ports[1].to_be_bytes());
    frame
}

/// Somebody else says to have the guest's address.
fn conflict() -> Vec<u8> {
    [&BROADCAST[..], &STRANGER, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &STRANGER, &GUEST4, &GUEST, &GUEST4, &[0; 18]].concat()
}

#[test]
fn what_the_network_may_not_send_is_dropped_by_name() {
    lab::require_root!();
    let wire = Wire::new("guard", &[]);
    // The host side's own stack is told to be silent, or what it says of itself would be counted with them.
    wire.pod.node.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    wire.pod.node.ip(&["link", "set", &wire.pod.host_side, "mtu", "9000"]).unwrap();
    let long = [&addressed(GUEST, HOST, 1)[..], &[1; 1600]].concat();
    let rows = [
        ("dhcp-server", udp([BROADCAST, HOST], [NODE4, [255; 4]], [67, 68])),
        ("arp-conflict", conflict()),
        ("looped", addressed(BROADCAST, GUEST, 1)),
        ("too-big", long),
    ];
    for (reason, bad) in rows {
        let (dropped, sent) = (wire.count(&["dropped", reason]), wire.portal().sent);
        let frames = wire.count(&["to_guest", "frames"]);
        wire.tap.drain().unwrap();
        for _ in 0..3 {
            wire.try_to_guest(&bad);
        }
        assert_eq!(wire.count(&["dropped", reason]), dropped + 3, "{reason}");
        assert_eq!(wire.count(&["to_guest", "frames"]), frames, "{reason}");
        assert_eq!(wire.portal().sent, sent, "{reason}");
        let Some((_, first)) = wire.tap.receive(std::time::Duration::ZERO).unwrap() else { continue };
        panic!("{reason}: the guest got {first:02x?}");
    }
    wire.goes_by_portal(1);
}

#[test]
fn frames_and_octets_are_counted_as_they_are_by_redirect() {
    lab::require_root!();
    let counted = |way: &str| {
        let wire = Wire::new("counts", &["--to-guest", way]);
        assert_eq!(wire.way().0, way);
        // The host side's own stack is told to be silent, or it would be counted with them.
        wire.pod.node.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        let before = (wire.count(&["to_guest", "frames"]), wire.count(&["to_guest", "bytes"]));
        for mark in 0..50 {
            wire.to_guest(&frame(mark));
            wire.to_guest(&[&frame(mark)[..], &[mark; 1000]].concat());
        }
        (wire.count(&["to_guest", "frames"]) - before.0, wire.count(&["to_guest", "bytes"]) - before.1)
    };
    let by_portal = counted("portal");
    assert_eq!(by_portal, (100, 50 * (60 + 1060)));
    assert_eq!(by_portal, counted("redirect"));
}

#[test]
fn every_size_up_to_the_mtu_arrives_whole_and_none_over_it() {
    lab::require_root!();
    let wire = Wire::new("sizes", &[]);
    for len in (60..1514).step_by(97).chain([1513, 1514]) {
        wire.to_guest(&[&addressed(GUEST, HOST, 5)[..60], &vec![7; len - 60]].concat());
    }
    wire.pod.node.ip(&["link", "set", &wire.pod.host_side, "mtu", "9000"]).unwrap();
    let before = wire.count(&["dropped", "too-big"]);
    for len in [1515, 1518, 4000, 9014] {
        wire.try_to_guest(&[&addressed(GUEST, HOST, 5)[..60], &vec![7; len - 60]].concat());
    }
    assert_eq!(wire.count(&["dropped", "too-big"]), before + 4);
    wire.nothing_came("too long");
}

#[test]
fn mtus_that_grow_are_followed_by_the_portal() {
    lab::require_root!();
    let wire = Wire::new("mtus", &[]);
    for (mtu, len) in [("9000", 9014), ("1400", 1414), ("1500", 1514)] {
        wire.pod.node.ip(&["link", "set", &wire.pod.host_side, "mtu", mtu]).unwrap();
        wire.pod.namespace.ip(&["link", "set", &wire.pod.nic, "mtu", mtu]).unwrap();
        wire.repair();
        let sent = wire.portal().sent;
        wire.to_guest(&[&addressed(GUEST, HOST, 6)[..60], &vec![7; len - 60]].concat());
        assert!(wire.portal().sent > sent, "MTU {mtu}: it did not go by the portal");
    }
}

#[test]
fn a_mark_or_a_priority_of_the_node_does_not_reach_the_tap() {
    lab::require_root!();
    let wire = Wire::new("marks", &[]);
    let tap = &wire.pod.namespace;
    // The tap's own egress rules would see them: they are of the pod's namespace, and a mark is the node's.
    tap.exec(&[
        "nft",
        "add table netdev t; add chain netdev t e { type filter hook egress device \"tap0\" priority 0; }",
    ])
    .unwrap();
    tap.exec(&["nft", "add rule netdev t e meta mark != 0 drop; add rule netdev t e meta priority != 0 drop"]).unwrap();
    let node = &wire.pod.node;
    let chain = format!("{{ type filter hook egress device \"{}\" priority 0; }}", wire.pod.host_side);
    node.exec(&["nft", &format!("add table netdev t; add chain netdev t e {chain}")]).unwrap();
    node.exec(&["nft", "add rule netdev t e ether type 0x88b5 meta mark set 0x7 meta priority set 1:1"]).unwrap();
    wire.goes_by_portal(1);
}

#[test]
fn a_frame_that_passes_over_the_host_sides_egress_arrives_and_is_counted_all_the_same() {
    lab::require_root!();
    let wire = Wire::new("bypass", &[]);
    wire.pod.node.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    wire.host.bypass_queue().unwrap();
    let before = wire.count(&["to_guest", "frames"]);
    for mark in 0..20 {
        wire.goes_by_veth(mark);
    }
    assert_eq!(wire.count(&["to_guest", "frames"]), before + 40);
}

#[test]
fn a_segment_to_be_cut_too_long_is_dropped_as_it_is_by_redirect() {
    lab::require_root!();
    for way in ["portal", "redirect"] {
        let wire = Wire::with(Pod::new("cut").unwrap(), &["--to-guest", way], Offloads::Virtio);
        wire.pod.node.ip(&["link", "set", &wire.pod.host_side, "mtu", "9000"]).unwrap();
        let port = GsoPort::open(&wire.pod.node, &wire.pod.host_side).unwrap();
        let segment = gso::tcp([GUEST, HOST], [NODE4, GUEST4], 9000).unwrap();
        // Of a drop at egress the sender is told.
        let _ = port.send(&segment, 1600);
        wait_until("the drop to be counted", SOON, || Ok(wire.count(&["dropped", "too-big"]) == 1)).unwrap();
        wire.nothing_came(way);
        port.send(&segment, 1446).unwrap();
        wire.tap.expect("the whole segment", SOON, |seen| seen.len() == 9000).unwrap();
        assert_eq!(wire.count(&["dropped", "too-big"]), 1, "{way}");
    }
}
