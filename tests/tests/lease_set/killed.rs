//! `lease set` is a transaction: killed at any point, the binding works with one of the two leases, and is made whole by
//! the next command.

use lab::{
    BINDING, Offloads, Pod, TapPort, Tapwire,
    interrupt::{Fate, kill_after},
};

use crate::{
    SOON,
    swap::{address_and_dns, discover},
};

const CHANGE: [&str; 5] = ["lease", "set", BINDING, "--address", "10.244.1.6/24"];
/// No change of a lease makes so many changes.
const MANY: usize = 300;

/// Kills it after each change in turn, and has `then` make the binding whole.
fn walk(options: &[&str], then: impl Fn(&Tapwire, &Pod) -> serde_json::Value) {
    let pod = Pod::new("killed").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let (mut interrupted, mut left_as_it_was) = (0, 0);
    tapwire.attach(&pod, BINDING, options).unwrap();
    for nth in 1..MANY {
        let fate = kill_after(&tapwire, &CHANGE, nth).unwrap();
        let shown = tapwire.show(BINDING).unwrap();
        match (shown["state"].as_str().unwrap(), shown["lease"]["address"].as_str().unwrap()) {
            ("ready", "10.244.1.5/24") => left_as_it_was += 1,
            ("ready", "10.244.1.6/24") => {}
            ("degraded", "10.244.1.6/24") => {
                interrupted += 1;
                assert_eq!(shown["reason"], "lease set was interrupted");
                let whole = then(&tapwire, &pod);
                assert_eq!((&whole["state"], &whole["lease"]["address"]), (&"ready".into(), &"10.244.1.6/24".into()));
            }
            other => panic!("killed after change {nth}: {other:?}"),
        }
        if fate == Fate::Finished {
            assert!(interrupted > 2 && left_as_it_was > 2, "{interrupted} interrupted, {left_as_it_was} as it was");
            return;
        }
        tapwire.json(&["lease", "set", BINDING, "--address", "10.244.1.5/24"]).unwrap();
    }
    panic!("lease set did not end after {MANY} changes");
}

#[test]
fn the_next_lease_set_completes_a_killed_one() {
    lab::require_root!();
    walk(&[], |tapwire, _| tapwire.json(&["lease", "set", BINDING]).unwrap());
}

#[test]
fn the_attach_that_made_the_binding_completes_a_killed_lease_set() {
    lab::require_root!();
    walk(&["--hook", "clsact"], |tapwire, pod| tapwire.attach(pod, BINDING, &["--hook", "clsact"]).unwrap());
}

#[test]
fn a_binding_that_is_made_anew_keeps_its_changed_lease() {
    lab::require_root!();
    let pod = Pod::new("anew").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    tapwire.run(&CHANGE).unwrap();
    tapwire.run(&["lease", "set", BINDING, "--dns", "10.96.0.99"]).unwrap();
    let again = tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_eq!(again["lease"]["address"], "10.244.1.6/24", "the same attach again changes nothing");
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let anew = tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_eq!(anew["state"], "ready");
    assert_eq!((&anew["lease"]["address"], &anew["lease"]["dns"][0]), (&"10.244.1.6/24".into(), &"10.96.0.99".into()));
    tapwire.run(&["detach", BINDING]).unwrap();
    let detached = tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_eq!(detached["lease"]["address"], "10.244.1.5/24", "a binding that was removed is forgotten");
}

/// An offer's address, as the programs give it now.
fn offered(tap: &TapPort) -> [u8; 4] {
    tap.send(&discover(1)).unwrap();
    let (_, offer) = tap.expect("an offer", SOON, |frame| frame.get(42) == Some(&2)).unwrap();
    address_and_dns(&offer).unwrap().0
}

/// The kernel refuses each of the last calls of bpf(2) in turn: those that replace programs are among them.
#[test]
fn a_lease_set_that_fails_half_way_leaves_the_old_lease() {
    lab::require_root!();
    let pod = Pod::new("half-way").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    let tap = TapPort::ready(&pod.namespace, "tap0", Offloads::None).unwrap();
    let set = |inject: &str| {
        let runner = ["strace", "-f", "-qq", "-e", "trace=bpf", "-e", "signal=none", "-e", inject];
        tapwire.under(&runner, &CHANGE).output().unwrap()
    };
    let whole = set("inject=bpf:delay_exit=0");
    assert!(whole.status.success() && offered(&tap) == [10, 244, 1, 6]);
    let lines = String::from_utf8_lossy(&whole.stderr);
    let calls = lines.lines().filter(|line| line.contains("bpf(")).count();
    let mut half_way = 0;
    for nth in calls.saturating_sub(8)..=calls {
        tapwire.json(&["lease", "set", BINDING, "--address", "10.244.1.5/24"]).unwrap();
        let before = tapwire.show(BINDING).unwrap();
        let output = set(&format!("inject=bpf:error=EPERM:when={nth}"));
        if output.status.success() {
            // Not every call has to succeed: some only ask.
            continue;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        half_way += usize::from(said.contains("error: replace tapwire_"));
        let after = tapwire.show(BINDING).unwrap();
        assert_eq!((&after["state"], &after["lease"]), (&before["state"], &before["lease"]), "call {nth}: {said}");
        assert_eq!(offered(&tap), [10, 244, 1, 5], "call {nth}: {said}");
    }
    assert!(half_way >= 2, "only {half_way} failures to replace a program");
}
