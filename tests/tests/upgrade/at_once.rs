//! Two commands on one binding at once: one waits for the other, and both are done.

use std::{
    fs::File,
    process::{Child, Stdio},
};

use lab::{BINDING, Pod, Tapwire, tapwire::attach_arguments, wait::wait_until};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use crate::{Lab, SOON};

/// Starts a command that is held for a while at each call of bpf(2), and waits until it has the lock.
fn start_slowly(tapwire: &Tapwire, arguments: &[&str]) -> Child {
    let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", "inject=bpf:delay_exit=20000"];
    let child = tapwire.under(&runner, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the lock to be taken", SOON, || {
        let Ok(file) = File::open(tapwire.state().join("lock")) else { return Ok(false) };
        Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err())
    })
    .unwrap();
    child
}

/// What a command printed that must have succeeded.
fn printed(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn of_two_attaches_at_once_the_second_finds_the_binding_done() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("twice").unwrap(), Tapwire::new().unwrap());
    let arguments = [&attach_arguments(&pod, BINDING)[..], &["-o", "json"]].concat();
    let first = start_slowly(&tapwire, &arguments);
    let second = tapwire.json(&attach_arguments(&pod, BINDING)).unwrap();
    let first: Value = serde_json::from_str(&printed(first)).unwrap();
    assert_eq!((&first["state"], &second["state"]), (&"ready".into(), &"ready".into()));
    assert_eq!((&first["tap"], &first["nic"]), (&second["tap"], &second["nic"]), "one binding");
    assert_eq!(tapwire.json(&["list"]).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_detach_waits_for_the_attach_and_undoes_it() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("undone").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    let attach = start_slowly(&tapwire, &attach_arguments(&pod, BINDING));
    tapwire.run(&["detach", BINDING]).unwrap();
    // Its report may already be of a binding that is no more; it has succeeded all the same.
    printed(attach);
    assert_eq!(pod.fingerprint().unwrap(), before);
    assert_eq!(tapwire.json(&["list"]).unwrap(), serde_json::json!([]));
}

#[test]
fn an_upgrade_and_a_change_of_the_lease_at_once_both_come_about() {
    lab::require_root!();
    let lab = Lab::new("both", &[]);
    let set = ["lease", "set", BINDING, "--hostname", "vm"];
    let upgrading = start_slowly(&lab.other, &["upgrade", BINDING]);
    lab.other.run(&set).unwrap();
    printed(upgrading);
    let shown = lab.show();
    assert_eq!((&shown["state"], &shown["lease"]["hostname"]), (&"ready".into(), &"vm".into()));
    let build = shown["programs"].clone();

    let setting = start_slowly(&lab.other, &["lease", "set", BINDING, "--hostname", "other"]);
    lab.tapwire.run(&["upgrade", BINDING]).unwrap();
    printed(setting);
    let shown = lab.show();
    assert_eq!((&shown["state"], &shown["lease"]["hostname"]), (&"ready".into(), &"other".into()));
    assert_ne!(shown["programs"], build, "the upgrade came last");
}
