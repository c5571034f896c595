//! A host that has run out of something: attach fails in one line, and undoes what it had begun.

use lab::Tapwire;

use crate::{Lab, refusal, refused};

/// Attach in a mount namespace of its own, after a script that changes what is mounted there.
fn attach_with_mounts(lab: &Lab, script: &str) -> String {
    let script = format!("{script} && exec \"$@\"");
    refusal(lab.tapwire.under(&["unshare", "--mount", "sh", "-ec", &script, "sh"], &lab.attach(&[])))
}

#[test]
fn a_disk_that_is_full_changes_nothing() {
    lab::require_root!();
    let lab = Lab::new("full");
    let state = lab.tapwire.state().display().to_string();
    // From no room at all to room for one journal and not for the next.
    for free in [0, 4096] {
        let script = format!(
            "mount -t tmpfs -o size=32k none {state} && head -c {free} /dev/zero > {state}/free && \
             (cat /dev/zero > {state}/full || true) 2>/dev/null && rm {state}/free"
        );
        let said = attach_with_mounts(&lab, &script);
        assert!(said.contains("No space left") && said.contains("TAPWIRE_STATE_DIR"), "{free}: {said}");
        lab.assert_unchanged();
    }
}

#[test]
fn a_state_folder_that_is_read_only_changes_nothing() {
    lab::require_root!();
    let lab = Lab::new("readonly");
    let said = attach_with_mounts(&lab, &format!("mount -t tmpfs -o ro none {}", lab.tapwire.state().display()));
    assert!(said.contains("Read-only file system") && said.contains("TAPWIRE_STATE_DIR"), "{said}");
    lab.assert_unchanged();
}

#[test]
fn detach_from_a_disk_that_has_become_full_still_gives_all_back() {
    lab::require_root!();
    let lab = Lab::new("filled");
    let state = lab.tapwire.state().display().to_string();
    // Both in one mount namespace, which keeps the disk.
    let script = format!(
        "mount -t tmpfs -o size=64k none {state} && \"$@\" >/dev/null && (cat /dev/zero > {state}/full || true) 2>/dev/null && \
         \"$1\" detach b >/dev/null && test ! -e {state}/b.json"
    );
    let output =
        lab.tapwire.under(&["unshare", "--mount", "sh", "-ec", &script, "sh"], &lab.attach(&[])).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lab.assert_unchanged();
}

#[test]
fn memory_that_runs_out_at_any_call_of_bpf_changes_nothing() {
    lab::require_root!();
    let lab = Lab::new("enomem");
    let attach = lab.attach(&[]);
    let calls = count_calls(&lab.tapwire, &attach);
    lab.tapwire.run(&["detach", "b"]).unwrap();
    lab.assert_unchanged();
    // Each third, over the whole of attach. Many are questions of aya's that may go unanswered.
    let mut failed = 0;
    for nth in (1..=calls).step_by(3) {
        let inject = format!("inject=bpf:error=ENOMEM:when={nth}");
        let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", &inject];
        let output = lab.tapwire.under(&runner, &attach).output().unwrap();
        if output.status.success() {
            lab.tapwire.run(&["detach", "b"]).unwrap();
        } else {
            failed += 1;
            let said = refused(&output);
            // Where the question was whether the kernel has global data, aya goes on as if it had none.
            let unanswered = said.contains("error relocating");
            assert!(said.contains("Cannot allocate memory") || said.contains("ENOMEM") || unanswered, "{nth}: {said}");
        }
        lab.assert_unchanged();
    }
    assert!(failed >= 5, "of {calls} calls only {failed} mattered");
}

/// How often attach calls bpf(2) on its main thread; strace counts each thread on its own.
fn count_calls(tapwire: &Tapwire, attach: &[&str]) -> usize {
    let output =
        tapwire.under(&["strace", "-f", "-qq", "-e", "trace=bpf", "-e", "signal=none"], attach).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said.lines().filter(|line| line.starts_with("bpf(BPF_")).count()
}
