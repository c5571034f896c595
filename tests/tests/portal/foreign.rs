//! Programs of somebody else at the host side: whatever they are, and whenever they came, each frame is theirs first.

use lab::{
    BINDING, Observer, Pod, Tapwire,
    observer::{Act, Place, Side},
    portal,
    tapwire::attach_arguments,
};

use crate::wire::{Wire, frame};

/// Every place of the host side's egress. The last filter has the priority of ours.
const PLACES: [Place; 4] = [Place::TcxFirst, Place::TcxLast, Place::Filter(1, 1), Place::Filter(65535, 2)];

fn hang(pod: &Pod, place: Place, act: Act) -> Observer {
    Observer::hang(&pod.node, &pod.host_side, Side::Egress, place, act).unwrap()
}

/// It sees what is sent to the guest, and what it drops does not arrive; when it is gone, frames flow as before.
fn comes_first(wire: &Wire, place: Place) {
    let observer = hang(&wire.pod, place, Act::Pass);
    let seen = observer.seen().unwrap();
    wire.goes_by_portal(1);
    assert!(observer.seen().unwrap() > seen, "{place:?}: it did not see the frame");
    drop(observer);
    let observer = hang(&wire.pod, place, Act::Drop);
    let (seen, counted) = (observer.seen().unwrap(), wire.count(&["to_guest", "frames"]));
    for mark in 2..12 {
        wire.try_to_guest(&frame(mark));
    }
    assert!(observer.seen().unwrap() >= seen + 10, "{place:?}: it did not see all frames");
    assert_eq!(wire.count(&["to_guest", "frames"]), counted, "{place:?}: what it dropped was counted");
    drop(observer);
    wire.nothing_came(&format!("{place:?}"));
    wire.goes_by_portal(12);
}

#[test]
fn a_foreign_program_that_comes_later_is_asked_first_wherever_it_hangs() {
    lab::require_root!();
    let wire = Wire::new("later", &[]);
    assert_eq!(wire.way().0, "portal");
    for place in PLACES {
        comes_first(&wire, place);
    }
}

#[test]
fn a_foreign_program_that_was_there_keeps_the_portal_away() {
    lab::require_root!();
    for side in [Side::Ingress, Side::Egress] {
        for place in [Place::TcxFirst, Place::Filter(1, 1)] {
            let pod = Pod::new("before").unwrap();
            let observer = Observer::hang(&pod.node, &pod.host_side, side, place, Act::Pass).unwrap();
            let tapwire = Tapwire::new().unwrap();
            let shown = tapwire.attach(&pod, BINDING, &[]).unwrap();
            assert_eq!(shown["wire"]["to_guest"], "redirect", "{side:?} {place:?}");
            let why = shown["wire"]["to_guest_why"].as_str().unwrap();
            assert!(why.contains("program"), "{side:?} {place:?}: {why}");
            assert_eq!(portal::all(&pod.node).unwrap(), []);
            drop(observer);
        }
    }
}

#[test]
fn a_foreign_program_at_the_pod_nics_ingress_keeps_the_portal_away() {
    lab::require_root!();
    for place in [Place::TcxFirst, Place::Filter(1, 1), Place::XdpGeneric, Place::XdpNative] {
        let pod = Pod::new("on-nic").unwrap();
        let observer = Observer::hang(&pod.namespace, &pod.nic, Side::Ingress, place, Act::Pass).unwrap();
        let tapwire = Tapwire::new().unwrap();
        let shown = tapwire.attach(&pod, BINDING, &[]).unwrap();
        assert_eq!(shown["wire"]["to_guest"], "redirect", "{place:?}");
        let why = shown["wire"]["to_guest_why"].as_str().unwrap();
        assert!(why.contains("passed over"), "{place:?}: {why}");
        assert_eq!(portal::all(&pod.node).unwrap(), []);
        drop(observer);
    }
}

#[test]
fn a_foreign_program_that_was_there_is_asked_first_where_the_operator_wants_the_portal() {
    lab::require_root!();
    for place in [Place::TcxFirst, Place::TcxLast, Place::Filter(1, 1), Place::Filter(65534, 1)] {
        let pod = Pod::new("by-name").unwrap();
        let observer = hang(&pod, place, Act::Pass);
        let wire = Wire::of(pod, &["--to-guest", "portal"]);
        let (way, why) = wire.way();
        assert!(way == "portal" && why.starts_with("asked for; auto would not take it"), "{place:?}: {way}: {why}");
        let seen = observer.seen().unwrap();
        wire.goes_by_portal(1);
        assert!(observer.seen().unwrap() > seen, "{place:?}: it did not see the frame");
        drop(observer);
        wire.goes_by_portal(2);
    }
}

/// Of filters of one priority the newest is asked first.
#[test]
fn a_filter_that_would_be_asked_after_ours_makes_a_portal_impossible() {
    lab::require_root!();
    for handle in [1, 2] {
        let pod = Pod::new("same").unwrap();
        let _observer = hang(&pod, Place::Filter(65535, handle), Act::Pass);
        let before = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
        let tapwire = Tapwire::new().unwrap();
        let asked = [&attach_arguments(&pod, BINDING)[..], &["--to-guest", "portal"]].concat();
        let refusal = tapwire.refusal(&asked).unwrap();
        assert!(refusal.error.contains("priority 65535"), "{refusal:?}");
        assert_eq!(refusal.hint.as_deref(), Some("--to-guest redirect"));
        assert_eq!((pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap()), before);
    }
}

#[test]
fn repair_withdraws_a_portal_that_auto_would_not_take_any_more() {
    lab::require_root!();
    for place in [Place::TcxFirst, Place::Filter(1, 1)] {
        let wire = Wire::new("withdraw", &[]);
        let observer = hang(&wire.pod, place, Act::Pass);
        let (state, reason) = wire.state();
        assert!(state == "degraded" && reason.contains("program"), "{place:?}: {state}: {reason}");
        assert!(!wire.repair().is_empty());
        assert_eq!(wire.way().0, "redirect", "{place:?}");
        assert_eq!(portal::all(&wire.pod.node).unwrap(), [], "{place:?}");
        let seen = observer.seen().unwrap();
        wire.goes_by_veth(1);
        assert!(observer.seen().unwrap() > seen);
    }
}

#[test]
fn xdp_at_the_host_side_keeps_the_portal_away() {
    lab::require_root!();
    for place in [Place::XdpNative, Place::XdpGeneric] {
        let pod = Pod::new("xdp").unwrap();
        let observer = Observer::hang(&pod.node, &pod.host_side, Side::Ingress, place, Act::Pass).unwrap();
        let tapwire = Tapwire::new().unwrap();
        let shown = tapwire.attach(&pod, BINDING, &[]).unwrap();
        assert_eq!(shown["wire"]["to_guest"], "redirect", "{place:?}");
        assert!(shown["wire"]["to_guest_why"].as_str().unwrap().contains("XDP"), "{place:?}: {shown}");
        assert_eq!(portal::all(&pod.node).unwrap(), []);
        drop(observer);
    }
}

#[test]
fn repair_withdraws_the_portal_from_a_host_side_that_got_xdp() {
    lab::require_root!();
    for place in [Place::XdpNative, Place::XdpGeneric] {
        let wire = Wire::new("xdp-later", &[]);
        let observer = Observer::hang(&wire.pod.node, &wire.pod.host_side, Side::Ingress, place, Act::Pass).unwrap();
        assert!(wire.state().1.contains("XDP"), "{place:?}: {:?}", wire.state());
        wire.repair();
        assert_eq!(wire.way().0, "redirect", "{place:?}");
        assert_eq!(portal::all(&wire.pod.node).unwrap(), []);
        wire.goes_by_veth(1);
        drop(observer);
    }
}
