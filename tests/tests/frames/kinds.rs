//! Kinds: whatever Ethernet can carry passes as it is, tags included.

use lab::{Offloads, Pod};

use crate::{EXPERIMENT, GUEST, HOST, WIRES, Wire, frame};

const BROADCAST: [u8; 6] = [0xff; 6];

/// A frame with tags between the addresses and the type.
fn tagged(to: [u8; 6], from: [u8; 6], tags: &[[u8; 4]], len: usize) -> Vec<u8> {
    let mut frame = frame(to, from, EXPERIMENT, len);
    frame.splice(12..12, tags.concat());
    frame
}

fn kinds(to: [u8; 6], from: [u8; 6]) -> Vec<Vec<u8>> {
    let mut arp = frame(BROADCAST, from, [8, 6], 42);
    arp[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
    vec![
        frame(to, from, EXPERIMENT, 60),
        frame(BROADCAST, from, EXPERIMENT, 60),
        frame([0x01, 0, 0x5e, 0, 0, 0xfb], from, EXPERIMENT, 100),
        frame([0x33, 0x33, 0, 0, 0, 1], from, [0x86, 0xdd], 90),
        // To somebody else: the wire is no bridge and has no opinion.
        frame([2, 0, 0, 0, 0, 0xee], from, EXPERIMENT, 60),
        arp,
        // LLC: a spanning tree's hello, and SNAP.
        frame([0x01, 0x80, 0xc2, 0, 0, 0], from, [0, 0x26], 60),
        frame(to, from, [0x05, 0xdc], 1514),
        // IPv4 with nonsense in it.
        frame(to, from, [8, 0], 14),
        frame(to, from, [8, 0], 20),
        frame(to, from, [8, 0], 1514),
        // 802.1Q, 802.1ad, both, and a priority alone; at the MTU too, which a tag does not count against.
        tagged(to, from, &[[0x81, 0, 0x20, 0x64]], 60),
        tagged(to, from, &[[0x81, 0, 0x20, 0x64]], 1514),
        tagged(to, from, &[[0x88, 0xa8, 0x00, 0x65]], 60),
        tagged(to, from, &[[0x88, 0xa8, 0x00, 0x65]], 1514),
        tagged(to, from, &[[0x88, 0xa8, 0x00, 0x65], [0x81, 0, 0, 0x64]], 200),
        // Of two tags a veth takes one for payload.
        tagged(to, from, &[[0x81, 0, 0x00, 0x65], [0x81, 0, 0, 0x64]], 1510),
        tagged(to, from, &[[0x81, 0, 0xe0, 0x00]], 60),
    ]
}

fn every_kind(options: &[&str]) {
    // Without the guard it is a wire.
    let options = [&["--guard", "off"], options].concat();
    let wire = Wire::new(Pod::new("kinds").unwrap(), &options, Offloads::None);
    for frame in kinds(HOST, GUEST) {
        wire.to_network(&frame);
    }
    // A packet socket grants four octets over the MTU to 802.1Q alone.
    wire.pod.node.ip(&["link", "set", &wire.pod.host_side, "mtu", "1600"]).unwrap();
    for frame in kinds(GUEST, HOST) {
        wire.to_guest(&frame);
    }
    let shown = wire.tapwire.show(lab::BINDING).unwrap();
    let dropped = shown["counters"]["dropped"].as_object().unwrap();
    // In `keep` the pod's own kernel wants to send, too.
    assert!(dropped.keys().all(|reason| reason == "pod-stack"), "{dropped:?}");
}

#[test]
fn every_kind_passes_by_peer() {
    lab::require_root!();
    every_kind(WIRES[0]);
}

#[test]
fn every_kind_passes_by_redirect() {
    lab::require_root!();
    every_kind(WIRES[1]);
}

#[test]
fn every_kind_passes_on_clsact() {
    lab::require_root!();
    every_kind(WIRES[2]);
    every_kind(&["--hook", "clsact", "--to-network", "redirect"]);
}

#[test]
fn every_kind_passes_while_the_nic_keeps_its_mac() {
    lab::require_root!();
    every_kind(&["--mac-mode", "keep"]);
    every_kind(&["--mac-mode", "keep", "--to-network", "redirect", "--hook", "clsact"]);
}
