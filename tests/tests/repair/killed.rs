//! A repair that is killed at any point is finished, or undone, by the next command.

use lab::{
    BINDING, Pod, Tapwire,
    fingerprint::difference,
    interrupt::{Fate, kill_after},
    pod::POD_MAC,
    tapwire::attach_arguments,
};

use crate::{assert_works, new_nic};

/// No repair makes so many changes.
const MANY: usize = 400;

/// Has a repair to do in a pod, kills it after each change in turn (every `stride`-th), and has `then` end it.
fn walk(options: &[&str], stride: usize, spoil: impl Fn(&Pod), then: impl Fn(&Tapwire, &Pod, &str)) {
    let pod = Pod::new("killed").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let mut half_way = 0;
    for nth in (1..MANY).step_by(stride) {
        if !tapwire.state().join(format!("{BINDING}.json")).exists() {
            tapwire.attach(&pod, BINDING, options).unwrap();
        }
        spoil(&pod);
        let fate = kill_after(&tapwire, &["repair", BINDING], nth).unwrap();
        let shown = tapwire.show(BINDING).unwrap();
        half_way += usize::from(shown["reason"] == "repair was interrupted");
        then(&tapwire, &pod, &format!("killed after change {nth}"));
        if fate == Fate::Finished {
            assert!(half_way > 2, "{half_way} kills met changes");
            return;
        }
    }
    panic!("repair did not end after {MANY} changes");
}

fn lose_tap(pod: &Pod) {
    // A repair that was killed may have left it under its first name.
    let _ = pod.namespace.ip(&["link", "del", "tap0"]);
}

fn assert_whole(tapwire: &Tapwire, pod: &Pod, when: &str) {
    assert_eq!(tapwire.show(BINDING).unwrap()["state"], "ready", "{when}");
    assert_eq!(Pod::links(&pod.namespace).unwrap().len(), 3, "{when}: no tap is left over");
    let pins = std::fs::read_dir(tapwire.pins().join(BINDING)).unwrap();
    let names: Vec<_> = pins.map(|pin| pin.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains('+')), "{when}: {names:?}");
}

#[test]
fn the_next_repair_finishes_a_killed_one() {
    lab::require_root!();
    walk(&["--hook", "tcx"], 3, lose_tap, |tapwire, pod, when| {
        tapwire.run(&["repair", BINDING]).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_whole(tapwire, pod, when);
    });
}

#[test]
fn the_attach_that_made_the_binding_finishes_a_killed_repair() {
    lab::require_root!();
    let options = ["--hook", "clsact"];
    walk(
        &options,
        8,
        |pod| new_nic(pod, POD_MAC, Some("10.244.1.5/24")),
        |tapwire, pod, when| {
            let attach = [&attach_arguments(pod, BINDING)[..], &options].concat();
            tapwire.run(&attach).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert_whole(tapwire, pod, when);
        },
    );
}

#[test]
fn detach_undoes_a_killed_repair() {
    lab::require_root!();
    walk(
        &["--hook", "tcx"],
        8,
        |pod| {
            lose_tap(pod);
            new_nic(pod, POD_MAC, Some("10.244.1.5/24"));
        },
        |tapwire, pod, when| {
            tapwire.run(&["detach", BINDING]).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0"], "{when}");
            let addresses = pod.namespace.ip(&["-br", "addr", "show", "dev", "eth0"]).unwrap();
            assert!(addresses.contains("10.244.1.5/24"), "{when}: {addresses}");
            assert_eq!(pod.nic_mac().unwrap(), POD_MAC, "{when}");
        },
    );
}

#[test]
fn a_repair_that_the_kernel_refuses_changes_nothing() {
    lab::require_root!();
    let pod = Pod::new("refused").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &["--hook", "tcx"]).unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "mtu", "1400"]).unwrap();
    let (links, journal) = (pod.fingerprint().unwrap(), tapwire.state().join(format!("{BINDING}.json")));
    let record = std::fs::read(&journal).unwrap();
    // Every program and every map is refused.
    let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", "inject=bpf:error=EPERM:when=12+"];
    let output = tapwire.under(&runner, &["repair", BINDING]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let after = pod.fingerprint().unwrap();
    assert!(after == links, "{}", difference(&links, &after));
    assert_eq!(std::fs::read(&journal).unwrap(), record);
    tapwire.run(&["repair", BINDING]).unwrap();
    assert_works(&pod, POD_MAC, "10.244.1.5");
}
