//! Silence: nothing of the pod's own network stack is heard by the guest, nor, while the NIC keeps its MAC, by the
//! network.

use std::time::Duration;

use lab::{BINDING, Offloads, Pod, RawPort, TapPort, Tapwire, raw::Seen};

use crate::{EXPERIMENT, HOST, frame};

/// The kernel's first router solicitation goes out within a second, the last of three eight later; MLD repeats sooner.
const GUEST_LISTENS: Duration = Duration::from_secs(10);
const NETWORK_LISTENS: Duration = Duration::from_secs(30);

/// Everything that reaches the guest but what the node sent.
fn heard_by_guest(tap: &TapPort, node: [u8; 6]) -> Vec<Vec<u8>> {
    let end = std::time::Instant::now() + GUEST_LISTENS;
    let mut heard = Vec::new();
    while let Some((_, frame)) = tap.receive(end.saturating_duration_since(std::time::Instant::now())).unwrap() {
        if frame[6..12] != node {
            heard.push(frame);
        }
    }
    heard
}

/// A tap that attach made, or that was there and had its stack running.
fn guest_hears_nothing(tap_is_there: bool, options: &[&str]) {
    let pod = Pod::new("tap-silence").unwrap();
    if tap_is_there {
        pod.add_tap("tap0").unwrap();
    }
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, options).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let heard = heard_by_guest(&tap, HOST);
    assert!(heard.is_empty(), "the guest heard the pod: {heard:02x?}");
    // It was not deaf.
    host.send(&frame([0xff; 6], HOST, EXPERIMENT, 60)).unwrap();
    tap.expect("a frame of the node", crate::SOON, |frame| frame[12..14] == EXPERIMENT).unwrap();
}

#[test]
fn the_guest_hears_nothing_of_the_pods_kernel_on_a_new_tap() {
    lab::require_root!();
    guest_hears_nothing(false, &[]);
}

#[test]
fn the_guest_hears_nothing_of_the_pods_kernel_on_a_tap_that_was_there() {
    lab::require_root!();
    guest_hears_nothing(true, &["--mac-mode", "keep"]);
}

/// The pod tries all that a stack does by itself or when asked.
fn pod_tries(pod: &Pod) {
    let (namespace, nic) = (&pod.namespace, pod.nic.as_str());
    // Duplicate address detection, MLD and router solicitations follow by themselves.
    namespace.ip(&["-6", "addr", "add", "fd00::5/64", "dev", nic]).unwrap();
    for probe in [
        ["busybox", "ping", "-c", "2", "-W", "1", "10.244.1.1"].as_slice(),
        &["busybox", "ping6", "-c", "2", "-W", "1", "fd00::1"],
        &["busybox", "arping", "-c", "2", "-w", "2", "-I", nic, "10.244.1.1"],
        &["busybox", "arping", "-D", "-c", "1", "-w", "2", "-I", nic, "10.244.1.5"],
    ] {
        // They fail, as they must; what they sent counts.
        let answered = namespace.exec(probe).is_ok() && probe[2] != "-D";
        assert!(!answered, "{probe:?} was answered");
    }
}

fn network_hears_nothing(options: &[&str]) {
    let pod = Pod::new("nic-silence").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let options = [&["--mac-mode", "keep", "--allow-ethertype", "0x88b5"], options].concat();
    tapwire.attach(&pod, BINDING, &options).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let heard: Vec<Seen> = std::thread::scope(|scope| {
        scope.spawn(|| pod_tries(&pod));
        host.collect(NETWORK_LISTENS).unwrap()
    });
    let heard: Vec<_> = heard.into_iter().filter(|seen| !seen.outgoing).collect();
    assert!(heard.is_empty(), "the network heard the pod: {heard:02x?}");
    assert!(tapwire.counter(BINDING, &["dropped", "pod-stack"]).unwrap() > 0);
    let of_guest = frame(HOST, crate::GUEST, EXPERIMENT, 60);
    tap.send(&of_guest).unwrap();
    host.expect("the guest's frame", crate::SOON, |seen| seen.data == of_guest).unwrap();
}

#[test]
fn the_network_hears_nothing_of_a_pod_whose_nic_keeps_its_mac() {
    lab::require_root!();
    network_hears_nothing(&[]);
}

#[test]
fn the_network_hears_nothing_of_it_on_clsact_and_by_redirect() {
    lab::require_root!();
    network_hears_nothing(&["--hook", "clsact", "--to-network", "redirect"]);
}
