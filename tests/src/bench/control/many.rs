//! A node with many bindings: what the thousandth attach costs beside the first.
//!
//! The pods are laid out here and not by the lab's builder, which makes each with two dozen processes; one `ip -batch` does it.

use std::{io::Write as _, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::attach::timed;
use crate::{cmd, netns::Namespace, tapwire::Tapwire};

/// A node and its pods. They go with this, which takes a while.
#[derive(Debug)]
pub(super) struct Node {
    // Detaches before the pods go.
    tapwire: Tapwire,
    pods: Vec<Namespace>,
    place: Namespace,
}

impl Node {
    pub(super) fn new() -> Result<Self> {
        let place = Namespace::new("many-node")?;
        place.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        Ok(Self { tapwire: Tapwire::new()?, pods: Vec::new(), place })
    }

    /// Makes one more pod, attaches in it, and gives how long the attach took.
    pub(super) fn add(&mut self) -> Result<Duration> {
        let number = self.pods.len();
        let pod = Namespace::new("many")?;
        pod.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        let subnet = format!("10.{}.{}", 100 + number / 250, number % 250);
        let (node, host) = (self.place.name(), format!("host{number}"));
        let of_pod = format!(
            "link add eth0 type veth peer name {host} netns {node}\nlink set eth0 up\naddr add {subnet}.5/24 dev eth0\n\
             route add default via {subnet}.1\ntuntap add tap0 mode tap vnet_hdr\nlink set tap0 up\n"
        );
        batch(&pod, &of_pod)?;
        batch(&self.place, &format!("link set {host} up\naddr add {subnet}.1/24 dev {host}\n"))?;
        let name = format!("b{number}");
        let place = ["attach", "--netns", pod.name(), "--node-netns", node, "--nic", "eth0", "--tap", "tap0"];
        let time = timed(&self.tapwire, &[&place[..], &["--name", &name]].concat());
        self.pods.push(pod);
        time.with_context(|| format!("binding {}", number + 1))
    }
}

/// Runs lines of `ip` in a namespace.
fn batch(namespace: &Namespace, lines: &str) -> Result<()> {
    let mut command = cmd::command(&["ip", "-n", namespace.name(), "-batch", "-"])?;
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("running ip")?;
    child.stdin.take().context("ip has no input")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ip: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(())
}
