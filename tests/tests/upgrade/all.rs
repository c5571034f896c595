//! `upgrade --all`: one after the other, and no further than the first that fails.

use lab::{Pod, Tapwire};
use serde_json::json;

fn build_of(tapwire: &Tapwire, name: &str) -> String {
    tapwire.show(name).unwrap()["programs"]["build"].as_str().unwrap().to_owned()
}

#[test]
fn all_bindings_are_upgraded_and_those_that_are_gone_passed_over() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let other = tapwire.other("other-build").unwrap();
    let nothing = other.run(&["upgrade", "--all"]).unwrap();
    assert_eq!(nothing, "no binding to upgrade");
    let pods = ["a", "b", "c"].map(|name| (name, Pod::new(name).unwrap()));
    for (name, pod) in &pods {
        tapwire.attach(pod, name, &[]).unwrap();
    }
    let [a, b, c] = pods;
    drop(b);
    other.run(&["upgrade", "c"]).unwrap();
    let from = tapwire.show("a").unwrap()["programs"].clone();
    let output = other.output(&["upgrade", "--all", "-o", "json"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said == "warning: b is gone: there is nothing to upgrade\n", "{said}");
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["upgraded"], json!([{"name": "a", "from": from}]));
    assert_eq!((&done["unchanged"], &done["gone"]), (&json!(["c"]), &json!(["b"])));
    assert_eq!(build_of(&tapwire, "a"), build_of(&tapwire, "c"));
    drop((a, c));
}

#[test]
fn the_first_that_fails_ends_an_upgrade_of_all_and_it_says_how_far_it_came() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let other = tapwire.other("other-build").unwrap();
    let pods = ["a", "b", "c"].map(|name| (name, Pod::new(name).unwrap()));
    for (name, pod) in &pods {
        tapwire.attach(pod, name, &[]).unwrap();
    }
    pods[1].1.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let before = build_of(&tapwire, "c");
    let refusal = other.refusal(&["upgrade", "--all"]).unwrap();
    assert!(refusal.error.starts_with("upgrade all bindings: upgrade b: "), "{}", refusal.error);
    assert!(refusal.error.ends_with("; upgraded: a; not upgraded: b, c"), "{}", refusal.error);
    assert_ne!(build_of(&tapwire, "a"), before);
    assert_eq!(build_of(&tapwire, "c"), before);
}
