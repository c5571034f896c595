//! Sizes: everything up to the MTU arrives whole, nothing over it does.

use std::time::Duration;

use lab::{Offloads, Pod};

use crate::{EXPERIMENT, GUEST, HOST, WIRES, Wire, frame};

/// Lengths above a link's largest frame, up to the largest that a tap takes.
fn above(largest: usize) -> impl Iterator<Item = usize> {
    let some = [largest + 1, largest + 2, largest + 4, 2 * largest, 9015, 16_384, 40_000, 65_535, 65_548, 65_549];
    some.into_iter().filter(move |len| *len > largest)
}

/// Sends frames of these sizes both ways, and then ones that are too long from the guest.
fn sweep(wire: &Wire, sizes: impl Iterator<Item = usize>, largest: usize) {
    let (mut count, mut bytes) = (0, 0);
    for len in sizes {
        wire.to_network(&frame(HOST, GUEST, EXPERIMENT, len));
        wire.to_guest(&frame(GUEST, HOST, EXPERIMENT, len));
        (count, bytes) = (count + 1, bytes + len as u64);
    }
    // Frames of the node's own kernel go to the guest too.
    assert_eq!(wire.traffic("to_network"), (count, bytes));
    let to_guest = wire.traffic("to_guest");
    assert!(to_guest.0 >= count && to_guest.1 >= bytes, "{to_guest:?} of {count}, {bytes}");
    assert_eq!(wire.dropped("too-big"), 0);

    wire.host.collect(Duration::ZERO).unwrap();
    let mut dropped = 0;
    for len in above(largest) {
        wire.tap.send(&frame(HOST, GUEST, EXPERIMENT, len)).unwrap();
        dropped += 1;
    }
    // What comes after them shows that they would have come.
    let last = frame(HOST, GUEST, EXPERIMENT, largest);
    wire.tap.send(&last).unwrap();
    let first = wire.host.expect("a frame", crate::SOON, |seen| seen.data[12..14] == EXPERIMENT).unwrap();
    assert_eq!(first.data.len(), largest);
    assert_eq!(wire.dropped("too-big"), dropped);
    assert_eq!(wire.traffic("to_network").0, count + 1);
}

fn every_size(options: &[&str]) {
    let wire = Wire::new(Pod::new("sizes").unwrap(), options, Offloads::None);
    sweep(&wire, 14..=1514, 1514);
}

#[test]
fn every_size_passes_by_peer() {
    lab::require_root!();
    every_size(WIRES[0]);
}

#[test]
fn every_size_passes_by_redirect() {
    lab::require_root!();
    every_size(WIRES[1]);
}

#[test]
fn sizes_pass_on_clsact() {
    lab::require_root!();
    let wire = Wire::new(Pod::new("sizes").unwrap(), WIRES[2], Offloads::None);
    sweep(&wire, (14..=1514).step_by(25), 1514);
}

#[test]
fn sizes_pass_while_the_nic_keeps_its_mac() {
    lab::require_root!();
    for to_network in ["peer", "redirect"] {
        let options = ["--mac-mode", "keep", "--to-network", to_network];
        let pod = Pod::new("sizes").unwrap();
        // Its kernel solicits routers for some seconds, and is rightly silenced: without that, every drop is a mistake.
        let quiet = "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6";
        pod.namespace.exec(&["sh", "-c", quiet]).unwrap();
        let wire = Wire::new(pod, &options, Offloads::None);
        sweep(&wire, (14..=1514).step_by(25), 1514);
        assert_eq!(wire.dropped("pod-stack"), 0, "{to_network}: the guest's own frames were taken for the pod's");
    }
}

#[test]
fn jumbo_frames_pass_where_the_mtu_allows_them() {
    lab::require_root!();
    let pod = Pod::builder("jumbo").mtu(9000).build().unwrap();
    let wire = Wire::new(pod, &[], Offloads::None);
    sweep(&wire, [14, 1514, 1515, 4096, 9013, 9014].into_iter(), 9014);
}

#[test]
fn a_frame_over_the_taps_mtu_does_not_reach_the_guest_and_is_counted() {
    lab::require_root!();
    let wire = Wire::new(Pod::new("small-tap").unwrap(), &["--mtu", "1400"], Offloads::None);
    wire.to_guest(&frame(GUEST, HOST, EXPERIMENT, 1414));
    wire.host.send(&frame(GUEST, HOST, EXPERIMENT, 1415)).unwrap();
    wire.host.send(&frame(GUEST, HOST, EXPERIMENT, 1514)).unwrap();
    let last = frame(GUEST, HOST, EXPERIMENT, 60);
    wire.host.send(&last).unwrap();
    let (_, first) = wire.tap.expect("a frame", crate::SOON, |seen| seen[12..14] == EXPERIMENT).unwrap();
    assert_eq!(first, last);
    assert_eq!(wire.dropped("too-big"), 2);
}
