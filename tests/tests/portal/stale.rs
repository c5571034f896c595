//! A host side whose portal is gone must never send to somebody else's: the one thing that would be worse than a lost frame.

use lab::{
    Offloads, Pod, RawPort, TapPort, Tapwire,
    pair::{self, SECOND_HOST_SIDE, SECOND_MAC, attach},
    pod::Joint,
    portal,
};

use crate::wire::{EXPERIMENT, SOON, addressed, frame};

/// Two pods whose namespaces number their links alike, and a node with low numbers free: a device that was moved to the node
/// would keep its number, and the second binding's portal would have that of the first.
#[test]
fn what_is_sent_to_a_pod_whose_tap_is_gone_reaches_no_other_guest() {
    lab::require_root!();
    let pod = pair::builder("stale", Joint::Veth, pair::FIRST).build().unwrap();
    let beside = pair::builder("stale-b", Joint::Veth, pair::SECOND).mac(SECOND_MAC).build_beside(&pod).unwrap();
    let tapwire = Tapwire::new().unwrap();
    let options = ["--allow-ethertype", "0x88b5"];
    for _ in 0..5 {
        attach(&tapwire, &pod.namespace, &pod.node, "a", &options).unwrap();
        let of_a = portal::only(&pod.node).unwrap();
        pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
        assert_eq!(portal::all(&pod.node).unwrap(), []);
        attach(&tapwire, &beside, &pod.node, "b", &options).unwrap();
        let of_b = portal::only(&pod.node).unwrap();
        assert_ne!(of_a.ifindex, of_b.ifindex, "a number was used again");
        let tap = TapPort::ready(&beside, "tap0", Offloads::None).unwrap();
        portal::wait_until_ready(&pod.node, 1).unwrap();
        let (to_a, to_b) = (host(&pod, &pod.host_side), host(&pod, SECOND_HOST_SIDE));
        for mark in 0..20 {
            to_a.send(&frame(mark)).unwrap();
        }
        let marker = addressed([0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x06], crate::wire::HOST, 99);
        to_b.send(&marker).unwrap();
        let (_, first) = tap.expect("its own frame", SOON, |seen| seen.get(12..14) == Some(&EXPERIMENT)).unwrap();
        assert!(first == marker, "B got a frame of A's: {first:02x?}");
        drop(tap);
        for name in ["a", "b"] {
            tapwire.run(&["detach", name]).unwrap();
        }
    }
}

fn host(pod: &Pod, link: &str) -> RawPort {
    RawPort::open(&pod.node, link).unwrap()
}

/// The number of the first portal is given away on purpose: the worst that a node can do.
#[test]
fn detach_leaves_no_program_behind_whose_portal_is_gone() {
    lab::require_root!();
    let pod = Pod::new("left").unwrap();
    let before = pod.host_fingerprint().unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, "a", &[]).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    tapwire.run(&["detach", "a"]).unwrap();
    assert_eq!(pod.host_fingerprint().unwrap(), before);
    assert_eq!(Pod::links(&pod.node).unwrap(), ["lo", "vethpod"]);
}
