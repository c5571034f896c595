//! What becomes of a portal when its tap, or the portal itself, is closed, deleted, made anew or enslaved.

use lab::{
    BINDING, Namespace, Observer, Offloads, Pod, RawPort, TapPort, Tapwire,
    crowd::{self, Order},
    observer::{Act, Place, Side},
    portal,
    tapwire::attach_arguments,
};

use crate::wire::{SOON, Wire, frame};

#[test]
fn frames_flow_again_when_a_vm_comes_back_to_its_tap() {
    lab::require_root!();
    let mut wire = Wire::new("reopened", &[]);
    for mark in 0..5 {
        wire.goes_by_portal(mark);
        // One after the other, and at once: the old reader must be gone before the new one comes.
        let Wire { tap, host, tapwire, pod } = wire;
        drop(tap);
        // Nobody reads it: the frame is lost, as it is by redirect.
        host.send(&frame(100 + mark)).unwrap();
        let tap = TapPort::ready(&pod.namespace, "tap0", Offloads::None).unwrap();
        wire = Wire { tap, host, tapwire, pod };
        lab::wait::wait_until("frames by the portal again", SOON, || {
            wire.host.send(&frame(mark))?;
            Ok(wire.tap.receive(std::time::Duration::from_millis(10))?.is_some_and(|(_, seen)| seen == frame(mark)))
        })
        .unwrap();
        wire.tap.drain().unwrap();
    }
    wire.goes_by_portal(50);
}

#[test]
fn a_packet_socket_and_a_program_at_the_tap_see_all() {
    lab::require_root!();
    let wire = Wire::new("tcpdump", &[]);
    let seen = RawPort::open(&wire.pod.namespace, "tap0").unwrap();
    let program = Observer::hang(&wire.pod.namespace, "tap0", Side::Egress, Place::TcxFirst, Act::Pass).unwrap();
    for mark in 0..20 {
        wire.to_guest(&frame(mark));
        seen.expect("the frame to the guest", SOON, |seen| seen.outgoing && seen.data == frame(mark)).unwrap();
        let of_guest = crate::wire::addressed(crate::wire::HOST, crate::wire::GUEST, mark);
        wire.to_network(&of_guest);
        seen.expect("the guest's frame", SOON, |seen| !seen.outgoing && seen.data == of_guest).unwrap();
    }
    assert!(wire.portal().sent >= 20);
    assert!(program.seen().unwrap() >= 20);
}

#[test]
fn a_portal_that_was_deleted_by_hand_loses_nothing_and_is_made_again() {
    lab::require_root!();
    let wire = Wire::new("deleted", &[]);
    let name = wire.portal().name;
    wire.goes_by_portal(1);
    wire.pod.node.ip(&["link", "del", &name]).unwrap();
    for mark in 2..50 {
        wire.to_guest(&frame(mark));
    }
    let (state, reason) = wire.state();
    assert!(state == "degraded" && reason.contains("portal"), "{state}: {reason}");
    wire.repair();
    assert_eq!(wire.way().0, "portal");
    wire.goes_by_portal(51);
}

#[test]
fn a_frame_is_counted_once_whether_the_portal_is_there_or_not() {
    lab::require_root!();
    let wire = Wire::new("once", &["--mac-mode", "swap"]);
    let count = |wire: &Wire, marks: std::ops::Range<u8>| {
        let before = wire.count(&["to_guest", "frames"]);
        let frames = u64::try_from(marks.len()).unwrap();
        marks.for_each(|mark| wire.to_guest(&frame(mark)));
        (wire.count(&["to_guest", "frames"]) - before, frames)
    };
    // The node's own stack may say something of its own when its link comes up; not so often.
    let is_once = |(counted, sent): (u64, u64)| assert!((sent..sent + 10).contains(&counted), "{counted} of {sent}");
    is_once(count(&wire, 0..100));
    wire.pod.node.ip(&["link", "del", &wire.portal().name]).unwrap();
    is_once(count(&wire, 100..200));
}

/// While the kernel takes it down, what was already on its way to it is lost; then all takes the other way.
#[test]
fn no_frame_is_lost_once_a_portal_is_gone_and_while_it_is_made_again() {
    lab::require_root!();
    let Wire { tap, host, tapwire, pod } = Wire::new("going", &[]);
    drop((tap, host));
    for _ in 0..3 {
        pod.node.ip(&["link", "del", &portal::only(&pod.node).unwrap().name]).unwrap();
        let ((), sent) = crowd::during(&pod, Order::Free, 2000, || {
            tapwire.run(&["repair", BINDING]).unwrap();
            portal::wait_until_ready(&pod.node, 1).unwrap();
        })
        .unwrap();
        assert!(sent.iter().all(|sent| *sent >= 2000), "{sent:?}");
    }
}

#[test]
fn no_frame_is_lost_while_a_portal_is_withdrawn() {
    lab::require_root!();
    let Wire { tap, host, tapwire, pod } = Wire::new("withdrawn", &[]);
    drop((tap, host));
    let ((), sent) = crowd::during(&pod, Order::Free, 2000, || {
        let _observer = Observer::hang(&pod.node, &pod.host_side, Side::Egress, Place::TcxFirst, Act::Pass).unwrap();
        tapwire.run(&["repair", BINDING]).unwrap();
        assert_eq!(portal::all(&pod.node).unwrap(), []);
    })
    .unwrap();
    assert!(sent.iter().all(|sent| *sent >= 2000), "{sent:?}");
    let before = pod.node.exec(&["tc", "qdisc", "show", "dev", &pod.host_side]).unwrap();
    tapwire.run(&["detach", BINDING]).unwrap();
    let after = pod.node.exec(&["tc", "qdisc", "show", "dev", &pod.host_side]).unwrap();
    assert!(!after.contains("clsact"), "what attach made there stays: {before}, then {after}");
}

#[test]
fn a_portal_that_was_moved_away_loses_nothing_and_is_made_again() {
    lab::require_root!();
    let wire = Wire::new("moved", &[]);
    let elsewhere = Namespace::new("elsewhere").unwrap();
    wire.pod.node.ip(&["link", "set", &wire.portal().name, "netns", elsewhere.name()]).unwrap();
    for mark in 2..10 {
        wire.to_guest(&frame(mark));
    }
    wire.repair();
    portal::wait_until_ready(&wire.pod.node, 1).unwrap();
    wire.goes_by_portal(11);
}

#[test]
fn a_tap_that_was_deleted_and_made_again_gets_a_portal_of_its_own() {
    lab::require_root!();
    let pod = Pod::new("remade").unwrap();
    pod.add_tap("tap0").unwrap();
    let wire = Wire::of(pod, &[]);
    let before = wire.portal();
    let Wire { tap, host, tapwire, pod } = wire;
    drop(tap);
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    assert_eq!(portal::all(&pod.node).unwrap(), [], "a portal outlived its tap");
    // Nothing takes the frame, and nothing breaks.
    host.send(&frame(1)).unwrap();
    pod.add_tap("tap0").unwrap();
    let done = tapwire.json(&["repair", BINDING]).unwrap();
    assert_eq!(done["bindings"][0]["state"], "ready", "{done}");
    assert_ne!(portal::only(&pod.node).unwrap().ifindex, before.ifindex);
    let tap = TapPort::ready(&pod.namespace, "tap0", Offloads::None).unwrap();
    portal::wait_until_ready(&pod.node, 1).unwrap();
    let wire = Wire { tap, host, tapwire, pod };
    wire.goes_by_portal(2);
}

#[test]
fn repair_makes_tap_and_portal_again_where_attach_made_the_tap() {
    lab::require_root!();
    let Wire { tap, host, tapwire, pod } = Wire::new("remade-by-us", &[]);
    drop(tap);
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let done = tapwire.json(&["repair", BINDING]).unwrap();
    assert_eq!(done["bindings"][0]["state"], "ready", "{done}");
    let tap = TapPort::ready(&pod.namespace, "tap0", Offloads::None).unwrap();
    portal::wait_until_ready(&pod.node, 1).unwrap();
    let wire = Wire { tap, host, tapwire, pod };
    assert_eq!(wire.way().0, "portal");
    wire.goes_by_portal(2);
}

/// A bridge in the pod with the tap as its port.
fn enslave(pod: &Pod) -> anyhow::Result<String> {
    pod.namespace.ip(&["link", "set", "tap0", "master", "br0"])
}

#[test]
fn a_tap_that_is_a_port_of_a_bridge_is_refused_and_nothing_is_changed() {
    lab::require_root!();
    let pod = Pod::new("enslaved").unwrap();
    pod.add_tap("tap0").unwrap();
    pod.namespace.ip(&["link", "add", "br0", "type", "bridge"]).unwrap();
    enslave(&pod).unwrap();
    let tapwire = Tapwire::new().unwrap();
    let before = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
    for way in ["auto", "portal", "redirect"] {
        let asked = [&attach_arguments(&pod, BINDING)[..], &["--to-guest", way]].concat();
        let refusal = tapwire.refusal(&asked).unwrap();
        assert!(refusal.error.contains("is a port of a bridge"), "{refusal:?}");
    }
    assert_eq!((pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap()), before);
    assert_eq!(portal::all(&pod.node).unwrap(), []);
}

#[test]
fn a_tap_with_a_portal_cannot_become_a_port_of_a_bridge_behind_our_back() {
    lab::require_root!();
    let wire = Wire::new("enslaving", &[]);
    wire.pod.namespace.ip(&["link", "add", "br0", "type", "bridge"]).unwrap();
    // The kernel's answer: a device has one such owner.
    assert!(enslave(&wire.pod).is_err());
    wire.goes_by_portal(1);
}

#[test]
fn a_portal_that_was_set_down_loses_frames_only_until_repair() {
    lab::require_root!();
    let wire = Wire::new("down", &[]);
    wire.pod.node.ip(&["link", "set", &wire.portal().name, "down"]).unwrap();
    let (state, reason) = wire.state();
    assert!(state == "degraded" && reason.contains("portal"), "{state}: {reason}");
    wire.repair();
    assert!(wire.portal().up);
    wire.goes_by_portal(1);
}
