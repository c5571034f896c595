//! What the kernel has, by asking it: eBPF, its map types and helpers, and the settings that bear on it.

use std::{fs, path::Path};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit},
    utsname::uname,
};

use super::{Finding, process};
use crate::datapath::Functions;
use crate::error::chain;

/// The helpers that the programs call, and what cannot be done without: `None` for nothing at all.
const HELPERS: [(BpfHelper, &str, Option<&str>); 12] = [
    (BpfHelper::BPF_FUNC_map_lookup_elem, "map_lookup_elem", None),
    (BpfHelper::BPF_FUNC_redirect, "redirect", None),
    (BpfHelper::BPF_FUNC_redirect_peer, "redirect_peer", Some("--to-network redirect must be given")),
    (BpfHelper::BPF_FUNC_check_mtu, "check_mtu", Some("--to-guest auto takes redirect")),
    (BpfHelper::BPF_FUNC_skb_adjust_room, "skb_adjust_room", None),
    (BpfHelper::BPF_FUNC_skb_change_tail, "skb_change_tail", None),
    (BpfHelper::BPF_FUNC_skb_change_type, "skb_change_type", None),
    (BpfHelper::BPF_FUNC_skb_load_bytes, "skb_load_bytes", None),
    (BpfHelper::BPF_FUNC_skb_pull_data, "skb_pull_data", None),
    (BpfHelper::BPF_FUNC_skb_store_bytes, "skb_store_bytes", None),
    (BpfHelper::BPF_FUNC_skb_vlan_pop, "skb_vlan_pop", None),
    (BpfHelper::BPF_FUNC_l4_csum_replace, "l4_csum_replace", None),
];

/// The kinds of map that the programs use.
const MAPS: [(MapType, &str); 3] =
    [(MapType::Array, "array"), (MapType::PerCpuArray, "percpu_array"), (MapType::Hash, "hash")];

/// What is charged to `RLIMIT_MEMLOCK` for one binding, with room for as many again while its programs are replaced.
const MEMLOCK: u64 = 16 << 20;

/// Everything about the kernel.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![kernel(), bpf()];
    if findings.iter().all(|finding| finding.verdict == super::Verdict::Ok) {
        findings.extend([maps(), helpers(), memlock()]);
    }
    findings.extend([btf(), lockdown(), unprivileged(), jit(), jit_harden(), backlog()]);
    findings
}

fn kernel() -> Finding {
    match uname() {
        Ok(name) => {
            let words =
                [name.sysname(), name.release(), name.machine()].map(|word| word.to_string_lossy().into_owned());
            Finding::ok("kernel", words.join(" "))
        }
        Err(errno) => Finding::warning("kernel", format!("not known: {errno}"), "nothing below depends on it"),
    }
}

fn bpf() -> Finding {
    const NAME: &str = "bpf";
    match is_program_supported(ProgramType::SchedClassifier) {
        Ok(true) => Finding::ok(NAME, "bpf(2) loads TC programs"),
        Ok(false) => Finding::failed(
            NAME,
            "the kernel does not take TC programs",
            "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF, 5.10 or later",
        ),
        Err(error) => {
            // Who has the capabilities and is refused all the same is refused by something else.
            let may = process::effective().is_some_and(|set| set & (1 << 21) != 0);
            let hint = if may {
                "a kernel without CONFIG_BPF_SYSCALL, a seccomp filter of the container, or a security module refuses \
                 bpf(2): allow it there"
            } else {
                "run as root, or with CAP_BPF and CAP_NET_ADMIN"
            };
            Finding::failed(NAME, format!("bpf(2) cannot be used: {}", chain(&error)), hint)
        }
    }
}

fn maps() -> Finding {
    let mut missing = Vec::new();
    for (kind, name) in MAPS {
        match is_map_supported(kind) {
            Ok(true) => {}
            Ok(false) => missing.push(name.to_owned()),
            Err(error) => missing.push(format!("{name} ({})", chain(&error))),
        }
    }
    if missing.is_empty() {
        return Finding::ok("maps", format!("{} can be made", MAPS.map(|(_, name)| name).join(", ")));
    }
    Finding::failed(
        "maps",
        format!("cannot be made: {}", missing.join(", ")),
        "no memory is the limit of the cgroup, or RLIMIT_MEMLOCK (ulimit -l) on kernels before 5.11",
    )
}

fn helpers() -> Finding {
    const NAME: &str = "helpers";
    let (mut missing, mut without) = (Vec::new(), Vec::new());
    for (helper, name, lost) in HELPERS {
        let supported = is_helper_supported(ProgramType::SchedClassifier, helper);
        match (supported, lost) {
            (Ok(true), _) => {}
            (Ok(false), Some(lost)) => without.push(format!("no bpf_{name}: {lost}")),
            (Ok(false), None) => missing.push(format!("bpf_{name}")),
            (Err(error), _) => missing.push(format!("bpf_{name} ({})", chain(&error))),
        }
    }
    if !missing.is_empty() {
        return Finding::failed(NAME, format!("missing: {}", missing.join(", ")), "use a kernel of 5.10 or later");
    }
    if !without.is_empty() {
        return Finding::warning(NAME, without.join("; "), "use a kernel of 5.12 or later");
    }
    Finding::ok(NAME, format!("all {} that the programs call", HELPERS.len()))
}

/// Since 5.11 the memory of maps and programs counts towards the cgroup, before towards this limit. The helper came with
/// that change, and libbpf too asks for it (`probe_memcg_account`).
fn memlock() -> Finding {
    const NAME: &str = "memlock";
    let by_cgroup = is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_ktime_get_coarse_ns);
    if by_cgroup.unwrap_or(false) {
        return Finding::ok(NAME, "eBPF memory counts towards the cgroup, not towards RLIMIT_MEMLOCK");
    }
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => Finding::ok(NAME, "RLIMIT_MEMLOCK is unlimited"),
        Ok((limit, _)) if limit >= MEMLOCK => Finding::ok(NAME, format!("RLIMIT_MEMLOCK is {} KiB", limit >> 10)),
        Ok((limit, _)) => Finding::warning(
            NAME,
            format!("RLIMIT_MEMLOCK is {} KiB, for all eBPF of this user; a binding may not fit", limit >> 10),
            "ulimit -l unlimited; LimitMEMLOCK=infinity in a systemd unit",
        ),
        Err(errno) => Finding::warning(NAME, format!("not known: {errno}"), "ulimit -l unlimited"),
    }
}

fn btf() -> Finding {
    if Functions::of_this_kernel() == Functions::Apart {
        Finding::ok("btf", "the kernel has BTF; its verifier follows the functions of the programs one by one")
    } else {
        let hint = "a kernel with CONFIG_DEBUG_INFO_BTF, if attach is to be quick and bpftool to show more";
        Finding::warning("btf", "no /sys/kernel/btf/vmlinux; the programs need none, but attach waits longer", hint)
    }
}

/// Confidentiality takes only the helpers that read kernel memory away (`LOCKDOWN_BPF_READ_KERNEL`); none is ours.
fn lockdown() -> Finding {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap_or("not shown");
    Finding::ok("lockdown", format!("{mode}; TC programs are allowed in every mode"))
}

fn unprivileged() -> Finding {
    const NAME: &str = "unprivileged-bpf";
    let hint = "sysctl -w kernel.unprivileged_bpf_disabled=2";
    match read("kernel/unprivileged_bpf_disabled").as_deref() {
        Some("0") => {
            Finding::warning(NAME, "every user may load eBPF, which more than one hole of kernels needed", hint)
        }
        Some(_) => Finding::ok(NAME, "only the privileged load eBPF"),
        None => Finding::warning(NAME, "not known: the sysctl kernel.unprivileged_bpf_disabled cannot be read", hint),
    }
}

fn jit() -> Finding {
    const NAME: &str = "jit";
    match read("net/core/bpf_jit_enable").as_deref() {
        Some("0") => {
            Finding::warning(NAME, "programs are interpreted, which is slow", "sysctl -w net.core.bpf_jit_enable=1")
        }
        Some(_) => Finding::ok(NAME, "programs are compiled"),
        None => not_shown(NAME, "bpf_jit_enable"),
    }
}

fn jit_harden() -> Finding {
    const NAME: &str = "jit-harden";
    match read("net/core/bpf_jit_harden").as_deref() {
        Some("2") => Finding::warning(
            NAME,
            "the programs of root are hardened too, which makes them slower",
            "sysctl -w net.core.bpf_jit_harden=1",
        ),
        Some(_) => Finding::ok(NAME, "the programs of root are compiled as they are"),
        None => not_shown(NAME, "bpf_jit_harden"),
    }
}

/// Frames that do not go by peer cross a veth, and wait in this queue.
fn backlog() -> Finding {
    const NAME: &str = "backlog";
    const USUAL: u32 = 1000;
    match read("net/core/netdev_max_backlog").and_then(|text| text.parse::<u32>().ok()) {
        Some(length) if length < USUAL => Finding::warning(
            NAME,
            format!("net.core.netdev_max_backlog is {length}: bursts over a veth are lost early"),
            format!("sysctl -w net.core.netdev_max_backlog={USUAL}"),
        ),
        Some(length) => Finding::ok(NAME, format!("net.core.netdev_max_backlog is {length}")),
        None => not_shown(NAME, "netdev_max_backlog"),
    }
}

fn not_shown(name: &'static str, sysctl: &str) -> Finding {
    let text = format!("not known: net.core.{sysctl} is shown in the machine's own network namespace only");
    Finding::warning(name, text, "run tapwire check there, as root")
}

fn read(sysctl: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(sysctl)).ok().map(|text| text.trim().to_owned())
}
