//! Attach and detach are transactions: killed at any point, they leave what the next command completes or undoes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;

use lab::{
    Pod, Tapwire, fingerprint,
    interrupt::{Fate, kill_after},
    tapwire::attach_arguments,
};

const NAME: &str = "killed";

/// No attach makes so many changes; the walk must end by reaching the end of the program.
const MANY: usize = 1000;

/// The pod NIC, the host side, and the links beside it.
fn both(pod: &Pod) -> String {
    let (ours, theirs) = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
    format!("{ours}\n{theirs}\n{}\n", Pod::links(&pod.node).unwrap().join(" "))
}

struct Lab {
    pod: Pod,
    tapwire: Tapwire,
    before: String,
}

impl Lab {
    fn new(label: &str) -> Self {
        let pod = Pod::new(label).unwrap();
        let before = both(&pod);
        Self { pod, tapwire: Tapwire::new().unwrap(), before }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&attach_arguments(&self.pod, NAME), more].concat()
    }

    fn has_journal(&self) -> bool {
        self.tapwire.state().join(format!("{NAME}.json")).exists()
    }

    /// The namespace is as it was, and nothing of the binding is left anywhere.
    fn assert_restored(&self, when: &str) {
        let after = both(&self.pod);
        assert!(after == self.before, "{when}:\n{}", fingerprint::difference(&self.before, &after));
        assert_eq!(Pod::links(&self.pod.namespace).unwrap(), ["lo", "eth0"], "{when}");
        assert!(!self.has_journal(), "{when}");
        let pins = self.tapwire.pins().join(NAME);
        assert!(!pins.exists(), "{when}: {} is left", pins.display());
    }

    /// Detaches what a kill left; killed before the journal was written, there is nothing, and it says so.
    fn detach(&self, when: &str) {
        if self.has_journal() {
            self.tapwire.run(&["detach", NAME]).unwrap_or_else(|error| panic!("{when}: {error}"));
        } else {
            let refusal = self.tapwire.refusal(&["detach", NAME]).unwrap();
            assert!(refusal.error.contains("there is none of this name"), "{when}: {}", refusal.error);
        }
    }
}

/// Kills attach after each change in turn, and has `then` look at what is left. Gives the number of kills.
fn walk(lab: &Lab, options: &[&str], then: impl Fn(&str)) -> usize {
    for nth in 1..MANY {
        match kill_after(&lab.tapwire, &lab.arguments(options), nth).unwrap() {
            Fate::Killed => then(&format!("killed after change {nth}")),
            Fate::Finished => {
                lab.tapwire.run(&["detach", NAME]).unwrap();
                lab.assert_restored("not killed");
                return nth - 1;
            }
        }
    }
    panic!("attach did not end after {MANY} changes");
}

#[test]
fn detach_restores_whatever_a_killed_attach_left() {
    lab::require_root!();
    let lab = Lab::new("undo");
    let half_way = Cell::new(0);
    let kills = walk(&lab, &[], |when| {
        half_way.set(half_way.get() + usize::from(lab.has_journal()));
        lab.detach(when);
        lab.assert_restored(when);
    });
    let half_way = half_way.get();
    println!("killed attach {kills} times, {half_way} of them with changes made");
    assert!(half_way > 20, "only {half_way} of {kills} kills met changes");
}

#[test]
fn attach_completes_whatever_a_killed_attach_left() {
    lab::require_root!();
    let lab = Lab::new("redo");
    walk(&lab, &["--hook", "clsact"], |when| {
        let report =
            lab.tapwire.attach(&lab.pod, NAME, &["--hook", "clsact"]).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert_eq!(report["state"], "ready", "{when}");
        assert_eq!(report["nic"]["original_mac"], lab.pod.mac.as_str(), "{when}");
        assert_eq!(report["lease"]["address"], "10.244.1.5/24", "{when}");
        lab.tapwire.run(&["detach", NAME]).unwrap();
        lab.assert_restored(when);
    });
}

#[test]
fn detach_completes_whatever_a_killed_detach_left() {
    lab::require_root!();
    let lab = Lab::new("again");
    for nth in 1..MANY {
        lab.tapwire.attach(&lab.pod, NAME, &[]).unwrap();
        let fate = kill_after(&lab.tapwire, &["detach", NAME], nth).unwrap();
        if fate == Fate::Killed {
            lab.detach(&format!("killed after change {nth}"));
        }
        lab.assert_restored(&format!("detach, {nth}"));
        if fate == Fate::Finished {
            assert!(nth > 10, "only {nth} changes were seen");
            return;
        }
    }
    panic!("detach did not end after {MANY} changes");
}

#[test]
fn an_attach_that_fails_half_way_leaves_nothing() {
    lab::require_root!();
    let lab = Lab::new("fails");
    let mut failures = 0;
    // The kernel refuses each call of bpf(2) in turn: to load, to attach, to pin.
    for nth in 1..MANY {
        let inject = format!("inject=bpf:error=EPERM:when={nth}");
        let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", &inject];
        let output = lab.tapwire.under(&runner, &lab.arguments(&[])).output().unwrap();
        if output.status.success() {
            lab.tapwire.run(&["detach", NAME]).unwrap();
        } else {
            failures += 1;
        }
        lab.assert_restored(&format!("call {nth} refused"));
        if nth > 12 && output.status.success() {
            break;
        }
    }
    assert!(failures >= 3, "only {failures} calls failed");
}
