//! Namespaces for the tests of this crate: a pod and a node with a veth between them.
//!
//! Each test makes its own, under a name with the process id and a number, so that tests run side by side; they go away
//! with the guard. Without root a test says that it was skipped, and why.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    netlink::Netlink,
    netns::{NAMED_DIR, Netns, NetnsSpec},
};

static COUNTER: AtomicU32 = AtomicU32::new(0);

static LEFTOVERS: Once = Once::new();

/// The host side's name in the node's namespace.
pub(crate) const HOST_SIDE: &str = "veth0";

/// A network namespace that is deleted with the guard.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        LEFTOVERS.call_once(remove_leftovers);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("twn-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        Self { name }
    }

    /// Runs `ip` in the namespace, with the words of `command`.
    pub(crate) fn ip(&self, command: &str) -> String {
        let mut words = vec!["-n", &self.name];
        words.extend(command.split_whitespace());
        ip(&words)
    }

    /// Runs any program in the namespace.
    pub(crate) fn exec(&self, command: &str) -> String {
        let mut words = vec!["netns", "exec", &self.name];
        words.extend(command.split_whitespace());
        ip(&words)
    }

    pub(crate) fn spec(&self) -> NetnsSpec {
        NetnsSpec::Named(self.name.clone())
    }

    pub(crate) fn open(&self) -> Netns {
        Netns::open(&self.spec()).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test may have deleted it itself.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A pod with `eth0`, whose other end is in a node's namespace.
pub(crate) struct Lab {
    pub(crate) pod: Namespace,
    pub(crate) node: Namespace,
}

impl Lab {
    /// `None`, with a word on it, when this is not root.
    pub(crate) fn new() -> Option<Self> {
        Self::with_dad(false)
    }

    /// Duplicate address detection takes up to two seconds per pod; most tests do without.
    pub(crate) fn with_dad(dad: bool) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let lab = Self { pod: Namespace::new(), node: Namespace::new() };
        if !dad {
            lab.pod.exec("sysctl -qw net.ipv6.conf.default.accept_dad=0");
        }
        let peer = format!("peer name {HOST_SIDE} netns {}", lab.node.name);
        lab.pod.ip(&format!("link add eth0 address 02:00:00:00:00:10 type veth {peer}"));
        lab.node.ip(&format!("link set {HOST_SIDE} up"));
        lab.pod.ip("link set lo up");
        lab.pod.ip("link set eth0 up");
        lab.wait_for_dad();
        Some(lab)
    }

    /// Waits until every address of the pod is what it will be.
    pub(crate) fn wait_for_dad(&self) {
        wait_for(|| {
            let link = self.pod.ip("-o link show dev eth0");
            let addresses = self.pod.ip("-6 addr show dev eth0");
            let has_link_local = addresses.contains("fe80::")
                || self.pod.exec("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6").trim() == "1";
            (link.contains("state UP") && has_link_local && !addresses.contains("tentative"))
                || link.contains("state DOWN")
        });
    }

    /// Everything that `ip` can tell of the pod, but for what changes by itself.
    pub(crate) fn state(&self) -> String {
        ["-d addr", "-d link", "-d -4 route show table all", "-d -6 route show table all", "neigh show nud permanent"]
            .map(|command| format!("# ip {command}\n{}", self.pod.ip(command)))
            .concat()
    }

    pub(crate) fn netlink(&self) -> Netlink {
        Netlink::open(&self.pod.open()).unwrap()
    }
}

/// Waits for a condition, for at most ten seconds.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "the condition did not come true");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Deletes what a run that was killed left behind: namespaces with the number of a process that is no more.
fn remove_leftovers() {
    for entry in fs::read_dir(NAMED_DIR).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("twn-").and_then(|rest| rest.split('-').next()).unwrap_or_default();
        if !pid.is_empty() && !Path::new("/proc").join(pid).exists() {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {stderr}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
