//! A pod's network as a CNI leaves it: a node namespace and a pod namespace joined by a veth.
//!
//! The default is flannel's layout: an address out of a /24, the default route and one for the whole cluster through the
//! node's end. Other CNIs differ in exactly the things that the builder takes.

use anyhow::{Context as _, Result};

use crate::{fingerprint::fingerprint, netns::Namespace};

/// MAC of the pod NIC, unless the builder is told otherwise.
pub const POD_MAC: &str = "0a:58:0a:f4:01:05";
/// MAC of the host side.
pub const HOST_MAC: &str = "0a:58:0a:f4:01:01";
/// What a pod's resolv.conf holds in Kubernetes.
pub const RESOLV_CONF: &str = "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n\
                               options ndots:5\n";

/// How a pod NIC is joined to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// The NIC is a veth, whose host side has the node's addresses.
    Veth,
    /// The NIC is a veth, whose host side is a port of a bridge, which has the node's addresses.
    Bridge,
    /// The NIC is a macvlan. Its parent is one end of a veth (there are kernels without dummy devices); the other end
    /// has the node's addresses, and stands for the network that the parent is on.
    Macvlan,
}

/// The bridge of [`Joint::Bridge`].
const BRIDGE: &str = "cni0";
/// The parent of [`Joint::Macvlan`].
const PARENT: &str = "parent0";
/// The other end of the parent's veth.
pub const LAN: &str = "lan0";

/// Says how a [`Pod`] is to be laid out.
#[derive(Clone, Debug)]
pub struct PodBuilder {
    label: String,
    prefix: String,
    nic: String,
    mac: String,
    mtu: u32,
    addresses: Vec<String>,
    routes: Vec<String>,
    node_addresses: Vec<String>,
    node_routes: Vec<String>,
    resolv_conf: Option<String>,
    joint: Joint,
    node_mac: String,
    proxy_arp: bool,
    connected: bool,
    neighbours: Vec<String>,
}

impl PodBuilder {
    /// Another prefix of the namespaces' names than that of tests.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The pod NIC's name.
    #[must_use]
    pub fn nic(mut self, name: &str) -> Self {
        name.clone_into(&mut self.nic);
        self
    }

    /// The pod NIC's MAC.
    #[must_use]
    pub fn mac(mut self, mac: &str) -> Self {
        mac.clone_into(&mut self.mac);
        self
    }

    /// The MTU of both ends.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// The pod NIC's addresses, in place of the default, each as `ip addr add` takes it.
    #[must_use]
    pub fn addresses(mut self, addresses: &[&str]) -> Self {
        self.addresses = owned(addresses);
        self
    }

    /// The pod's routes, in place of the default, each as `ip route add` takes it (a family is seen by a colon).
    #[must_use]
    pub fn routes(mut self, routes: &[&str]) -> Self {
        self.routes = owned(routes);
        self
    }

    /// The host side's addresses, in place of the default.
    #[must_use]
    pub fn node_addresses(mut self, addresses: &[&str]) -> Self {
        self.node_addresses = owned(addresses);
        self
    }

    /// Routes on the node, for layouts where the pod's address is not on the host side's link; `{dev}` is the host side.
    #[must_use]
    pub fn node_routes(mut self, routes: &[&str]) -> Self {
        self.node_routes = owned(routes);
        self
    }

    /// The pod's resolv.conf; `None` makes no file.
    #[must_use]
    pub fn resolv_conf(mut self, text: Option<&str>) -> Self {
        self.resolv_conf = text.map(str::to_owned);
        self
    }

    /// How the pod NIC is joined to the node; a plain veth unless told otherwise.
    #[must_use]
    pub fn joint(mut self, joint: Joint) -> Self {
        self.joint = joint;
        self
    }

    /// The MAC of what has the node's addresses.
    #[must_use]
    pub fn node_mac(mut self, mac: &str) -> Self {
        mac.clone_into(&mut self.node_mac);
        self
    }

    /// The host side answers ARP for whatever the node has a route to by another link.
    #[must_use]
    pub fn proxy_arp(mut self, on: bool) -> Self {
        self.proxy_arp = on;
        self
    }

    /// Whether the pod keeps the route that the kernel made to the prefix of its address; it does unless told otherwise.
    #[must_use]
    pub fn connected(mut self, keeps: bool) -> Self {
        self.connected = keeps;
        self
    }

    /// The pod's own entries of its neighbour table, each as `ip neigh add` takes it.
    #[must_use]
    pub fn neighbours(mut self, neighbours: &[&str]) -> Self {
        self.neighbours = owned(neighbours);
        self
    }

    /// Makes the pod.
    pub fn build(self) -> Result<Pod> {
        let node = Namespace::with_prefix(&self.prefix, &format!("{}-node", self.label))?;
        let namespace = Namespace::with_prefix(&self.prefix, &format!("{}-pod", self.label))?;
        let host_side = if self.joint == Joint::Macvlan { PARENT } else { "vethpod" };
        let pod =
            Pod { node, namespace, nic: self.nic.clone(), host_side: host_side.to_owned(), mac: self.mac.clone() };
        let ends = Ends { node: &pod.node, host_side, pod: &pod.namespace };
        self.make_node(&ends)
            .and_then(|()| self.lay(&ends))
            .with_context(|| format!("laying out pod {}", self.label))?;
        Ok(pod)
    }

    /// Makes another pod on the node of one that is there and was laid out alike, and gives its namespace.
    pub fn build_beside(self, other: &Pod) -> Result<Namespace> {
        let namespace = Namespace::with_prefix(&self.prefix, &format!("{}-pod", self.label))?;
        let ends = Ends { node: &other.node, host_side: "vethbeside", pod: &namespace };
        self.lay(&ends).with_context(|| format!("laying out pod {}", self.label))?;
        Ok(namespace)
    }

    /// What all pods of the node share.
    fn make_node(&self, Ends { node, .. }: &Ends<'_>) -> Result<()> {
        let mtu = self.mtu.to_string();
        let link = match self.joint {
            Joint::Veth => return Ok(()),
            Joint::Bridge => {
                node.ip(&["link", "add", BRIDGE, "address", &self.node_mac, "type", "bridge"])?;
                BRIDGE
            }
            Joint::Macvlan => {
                let lan = ["peer", "name", LAN, "address", &self.node_mac, "mtu", &mtu];
                node.ip(&[&["link", "add", PARENT, "mtu", &mtu, "type", "veth"][..], &lan].concat())?;
                node.ip(&["link", "set", PARENT, "up"])?;
                LAN
            }
        };
        node.ip(&["link", "set", link, "up"])?;
        self.give_addresses(node, link)
    }

    fn give_addresses(&self, node: &Namespace, link: &str) -> Result<()> {
        for address in &self.node_addresses {
            node.ip(&words("addr add {} dev {dev}", address, link))?;
        }
        Ok(())
    }

    fn lay(&self, ends: &Ends<'_>) -> Result<()> {
        self.join(ends)?;
        let (nic, Ends { node, host_side, pod }) = (self.nic.as_str(), ends);
        for address in &self.addresses {
            pod.ip(&words("addr add {} dev {dev}", address, nic))?;
        }
        if !self.connected {
            pod.ip(&["-4", "route", "flush", "dev", nic, "proto", "kernel"])?;
        }
        for route in &self.node_routes {
            node.ip(&words("route add {}", &route.replace("{dev}", host_side), host_side))?;
        }
        for route in &self.routes {
            pod.ip(&words("route add {}", route, nic))?;
        }
        for neighbour in &self.neighbours {
            let words: Vec<_> = ["neigh", "add"].into_iter().chain(neighbour.split_whitespace()).collect();
            pod.ip(&[&words[..], &["dev", nic]].concat())?;
        }
        if let Some(text) = &self.resolv_conf {
            pod.set_resolv_conf(text)?;
        }
        Ok(())
    }

    /// Makes the pod NIC, and what joins it to the node.
    fn join(&self, Ends { node, host_side, pod }: &Ends<'_>) -> Result<()> {
        let (nic, mtu) = (self.nic.as_str(), self.mtu.to_string());
        let of_nic = ["address", &self.mac, "mtu", &mtu];
        if self.joint == Joint::Macvlan {
            let on_parent = ["link", "add", "link", PARENT, "name", nic, "netns", pod.name()];
            node.ip(&[&on_parent[..], &of_nic, &["type", "macvlan", "mode", "bridge"]].concat())?;
        } else {
            let peer = ["type", "veth", "peer", "name", host_side, "mtu", &mtu, "netns", node.name()];
            let node_mac: &[&str] = if self.joint == Joint::Veth { &["address", &self.node_mac] } else { &[] };
            pod.ip(&[&["link", "add", nic][..], &of_nic, &peer, node_mac].concat())?;
            if self.joint == Joint::Bridge {
                node.ip(&["link", "set", host_side, "master", BRIDGE])?;
            }
            if self.proxy_arp {
                answer_for_others(node, host_side)?;
            }
            node.ip(&["link", "set", host_side, "up"])?;
        }
        pod.ip(&["link", "set", nic, "up"])?;
        if self.joint == Joint::Veth { self.give_addresses(node, host_side) } else { Ok(()) }
    }
}

/// Between what a pod is laid out.
struct Ends<'a> {
    node: &'a Namespace,
    host_side: &'a str,
    pod: &'a Namespace,
}

/// Turns proxy ARP on, and off the delay that the kernel has for it, as CNIs do.
fn answer_for_others(node: &Namespace, link: &str) -> Result<()> {
    node.set_sysctl(&format!("net/ipv4/conf/{link}/proxy_arp"), "1")?;
    node.set_sysctl(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0")
}

/// `ip` arguments from a template: `{}` is the text and may be several words; IPv6 texts get `-6` and, as addresses,
/// `nodad`, without which they are useless for two seconds.
fn words<'a>(template: &'a str, text: &'a str, dev: &'a str) -> Vec<&'a str> {
    let six = text.contains(':');
    let mut words = if six { vec!["-6"] } else { Vec::new() };
    for word in template.split(' ') {
        match word {
            "{}" => words.extend(text.split_whitespace()),
            "{dev}" => words.push(dev),
            other => words.push(other),
        }
    }
    if six && template.starts_with("addr") && !text.contains("nodad") {
        words.push("nodad");
    }
    words
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// A node and a pod joined by a veth; dropping it removes both.
#[derive(Debug)]
pub struct Pod {
    /// The pod's namespace, with the pod NIC. First, so that it is dropped before the node's.
    pub namespace: Namespace,
    /// The node's namespace, with the host side.
    pub node: Namespace,
    /// Name of the pod NIC.
    pub nic: String,
    /// Name of the host side.
    pub host_side: String,
    /// MAC that the pod NIC came with.
    pub mac: String,
}

impl Pod {
    /// A pod in flannel's layout: 10.244.1.5/24 behind 10.244.1.1.
    pub fn new(label: &str) -> Result<Self> {
        Self::builder(label).build()
    }

    /// A builder that starts from flannel's layout.
    pub fn builder(label: &str) -> PodBuilder {
        PodBuilder {
            label: label.to_owned(),
            prefix: crate::netns::PREFIX.to_owned(),
            nic: "eth0".to_owned(),
            mac: POD_MAC.to_owned(),
            mtu: 1500,
            addresses: owned(&["10.244.1.5/24 brd 10.244.1.255"]),
            routes: owned(&["default via 10.244.1.1", "10.244.0.0/16 via 10.244.1.1"]),
            node_addresses: owned(&["10.244.1.1/24"]),
            node_routes: Vec::new(),
            resolv_conf: Some(RESOLV_CONF.to_owned()),
            joint: Joint::Veth,
            node_mac: HOST_MAC.to_owned(),
            proxy_arp: false,
            connected: true,
            neighbours: Vec::new(),
        }
    }

    /// Everything of the pod NIC that detach has to give back.
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint(&self.namespace, &self.nic)
    }

    /// The same of the host side.
    pub fn host_fingerprint(&self) -> Result<String> {
        fingerprint(&self.node, &self.host_side)
    }

    /// The pod NIC's MAC as it is now.
    pub fn nic_mac(&self) -> Result<String> {
        mac_of(&self.namespace, &self.nic)
    }

    /// Names of the links in a namespace; a test of clean detach compares them.
    pub fn links(namespace: &Namespace) -> Result<Vec<String>> {
        let text = namespace.ip(&["-br", "link"])?;
        let names = text.lines().filter_map(|line| line.split_whitespace().next());
        Ok(names.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect())
    }

    /// Makes the persistent tap that a VM manager would have made before it called us.
    pub fn add_tap(&self, tap: &str) -> Result<()> {
        self.namespace.ip(&["tuntap", "add", tap, "mode", "tap", "vnet_hdr"])?;
        self.namespace.ip(&["link", "set", tap, "up"])?;
        Ok(())
    }
}

/// MAC of a link.
pub fn mac_of(namespace: &Namespace, link: &str) -> Result<String> {
    let text = namespace.ip(&["-br", "link", "show", "dev", link])?;
    let mac = text.split_whitespace().nth(2).with_context(|| format!("no MAC in {text:?}"))?;
    Ok(mac.to_owned())
}
