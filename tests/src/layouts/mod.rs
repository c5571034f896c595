//! The layouts that CNIs leave in a pod, as a table ([`table`]), and what there is around such a pod.
//!
//! Each row says what the CNI makes, where that can be read, what lease must follow from it, and what routes a guest must
//! have then. What the network of the row answers is built with the kernel's own means: proxy ARP where the CNI has it or
//! its programs answer for it, a bridge where there is a switch.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    netns::Namespace,
    pod::{Joint, Pod, PodBuilder},
};

pub mod table;

/// The node's own address, which is on its uplink.
pub const NODE: &str = "198.51.100.1";
/// The host beyond, one hop behind the node.
pub const BEYOND: &str = "198.51.100.2";

/// One CNI's way to lay out a pod, and what a guest in it must have.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Short, for the names of namespaces.
    pub name: &'static str,
    /// Where it was read.
    pub source: &'static str,
    /// What joins pod and node.
    pub joint: Joint,
    /// MTU of the pod NIC.
    pub mtu: u32,
    /// The pod NIC's MAC.
    pub mac: &'static str,
    /// The pod's address, as `ip addr add` takes it.
    pub address: &'static str,
    /// The one of another pod of the node.
    pub beside: &'static str,
    /// The CNI deletes the route that the kernel made to the address's prefix.
    pub without_connected: bool,
    /// The pod's other routes, as `ip route add` takes them.
    pub routes: &'static [&'static str],
    /// The pod's own neighbour entries, as `ip neigh add` takes them.
    pub neighbours: &'static [&'static str],
    /// What the host side, or the bridge, has.
    pub node_addresses: &'static [&'static str],
    /// An address that the node has elsewhere.
    pub node_loopback: Option<&'static str>,
    /// MAC of the gateway.
    pub node_mac: &'static str,
    /// The host side answers ARP for whatever is beyond the node.
    pub proxy_arp: bool,
    /// What must follow.
    pub expected: Expected,
}

/// What must follow from a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The lease's address.
    pub address: &'static str,
    /// The lease's gateway.
    pub gateway: &'static str,
    /// An address on the gateway's host that answers pings, where the gateway's own does not.
    pub behind_gateway: Option<&'static str>,
    /// The lease's MTU.
    pub mtu: u32,
    /// The lease's routes, in order, in the form of [`route`].
    pub routes: &'static [&'static str],
    /// All routes that a guest has whose client knows option 121, as `ip route` lists them, sorted.
    pub guest: &'static [&'static str],
    /// All that it has by option 3 alone.
    pub guest_by_router: &'static [&'static str],
}

impl Expected {
    /// What a guest pings to show that it reaches its gateway.
    pub fn at_gateway(&self) -> &'static str {
        self.behind_gateway.unwrap_or(self.gateway)
    }
}

/// What there is around a pod.
#[derive(Debug)]
pub struct Surroundings {
    /// Another pod of the node.
    pub beside: Namespace,
    /// A host one hop behind the node, at [`BEYOND`].
    pub beyond: Namespace,
}

impl Layout {
    /// Makes the pod.
    pub fn build(&self) -> Result<Pod> {
        self.builder(self.name, self.address).mac(self.mac).build().with_context(|| format!("layout {}", self.name))
    }

    /// Makes what is around the pod.
    pub fn surround(&self, pod: &Pod) -> Result<Surroundings> {
        let around = || -> Result<Surroundings> {
            if let Some(address) = self.node_loopback {
                pod.node.ip(&["addr", "add", address, "dev", "lo"])?;
            }
            let beyond = add_beyond(&pod.node, self.name, self.mtu)?;
            let beside = format!("{}-beside", self.name);
            let beside = self.builder(&beside, self.beside).mac("0a:58:0a:f4:01:06").build_beside(pod)?;
            Ok(Surroundings { beside, beyond })
        };
        around().with_context(|| format!("around layout {}", self.name))
    }

    fn builder(&self, label: &str, address: &str) -> PodBuilder {
        let host = host_of(address);
        // Without a switch the node knows each pod's place.
        let to_pod = if self.joint == Joint::Veth { vec![format!("{host} dev {{dev}}")] } else { Vec::new() };
        let to_pod: Vec<_> = to_pod.iter().map(String::as_str).collect();
        let own =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| text.replace("{address}", host)).collect() };
        let routes = own(self.routes);
        Pod::builder(label)
            .joint(self.joint)
            .mtu(self.mtu)
            .addresses(&[address])
            .connected(!self.without_connected)
            .routes(&routes.iter().map(String::as_str).collect::<Vec<_>>())
            .neighbours(self.neighbours)
            .node_addresses(self.node_addresses)
            .node_routes(&to_pod)
            .node_mac(self.node_mac)
            .proxy_arp(self.proxy_arp)
    }
}

/// An address without its prefix and what follows it.
pub fn host_of(address: &str) -> &str {
    address.split(['/', ' ']).next().unwrap_or(address)
}

/// A route of a lease in JSON, as a line of [`Expected::routes`].
pub fn route(route: &Value) -> String {
    let text = |key| route[key].as_str();
    let dst = text("dst").unwrap_or("?");
    text("via").map_or_else(|| format!("{dst} on the link"), |via| format!("{dst} via {via}"))
}

/// A route as `ip route` lists it, without what a client adds of its own: its protocol, source, metric and MTU.
pub fn bare(listed: &str) -> String {
    let words: Vec<_> = listed.split_whitespace().collect();
    let attribute = words.iter().position(|word| ["proto", "src", "metric", "mtu", "scope"].contains(word));
    words[..attribute.unwrap_or(words.len())].join(" ")
}

/// Puts a host behind the node, which routes from now on.
fn add_beyond(node: &Namespace, label: &str, mtu: u32) -> Result<Namespace> {
    let beyond = Namespace::new(&format!("{label}-far"))?;
    let mtu = mtu.to_string();
    let peer = ["type", "veth", "peer", "name", "eth0", "mtu", &mtu, "netns", beyond.name()];
    node.ip(&[&["link", "add", "uplink", "mtu", &mtu][..], &peer].concat())?;
    for (namespace, link, address, other) in [(node, "uplink", NODE, BEYOND), (&beyond, "eth0", BEYOND, NODE)] {
        namespace.ip(&["addr", "add", &format!("{address}/24"), "dev", link])?;
        namespace.ip(&["link", "set", link, "up"])?;
        namespace.ip(&["route", "add", "default", "via", other])?;
    }
    node.set_sysctl("net/ipv4/ip_forward", "1")?;
    Ok(beyond)
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn a_bare_route_is_destination_and_next_hop() {
        let of_dhcpcd = "default via 10.0.1.12 dev eth0 proto dhcp src 10.0.1.234 metric 1002 mtu 1450";
        assert_eq!(bare(of_dhcpcd), "default via 10.0.1.12 dev eth0");
        assert_eq!(bare("10.0.1.12 dev eth0 scope link"), "10.0.1.12 dev eth0");
    }
}
