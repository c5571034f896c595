//! `lease set` is a transaction: killed at any point, the binding works with one of the two leases, and is made whole by
//! the next command.

use lab::{
    BINDING, Pod, Tapwire,
    interrupt::{Fate, kill_after},
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
