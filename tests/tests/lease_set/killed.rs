//! `lease set` is a transaction: killed at any point, the binding works with one of the two leases, and is made whole by
//! the next command.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Output, Stdio},
};

use aya::programs::links::{FdLink, PinnedLink};
use lab::{
    BINDING, Offloads, Pod, TapPort, Tapwire,
    interrupt::{Fate, kill_after},
    tapwire::attach_arguments,
    wait::wait_until,
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
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    for nth in 1..MANY {
        let fate = kill_after(&tapwire, &CHANGE, nth).unwrap();
        let shown = tapwire.show(BINDING).unwrap();
        match (shown["state"].as_str().unwrap(), shown["lease"]["address"].as_str().unwrap()) {
            ("ready", "10.244.1.5/24") => left_as_it_was += 1,
            ("ready", "10.244.1.6/24") => {}
            ("degraded", "10.244.1.6/24") => {
                interrupted += 1;
                assert_eq!(shown["reason"], "lease set or upgrade was interrupted");
                let whole = then(&tapwire, &pod);
                assert_eq!((&whole["state"], &whole["lease"]["address"]), (&"ready".into(), &"10.244.1.6/24".into()));
            }
            other => panic!("killed after change {nth}: {other:?}"),
        }
        let told = tapwire.show(BINDING).unwrap()["lease"]["address"].clone();
        assert_eq!(told, format!("{}/24", Ipv4Addr::from(offered(&tap))), "killed after change {nth}");
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

/// Id of the program that a pinned link has.
fn program_of(link: &Path) -> u32 {
    FdLink::from(PinnedLink::from_pin(link).unwrap()).info().unwrap().program_id()
}

/// The place of the first update of a link among the calls of bpf(2) of its thread, counted from one, as strace does.
fn first_update(tapwire: &Tapwire) -> usize {
    let runner = ["strace", "-f", "-qq", "-e", "trace=bpf", "-e", "signal=none"];
    let output = tapwire.under(&runner, &CHANGE).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut counts = BTreeMap::<&str, usize>::new();
    for (thread, call) in said.lines().filter_map(|line| line.split_once("bpf(")) {
        let count = counts.entry(thread).or_default();
        *count += 1;
        if call.starts_with("BPF_LINK_UPDATE") {
            return *count;
        }
    }
    panic!("no link was updated: {said}");
}

/// Runs `lease set`, which finds these pins out of their place once the first hook has its new program.
fn set_without(tapwire: &Tapwire, hidden: &[&str], first_update: usize) -> Output {
    let folder = tapwire.pins().join(BINDING);
    let first = folder.join("link_tapwire_nic_in");
    // Held there for long enough to be seen, with one hook changed; and at this place of other threads, too.
    let hold = format!("inject=bpf:delay_exit=500000:when={first_update}");
    let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", &hold];
    let before = program_of(&first);
    let command = tapwire.under(&runner, &CHANGE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the first hook to change", SOON, || Ok(program_of(&first) != before)).unwrap();
    let paths: Vec<_> = hidden.iter().map(|pin| (folder.join(pin), folder.join(format!("hidden_{pin}")))).collect();
    for (there, hidden) in &paths {
        fs::rename(there, hidden).unwrap();
    }
    let output = command.wait_with_output().unwrap();
    for (there, hidden) in &paths {
        fs::rename(hidden, there).unwrap();
    }
    output
}

#[test]
fn a_lease_set_that_fails_half_way_leaves_the_old_lease() {
    lab::require_root!();
    let pod = Pod::new("half-way").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let update = first_update(&tapwire);
    tapwire.json(&["lease", "set", BINDING, "--address", "10.244.1.5/24"]).unwrap();
    let before = tapwire.show(BINDING).unwrap();
    let programs = program_of(&tapwire.pins().join(BINDING).join("link_tapwire_nic_in"));
    let output = set_without(&tapwire, &["link_tapwire_tap_in"], update);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("error: replace tapwire_tap_in"), "{said}");
    let after = tapwire.show(BINDING).unwrap();
    assert_eq!((&after["state"], &after["lease"]), (&"ready".into(), &before["lease"]), "{said}");
    assert_eq!(program_of(&tapwire.pins().join(BINDING).join("link_tapwire_nic_in")), programs, "the very same");
    assert_eq!(offered(&tap), [10, 244, 1, 5], "{said}");

    // The old program cannot be put back either: the next command goes back to the old lease.
    let output = set_without(&tapwire, &["link_tapwire_nic_in", "link_tapwire_tap_in"], update);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("hint: attach it again"), "{said}");
    let shown = tapwire.show(BINDING).unwrap();
    assert_eq!((&shown["state"], &shown["lease"]["address"]), (&"degraded".into(), &"10.244.1.5/24".into()), "{said}");
    let whole = tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_eq!((&whole["state"], &whole["lease"]["address"]), (&"ready".into(), &"10.244.1.5/24".into()));
    assert_eq!(offered(&tap), [10, 244, 1, 5]);
}

#[test]
fn a_lease_set_that_cannot_be_recorded_leaves_the_old_lease() {
    lab::require_root!();
    let pod = Pod::new("unrecorded").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let before = tapwire.show(BINDING).unwrap();
    // The first record says that it begins, the second that it is done; the copy beside the pins is renamed too.
    let inject = "inject=rename:error=ENOSPC:when=3";
    let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", inject];
    let output = tapwire.under(&runner, &CHANGE).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("error: write the journal"), "{said}");
    let after = tapwire.show(BINDING).unwrap();
    assert_eq!((&after["state"], &after["lease"]), (&"ready".into(), &before["lease"]), "{said}");
    assert_eq!(offered(&tap), [10, 244, 1, 5], "{said}");
}

#[test]
fn a_changed_lease_outlives_an_attach_that_fails_to_make_the_binding_anew() {
    lab::require_root!();
    let pod = Pod::new("fails").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let before = pod.fingerprint().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    tapwire.run(&CHANGE).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    // A tap of somebody else's is in the way, twice.
    pod.add_tap("tap0").unwrap();
    pod.namespace.ip(&["addr", "add", "192.0.2.1/24", "dev", "tap0"]).unwrap();
    for _ in 0..2 {
        let refusal = tapwire.refusal(&attach_arguments(&pod, BINDING)).unwrap();
        assert!(refusal.error.contains("it has an address"), "{}", refusal.error);
        assert_eq!(tapwire.show(BINDING).unwrap()["state"], "degraded");
        assert_eq!(pod.fingerprint().unwrap(), before, "nothing of the binding is left");
    }
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let anew = tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_eq!((&anew["state"], &anew["lease"]["address"]), (&"ready".into(), &"10.244.1.6/24".into()));
    tapwire.run(&["detach", BINDING]).unwrap();
    assert_eq!(pod.fingerprint().unwrap(), before);
    assert_eq!(tapwire.attach(&pod, BINDING, &[]).unwrap()["lease"]["address"], "10.244.1.5/24", "detach forgets");
}
