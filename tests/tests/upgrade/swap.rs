//! The upgrade itself: other programs on every hook, and nothing else.

use lab::{BINDING, Tapwire};
use serde_json::{Value, json};

use crate::{Lab, upgrade};

/// What must not change.
fn but_for_programs(mut shown: Value) -> Value {
    shown["programs"].take();
    shown["counters"].take();
    shown
}

fn upgrades_and_rolls_back(options: &[&str]) {
    let lab = Lab::new("upgrade", options);
    let (before, first) = (lab.show(), lab.programs());
    let done = upgrade(&lab.other);
    assert_eq!(done["upgraded"], json!([{"name": BINDING, "from": before["programs"]}]));
    let (after, second) = (lab.show(), lab.programs());
    assert_eq!(but_for_programs(after.clone()), but_for_programs(before.clone()));
    assert_eq!(after["programs"], done["programs"], "the build that does it is the one that is loaded");
    assert_ne!(after["programs"]["build"], before["programs"]["build"], "the test has two builds");
    assert!(first.iter().all(|id| !second.contains(id)), "every hook has another program: {first:?}, {second:?}");

    let again = upgrade(&lab.other);
    assert_eq!((&again["upgraded"], &again["unchanged"]), (&json!([]), &json!([BINDING])));
    assert_eq!(lab.programs(), second, "there was nothing to do");

    upgrade(&lab.tapwire);
    assert_eq!(but_for_programs(lab.show()), but_for_programs(before.clone()));
    assert_eq!(lab.show()["programs"], before["programs"], "rolled back");
    assert!(lab.programs().iter().all(|id| !second.contains(id)));
    lab.lease_is_answered(&lab.tap());
}

#[test]
fn an_upgrade_gives_every_hook_its_build_and_the_older_one_takes_it_back() {
    lab::require_root!();
    upgrades_and_rolls_back(&[]);
}

#[test]
fn an_upgrade_gives_every_hook_its_build_on_clsact() {
    lab::require_root!();
    upgrades_and_rolls_back(&["--hook", "clsact", "--mac-mode", "keep"]);
}

#[test]
fn a_changed_lease_outlives_an_upgrade_and_another_build_may_change_it() {
    lab::require_root!();
    let lab = Lab::new("lease", &[]);
    lab.tapwire.run(&["lease", "set", BINDING, "--hostname", "one"]).unwrap();
    upgrade(&lab.other);
    assert_eq!(lab.show()["lease"]["hostname"], "one");
    let build = lab.show()["programs"].clone();
    // A change by another build brings its programs with it, and the record says so.
    let changed = lab.layout.json(&["lease", "set", BINDING, "--hostname", "two"]).unwrap();
    assert_eq!(changed["lease"]["hostname"], "two");
    assert_ne!(changed["programs"], build);
    assert_eq!(upgrade(&lab.layout)["unchanged"], json!([BINDING]));
}

#[test]
fn a_binding_that_is_not_whole_is_not_upgraded() {
    lab::require_root!();
    let lab = Lab::new("broken", &[]);
    lab.pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let refusal = lab.other.refusal(&["upgrade", BINDING]).unwrap();
    assert!(refusal.error.contains("the tap tap0 is gone"), "{}", refusal.error);
    assert!(refusal.hint.unwrap().contains("attach it again"));
    let refusal = Tapwire::new().unwrap().refusal(&["upgrade", "nobody"]).unwrap();
    assert!(refusal.error.contains("there is none of this name"), "{}", refusal.error);
}
