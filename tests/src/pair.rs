//! Two pods of one node, each with a guest behind a binding of its own.

use anyhow::{Context as _, Result};

use crate::{
    guest::Guest,
    netns::Namespace,
    pod::{Joint, POD_MAC, Pod, PodBuilder},
    portal,
    pump::Offloads,
    tapwire::Tapwire,
};

/// Address of the first guest.
pub const FIRST: &str = "10.244.1.5";
/// Address of the second.
pub const SECOND: &str = "10.244.1.6";
/// The node's address, which is the gateway of both.
pub const NODE: &str = "10.244.1.1";
/// MAC of the second.
pub const SECOND_MAC: &str = "0a:58:0a:f4:01:06";
/// The host side of the second.
pub const SECOND_HOST_SIDE: &str = "vethbeside";

/// The pods, and the program with the bindings `a` and `b`.
#[derive(Debug)]
pub struct Pair {
    // In the order in which they must go.
    /// The guests, each with its address by hand.
    pub guests: [Guest; 2],
    /// The program.
    pub tapwire: Tapwire,
    /// The second pod.
    pub beside: Namespace,
    /// The first pod, and the node.
    pub pod: Pod,
}

impl Pair {
    /// Attaches both with options. `Joint::Bridge` puts both host sides on one bridge of the node, which has the gateway's
    /// address; `Joint::Veth` is the ptp plugin's way, where the node routes.
    pub fn new(label: &str, joint: Joint, options: &[&str]) -> Result<Self> {
        let first = builder(label, joint, FIRST).mac(POD_MAC);
        let pod = first.build()?;
        let beside = builder(&format!("{label}-beside"), joint, SECOND).mac(SECOND_MAC).build_beside(&pod)?;
        pod.node.set_sysctl("net/ipv4/ip_forward", "1")?;
        let tapwire = Tapwire::new()?;
        for (netns, name) in [(&pod.namespace, "a"), (&beside, "b")] {
            attach(&tapwire, netns, &pod.node, name, options)?;
        }
        let portals = portal::all(&pod.node)?.len();
        let guests = [
            guest(&pod.namespace, POD_MAC, FIRST, joint).context("the first guest")?,
            guest(&beside, SECOND_MAC, SECOND, joint).context("the second guest")?,
        ];
        portal::wait_until_ready(&pod.node, portals)?;
        Ok(Self { guests, tapwire, beside, pod })
    }
}

/// Attaches `tap0` of a namespace.
pub fn attach(tapwire: &Tapwire, netns: &Namespace, node: &Namespace, name: &str, options: &[&str]) -> Result<()> {
    let (netns, node) = (netns.name(), node.name());
    let line = ["attach", "--netns", netns, "--node-netns", node, "--nic", "eth0", "--tap", "tap0", "--name", name];
    tapwire.run(&[&line[..], options].concat()).map(drop)
}

/// A pod in the layout of the bridge plugin, or of the ptp plugin.
pub fn builder(label: &str, joint: Joint, address: &str) -> PodBuilder {
    let builder = Pod::builder(label).joint(joint);
    if joint != Joint::Veth {
        return builder.addresses(&[&format!("{address}/24")]).routes(&[&format!("default via {NODE}")]);
    }
    builder
        .addresses(&[&format!("{address}/24")])
        .connected(false)
        .routes(&[&format!("{NODE} dev eth0 scope link"), &format!("default via {NODE}")])
        .node_addresses(&[&format!("{NODE}/32")])
        .node_routes(&[&format!("{address}/32 dev {{dev}}")])
}

fn guest(netns: &Namespace, mac: &str, address: &str, joint: Joint) -> Result<Guest> {
    let guest = Guest::in_namespace(netns, "tap0", mac, Offloads::Virtio)?;
    if joint == Joint::Veth {
        guest.configure(&format!("{address}/32"), None)?;
        guest.namespace.ip(&["route", "add", NODE, "dev", "eth0"])?;
        guest.namespace.ip(&["route", "add", "default", "via", NODE])?;
    } else {
        guest.configure(&format!("{address}/24"), Some(NODE))?;
    }
    Ok(guest)
}
