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

    /// Makes the pod.
    pub fn build(self) -> Result<Pod> {
        let node = Namespace::with_prefix(&self.prefix, &format!("{}-node", self.label))?;
        let namespace = Namespace::with_prefix(&self.prefix, &format!("{}-pod", self.label))?;
        let pod =
            Pod { node, namespace, nic: self.nic.clone(), host_side: "vethpod".to_owned(), mac: self.mac.clone() };
        self.lay(&pod).with_context(|| format!("laying out pod {}", self.label))?;
        Ok(pod)
    }

    fn lay(&self, pod: &Pod) -> Result<()> {
        let (nic, host, mtu) = (pod.nic.as_str(), pod.host_side.as_str(), self.mtu.to_string());
        let peer = ["peer", "name", host, "address", HOST_MAC, "mtu", &mtu, "netns", pod.node.name()];
        let mut add = vec!["link", "add", nic, "address", &self.mac, "mtu", &mtu, "type", "veth"];
        add.extend_from_slice(&peer);
        pod.namespace.ip(&add)?;
        pod.node.ip(&["link", "set", host, "up"])?;
        pod.namespace.ip(&["link", "set", nic, "up"])?;
        // Without a `nodad` an IPv6 address is useless for two seconds.
        for address in &self.node_addresses {
            pod.node.ip(&words("addr add {} dev {dev}", address, host))?;
        }
        for address in &self.addresses {
            pod.namespace.ip(&words("addr add {} dev {dev}", address, nic))?;
        }
        for route in &self.node_routes {
            pod.node.ip(&words("route add {}", &route.replace("{dev}", host), host))?;
        }
        for route in &self.routes {
            pod.namespace.ip(&words("route add {}", route, nic))?;
        }
        if let Some(text) = &self.resolv_conf {
            pod.namespace.set_resolv_conf(text)?;
        }
        Ok(())
    }
}

/// `ip` arguments from a template: `{}` is the text and may be several words; IPv6 texts get `-6` and, as addresses, `nodad`.
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
