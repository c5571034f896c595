//! `tapwire check` says what is missing, in the right line, and leaves nothing behind.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use lab::Tapwire;
use serde_json::Value;

/// What `check -o json` said, and its exit code.
struct Checked {
    code: Option<i32>,
    report: Value,
    stderr: String,
}

impl Checked {
    fn run(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        Self { code: output.status.code(), report, stderr }
    }

    /// Verdict, text and hint of one finding.
    fn finding(&self, name: &str) -> (&str, &str, &str) {
        let found = self.report["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {:#}", self.report));
        let word = |key: &str| found[key].as_str().unwrap_or_default();
        (word("verdict"), word("text"), word("hint"))
    }

    /// Attach cannot work, and this is the line that says why.
    fn assert_failed(&self, name: &str, text: &str, hint: &str) {
        assert_eq!(self.code, Some(1), "{:#}", self.report);
        assert_eq!(self.report["attach"], false);
        let (verdict, said, remedy) = self.finding(name);
        assert_eq!(verdict, "failed", "{name}: {said}");
        assert!(said.contains(text), "{name}: {said}");
        assert!(remedy.contains(hint), "{name}: {remedy}");
        assert!(self.stderr.starts_with("error: check this host: ") && self.stderr.contains(name), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
    }
}

/// `check`, run by another program; the shell script of one ends in `exec "$@"`.
fn check(tapwire: &Tapwire, runner: &[&str]) -> Checked {
    Checked::run(tapwire.under(runner, &["check", "-o", "json"]))
}

/// In a mount namespace of its own, after a script that changes what is mounted there.
fn check_with_mounts(tapwire: &Tapwire, script: &str) -> Checked {
    let script = format!("{script} && exec \"$@\"");
    check(tapwire, &["unshare", "--mount", "sh", "-ec", &script, "sh"])
}

#[test]
fn this_machine_can_attach_and_is_left_as_it_was() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    // Other tests make pins and namespaces of their own beside this one.
    let ours = || {
        let state: Vec<_> = fs::read_dir(tapwire.state()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        // What the trial mounts has this source.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts: Vec<_> = mounts.lines().filter(|line| line.contains(" tapwire ")).map(str::to_owned).collect();
        (state, tapwire.pins().exists(), mounts)
    };
    let before = ours();
    let checked = check(&tapwire, &[]);
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    assert_eq!(checked.report["attach"], true);
    for name in
        ["bpf", "maps", "helpers", "capabilities", "state", "namespaces", "veth", "tap", "portal", "programs", "clsact"]
    {
        assert_eq!(checked.finding(name).0, "ok", "{name}: {}", checked.finding(name).1);
    }
    let (verdict, text, _) = checked.finding("attach");
    assert_eq!(
        (verdict, text),
        ("ok", "a binding was made and removed, frames to the network by peer, to the guest by portal")
    );
    assert_eq!(ours(), before);
    let text = tapwire.run(&["check"]).unwrap();
    assert!(text.lines().any(|line| line.starts_with("ok       attach ")), "{text}");
}

#[test]
fn a_namespace_that_is_named_is_looked_at_too() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let namespace = lab::Namespace::new("checked").unwrap();
    let checked = Checked::run(tapwire.command(&["check", "-o", "json", "--netns", namespace.name()]));
    assert_eq!((checked.code, checked.finding("netns").0), (Some(0), "ok"));
    let checked = Checked::run(tapwire.command(&["check", "-o", "json", "--netns", "no-such-namespace"]));
    checked.assert_failed("netns", "no-such-namespace does not exist", "ip netns list");
}

#[test]
fn capabilities_that_are_missing_are_named() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    for (drop, name) in [("-sys_admin", "CAP_SYS_ADMIN"), ("-net_admin", "CAP_NET_ADMIN")] {
        let drops = format!("--bounding-set={drop}");
        let checked = check(&tapwire, &["setpriv", &drops, "--inh-caps=-all"]);
        checked.assert_failed("capabilities", name, "as root");
        checked.assert_failed("attach", "not tried", "above");
    }
    let checked = check(&tapwire, &["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all"]);
    assert_eq!((checked.code, checked.finding("capabilities").0), (Some(0), "warning"));
}

#[test]
fn a_bpffs_that_is_missing_or_read_only_is_told() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let missing = check_with_mounts(&tapwire, "mount -t tmpfs none /sys/fs/bpf");
    missing.assert_failed("bpffs", "does not lie on a bpffs", "mount -t bpf bpf /sys/fs/bpf");
    let read_only =
        check_with_mounts(&tapwire, "mount -t bpf none /sys/fs/bpf && mount -o remount,ro,bind /sys/fs/bpf");
    read_only.assert_failed("bpffs", "pins cannot be made", "remount,rw");
}

#[test]
fn a_tun_device_that_is_missing_or_not_allowed_is_told() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    // Neither a node of another filesystem nor one that is mounted without devices can be opened.
    let masked = check_with_mounts(&tapwire, "mount -t tmpfs none /dev/net");
    masked.assert_failed("tap", "/dev/net/tun does not exist", "load the module tun");
    let refused = check_with_mounts(&tapwire, "mount --bind /dev/null /dev/net/tun");
    refused.assert_failed("tap", "TUNSETIFF", "/dev/net/tun");
    assert_eq!(refused.finding("veth").0, "ok");
}

#[test]
fn a_state_folder_that_is_read_only_or_full_is_told() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let state = tapwire.state().display().to_string();
    let read_only = check_with_mounts(&tapwire, &format!("mount -t tmpfs -o ro none {state}"));
    read_only.assert_failed("state", "Read-only file system", "TAPWIRE_STATE_DIR");
    let fill = format!("mount -t tmpfs -o size=64k none {state} && (cat /dev/zero > {state}/x || true) 2>/dev/null");
    let full = check_with_mounts(&tapwire, &fill);
    full.assert_failed("state", "No space left", "not full");
}

#[test]
fn a_bpf_call_that_is_denied_is_told_apart_from_missing_rights() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    for error in ["EPERM", "ENOSYS"] {
        let inject = format!("inject=bpf:error={error}");
        let denied = check(&tapwire, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", &inject]);
        denied.assert_failed("bpf", "bpf(2) cannot be used", "seccomp");
        denied.assert_failed("attach", "not tried", "above");
    }
}

#[test]
fn memory_that_runs_out_is_told() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    // The first calls load the probe; what comes then makes maps.
    let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", "inject=bpf:error=ENOMEM:when=2+"];
    let checked = check(&tapwire, &runner);
    checked.assert_failed("maps", "Cannot allocate memory", "cgroup");
}

#[test]
fn namespaces_that_cannot_be_made_are_told() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    // The first call makes the mount namespace of the trial.
    let inject = "inject=unshare:error=ENOSPC:when=2+";
    let checked = check(&tapwire, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unshare", "-e", inject]);
    checked.assert_failed("namespaces", "there are too many", "user.max_net_namespaces");
}
