//! Portals as the kernel tells of them: the macvlans that tapwire makes in a node's namespace.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{netns::Namespace, pod::Pod, wait::wait_until};

/// What names of portals begin with.
const PREFIX: &str = "twp";

/// A portal, as it was a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Its name.
    pub name: String,
    /// Its index in the node's namespace.
    pub ifindex: u64,
    /// Whether it is set up.
    pub up: bool,
    /// Whether the kernel has taken notice that the tap has a reader. Before that, it drops what goes out of the portal.
    pub ready: bool,
    /// Frames that went out by it, towards the guest.
    pub sent: u64,
    /// Frames that came in by it, which should be none.
    pub received: u64,
}

/// All portals of a node.
pub fn all(node: &Namespace) -> Result<Vec<Portal>> {
    let text = node.ip(&["-s", "-j", "link", "show", "type", "macvlan"])?;
    let links: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
    // iproute2 prints an empty object for each link that it passes over.
    let portals = links.iter().filter(|link| link["ifname"].as_str().is_some_and(|name| name.starts_with(PREFIX)));
    portals.map(|link| portal(link).with_context(|| format!("a portal without something: {link}"))).collect()
}

fn portal(link: &Value) -> Option<Portal> {
    let frames = |way: &str| link["stats64"][way]["packets"].as_u64();
    Some(Portal {
        name: link["ifname"].as_str()?.to_owned(),
        ifindex: link["ifindex"].as_u64()?,
        up: link["flags"].as_array()?.iter().any(|flag| flag == "UP"),
        ready: link["operstate"] == "UP",
        sent: frames("tx")?,
        received: frames("rx")?,
    })
}

/// The one portal of a node.
pub fn only(node: &Namespace) -> Result<Portal> {
    let mut portals = all(node)?;
    ensure!(portals.len() == 1, "one portal was expected: {portals:?}");
    portals.pop().context("it was there a moment ago")
}

/// Waits until so many portals of a node are ready.
pub fn wait_until_ready(node: &Namespace, count: usize) -> Result<()> {
    let ready = || Ok(all(node)?.iter().filter(|portal| portal.ready).count() >= count);
    wait_until(&format!("{count} portals to be ready"), Duration::from_secs(10), ready)
}

/// Waits until the portal of a pod's tap is ready, if the tap has one that is set up: the kernel takes notice of its carrier a
/// moment after that of the tap, and drops what goes out of it before.
pub fn wait_for(pod: &Pod, tap: &str) -> Result<()> {
    let tap = links(&pod.namespace, &["show", "dev", tap])?[0]["ifindex"].clone();
    let host_sides = links(&pod.node, &["show"])?;
    let host_side = host_sides.iter().find(|link| link["ifname"] == pod.host_side.as_str());
    // The node's number for the pod's namespace.
    let Some(number) = host_side.map(|link| &link["link_netnsid"]).filter(|number| number.is_number()) else {
        return Ok(());
    };
    let is_of_tap = |link: &Value| link["link_index"] == tap && link["link_netnsid"] == *number;
    let waits = |link: &&Value| portal(link).is_some_and(|portal| portal.up && !portal.ready);
    wait_until("the portal to be ready", Duration::from_secs(10), || {
        let links = links(&pod.node, &["show", "type", "macvlan"])?;
        Ok(!links.iter().filter(|link| is_of_tap(link)).any(|link| waits(&link)))
    })
}

fn links(namespace: &Namespace, words: &[&str]) -> Result<Vec<Value>> {
    let text = namespace.ip(&[&["-s", "-j", "link"], words].concat())?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}

/// Frames that the pod NIC received: those that did not go by the portal.
pub fn by_veth(pod: &Pod) -> Result<u64> {
    let text = pod.namespace.ip(&["-s", "-j", "link", "show", "dev", &pod.nic])?;
    let links: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
    links[0]["stats64"]["rx"]["packets"].as_u64().with_context(|| format!("no count in {text}"))
}
