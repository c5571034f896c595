//! The common case: a pod, tapwire attached to it, and a guest behind a pump that knows of the network only what it is
//! told.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{guest::Guest, netns::Namespace, pod::Pod, portal, pump::Offloads, tapwire::Tapwire, wait::wait_until};

/// Name of the one binding of a scene.
pub const BINDING: &str = "b";

/// A guest that is joined to a pod's NIC.
#[derive(Debug)]
pub struct Scene {
    // In the order in which they must go: the pump holds the tap, the binding is in the pod's namespace.
    /// The guest.
    pub guest: Guest,
    /// The program, with its one binding.
    pub tapwire: Tapwire,
    /// The pod.
    pub pod: Pod,
}

impl Scene {
    /// Attaches with options and starts the guest. A binary of its own lets [`Tapwire::processes`] tell it from others.
    pub fn new(pod: Pod, options: &[&str], offloads: Offloads) -> Result<Self> {
        let mac = pod.mac.clone();
        Self::with_mac(pod, options, offloads, &mac)
    }

    /// [`new`](Self::new) for a guest whose MAC is not the pod's.
    pub fn with_mac(pod: Pod, options: &[&str], offloads: Offloads, mac: &str) -> Result<Self> {
        let tapwire = Tapwire::private()?;
        tapwire.attach(&pod, BINDING, options)?;
        let guest = Guest::with_offloads(&pod, "tap0", mac, offloads)?;
        Ok(Self { guest, tapwire, pod })
    }

    /// Detaches and attaches anew. The pod must have had its tap before, or detach takes it away from the guest.
    pub fn reattach(&self, change: impl FnOnce(&Pod) -> Result<()>, options: &[&str]) -> Result<()> {
        self.tapwire.run(&["detach", BINDING])?;
        change(&self.pod)?;
        self.tapwire.attach(&self.pod, BINDING, options)?;
        let pod = &self.pod.namespace;
        wait_until("carrier on tap0", Duration::from_secs(5), || {
            Ok(pod.ip(&["-br", "link", "show", "dev", "tap0"])?.contains("LOWER_UP"))
        })?;
        portal::wait_for(&self.pod, "tap0")
    }

    /// A counter of the binding.
    pub fn counter(&self, path: &[&str]) -> Result<u64> {
        self.tapwire.counter(BINDING, path)
    }

    /// A counter of DHCP messages.
    pub fn dhcp(&self, message: &str) -> Result<u64> {
        self.counter(&["dhcp", message])
    }

    /// Frames that were dropped for a reason.
    pub fn dropped(&self, reason: &str) -> Result<u64> {
        self.counter(&["dropped", reason])
    }

    /// Fails if any namespace has seen a wrong checksum.
    pub fn no_checksum_error(&self) -> Result<()> {
        for namespace in [&self.guest.namespace, &self.pod.node, &self.pod.namespace] {
            for (protocol, count) in checksum_errors(namespace)? {
                ensure!(count == 0, "{count} checksum errors of {protocol} in {}", namespace.name());
            }
        }
        Ok(())
    }
}

/// Pings until an answer comes back, and then twice more.
pub fn ping(from: &Namespace, to: &str) -> Result<()> {
    from.exec(&["busybox", "ping", "-c", "3", "-i", "0.1", "-W", "5", to]).map(drop)
}

/// `InCsumErrors` of a namespace, by protocol (Ip counts none on some kernels).
pub fn checksum_errors(namespace: &Namespace) -> Result<Vec<(String, u64)>> {
    // Read by a thread in the namespace: /proc/net is a link to the *process*'s namespace, thread-self is not.
    let text = namespace.run(|| {
        let path = "/proc/thread-self/net/snmp";
        std::fs::read_to_string(path).with_context(|| format!("reading {path} as {:?}", thread::current().id()))
    })?;
    let mut all = Vec::new();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for pair in lines.chunks_exact(2) {
        if let Some(at) = pair[0].iter().position(|name| *name == "InCsumErrors") {
            all.push((pair[0][0].trim_end_matches(':').to_owned(), pair[1][at].parse()?));
        }
    }
    ensure!(!all.is_empty(), "no checksum counters in {text}");
    Ok(all)
}
