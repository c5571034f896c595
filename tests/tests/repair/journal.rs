//! Journals and pins that outlived each other, or what they are of.

use std::{fs, time::Duration};

use lab::{BINDING, Pod, Tapwire, pod::POD_MAC};
use serde_json::{Value, json};

use crate::{HOOKS, assert_said, assert_works, bound, lines, refusal, repair};

const LOST: &str = "the journal is gone, but for its copy beside the pins";

/// Empties the state folder, as a restart of a container does.
fn wipe(tapwire: &Tapwire) {
    for entry in fs::read_dir(tapwire.state()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn one_outcome(tapwire: &Tapwire) -> Value {
    let outcomes = tapwire.json(&["repair", "--all"]).unwrap();
    assert_eq!(outcomes["bindings"].as_array().unwrap().len(), 1, "{outcomes}");
    outcomes["bindings"][0].clone()
}

#[test]
fn a_wiped_state_folder_loses_nothing() {
    lab::require_root!();
    for hook in HOOKS {
        let pod = Pod::new("wiped").unwrap();
        let before = pod.fingerprint().unwrap();
        let tapwire = Tapwire::new().unwrap();
        let options = ["--hook", hook];
        let name = "wiped.1";
        tapwire.attach(&pod, name, &options).unwrap();
        tapwire.run(&["lease", "set", name, "--dns", "10.96.0.99"]).unwrap();
        let whole = tapwire.show(name).unwrap();
        wipe(&tapwire);
        let listed = tapwire.json(&["list"]).unwrap();
        assert_eq!((&listed[0]["state"], &listed[0]["reason"]), (&"degraded".into(), &LOST.into()));
        assert_eq!(listed[0]["lease"], whole["lease"]);
        assert_said(&lines(&one_outcome(&tapwire)), "wrote the journal again from its copy");
        assert_eq!(tapwire.show(name).unwrap()["lease"], whole["lease"]);
        wipe(&tapwire);
        let again = tapwire.attach(&pod, name, &options).unwrap();
        assert_eq!(
            (&again["state"], &again["lease"]),
            (&"ready".into(), &whole["lease"]),
            "attach again finds it, too"
        );
        wipe(&tapwire);
        tapwire.run(&["detach", name]).unwrap();
        assert_eq!(pod.fingerprint().unwrap(), before, "so does detach");
        assert_eq!(tapwire.json(&["list"]).unwrap(), json!([]), "and nothing comes back");
    }
}

#[test]
fn a_journal_that_cannot_be_read_is_written_again() {
    lab::require_root!();
    let (tapwire, pod) = bound("torn", "tcx", &[]);
    let path = tapwire.state().join(format!("{BINDING}.json"));
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert_said(&repair(&tapwire), "wrote the journal again from its copy");
    assert_eq!(fs::read(&path).unwrap(), text);
    assert_works(&pod, POD_MAC, "10.244.1.5");
}

/// Deletes the pod and waits until the kernel has.
fn delete(pod: Pod, tapwire: &Tapwire) {
    drop(pod);
    let gone = || Ok(tapwire.show(BINDING)?["state"] == "gone");
    lab::wait::wait_until("the namespace to be gone", Duration::from_secs(10), gone).unwrap();
}

fn assert_nothing_left(tapwire: &Tapwire) {
    assert_eq!(tapwire.json(&["list"]).unwrap(), json!([]));
    assert_eq!(fs::read_dir(tapwire.pins()).unwrap().count(), 0, "no pin is left");
}

#[test]
fn what_is_left_of_a_namespace_that_is_gone_is_collected() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("gone", hook, &[]);
        tapwire.run(&["lease", "set", BINDING, "--dns", "10.96.0.99"]).unwrap();
        delete(pod, &tapwire);
        let outcome = one_outcome(&tapwire);
        assert_said(&lines(&outcome), "its network namespace is gone: removed journal and pins");
        assert_eq!(outcome["state"], Value::Null);
        assert_nothing_left(&tapwire);
        // The same with a state folder that was lost before.
        let (tapwire, pod) = bound("gone", hook, &[]);
        wipe(&tapwire);
        delete(pod, &tapwire);
        tapwire.json(&["repair", BINDING]).unwrap();
        assert_nothing_left(&tapwire);
    }
}

#[test]
fn a_journal_of_another_boot_is_collected() {
    lab::require_root!();
    let (tapwire, _pod) = bound("boot", "tcx", &[]);
    let path = tapwire.state().join(format!("{BINDING}.json"));
    let mut journal: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    journal["boot"] = "00000000-0000-0000-0000-000000000000".into();
    fs::write(&path, journal.to_string()).unwrap();
    assert_eq!(tapwire.show(BINDING).unwrap()["state"], "gone");
    assert_said(&lines(&one_outcome(&tapwire)), "the machine was started again since");
    assert_nothing_left(&tapwire);
}

#[test]
fn pins_that_no_journal_tells_of_are_collected_when_their_devices_are_gone() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("orphan", hook, &[]);
        wipe(&tapwire);
        fs::remove_file(tapwire.pins().join(BINDING).join("journal")).unwrap();
        let (error, hint) = refusal(&tapwire);
        assert!(error.contains("its programs are at work") && hint.contains("rm -r"), "{error}, {hint}");
        let warned = tapwire.output(&["list"]).unwrap();
        let warned = String::from_utf8(warned.stderr).unwrap();
        assert!(warned.contains("warning: b: pins are there, and no journal of it"), "{warned}");
        drop(pod);
        let collected = || Ok(tapwire.output(&["repair", "--all"])?.status.success());
        lab::wait::wait_until("the pins to be collected", Duration::from_secs(10), collected).unwrap();
        assert_nothing_left(&tapwire);
    }
}

#[test]
fn one_that_cannot_be_repaired_keeps_no_other_from_it() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let pods: Vec<_> = ["a", "b", "c"].map(|name| (name, Pod::new(name).unwrap())).into();
    for (name, pod) in &pods {
        tapwire.attach(pod, name, &[]).unwrap();
    }
    pods[0].1.namespace.ip(&["link", "del", "eth0"]).unwrap();
    pods[2].1.namespace.ip(&["link", "set", "tap0", "down"]).unwrap();
    let output = tapwire.output(&["repair", "--all"]).unwrap();
    let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said, "a: nothing was done\nb: nothing to repair\nc: set the tap tap0 up again\n");
    assert!(error.starts_with("error: repair a: the pod NIC eth0 is gone\nhint: "), "{error}");
    assert_eq!(tapwire.show("c").unwrap()["state"], "ready");
    let table = tapwire.run(&["list"]).unwrap();
    assert!(table.contains("the pod NIC eth0 is gone"), "{table}");
}

#[test]
fn the_command_is_about_one_binding_or_all() {
    lab::require_root!();
    let (tapwire, _pod) = bound("which", "tcx", &[]);
    for wrong in [&["repair"][..], &["repair", "b", "--all"], &["repair", "b", "--name", "b"]] {
        assert_eq!(tapwire.output(wrong).unwrap().status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(tapwire.run(&["repair", "--name", "b"]).unwrap(), "b: nothing to repair");
    let refusal = tapwire.refusal(&["repair", "other"]).unwrap();
    assert!(refusal.error.contains("there is none of this name"), "{}", refusal.error);
    assert_eq!(one_outcome(&tapwire), json!({"name": "b", "state": "ready", "reason": "", "done": []}));
}
