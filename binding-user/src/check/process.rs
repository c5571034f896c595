//! What this process may do.

use std::fs;

use super::Finding;

/// Capabilities by their number in `linux/capability.h`, what each is for, and whether attach cannot do without.
const CAPABILITIES: [(u8, &str, &str, bool); 6] = [
    (12, "CAP_NET_ADMIN", "changes links, taps and hooks", true),
    (21, "CAP_SYS_ADMIN", "enters the pod's namespace; loads programs on kernels before 5.8", true),
    (39, "CAP_BPF", "loads programs; CAP_SYS_ADMIN does as well", false),
    (38, "CAP_PERFMON", "lets the verifier follow pointers; CAP_SYS_ADMIN does as well", false),
    (
        19,
        "CAP_SYS_PTRACE",
        "finds the namespaces of other processes (--netns pid:N, and bindings of pods without a name)",
        false,
    ),
    (
        1,
        "CAP_DAC_OVERRIDE",
        "reads the pod's resolv.conf and writes the state folder, where they are not this user's",
        false,
    ),
];

/// What `CAP_SYS_ADMIN` includes.
const WITHIN_SYS_ADMIN: [u8; 2] = [38, 39];

/// The effective capabilities, from `/proc/thread-self/status`.
pub(super) fn effective() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Which capabilities are there.
pub(super) fn capabilities() -> Finding {
    const NAME: &str = "capabilities";
    match effective() {
        None => Finding::warning(NAME, "not known: /proc/thread-self/status cannot be read", "mount /proc"),
        Some(set) => judge(set),
    }
}

fn judge(set: u64) -> Finding {
    const NAME: &str = "capabilities";
    let has = |number: u8| set & (1 << number) != 0;
    let missing = |needed: bool| {
        let lacking = CAPABILITIES.iter().filter(|(number, _, _, must)| *must == needed && !has(*number));
        let lacking = lacking.filter(|(number, ..)| !(WITHIN_SYS_ADMIN.contains(number) && has(21)));
        lacking.map(|(_, name, why, _)| format!("{name} ({why})")).collect::<Vec<_>>().join(", ")
    };
    let (needed, useful) = (missing(true), missing(false));
    if !needed.is_empty() {
        Finding::failed(NAME, format!("missing: {needed}"), "run as root, in a container as a privileged one")
    } else if !useful.is_empty() {
        Finding::warning(NAME, format!("missing: {useful}"), "give the container these capabilities")
    } else {
        Finding::ok(NAME, "all that attach uses are there")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn what_is_missing_is_named_and_sys_admin_includes_bpf() {
        let all = (1 << 12) | (1 << 21) | (1 << 19) | (1 << 1);
        assert_eq!(judge(all).verdict, Verdict::Ok);
        let without_admin = judge((all | (1 << 38) | (1 << 39)) & !(1 << 21));
        assert_eq!(without_admin.verdict, Verdict::Failed);
        assert!(without_admin.text.starts_with("missing: CAP_SYS_ADMIN"), "{}", without_admin.text);
        let without_ptrace = judge(all & !(1 << 19));
        assert_eq!(without_ptrace.verdict, Verdict::Warning);
        assert!(without_ptrace.text.starts_with("missing: CAP_SYS_PTRACE"), "{}", without_ptrace.text);
    }
}
