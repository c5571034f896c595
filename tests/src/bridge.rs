//! The binding that tapwire is compared with: a kernel bridge and a DHCP server in user space, as `KubeVirt` sets them
//! up for its bridge binding.
//!
//! One step is left out: `KubeVirt` renames the pod NIC and puts a dummy link of the old name, with the pod's
//! addresses, in its place. It is there for the pod's other processes and carries no frame of the VM.

use anyhow::Result;

use crate::{
    dnsmasq::{Dnsmasq, DnsmasqConfig},
    pod::Pod,
};

/// The bridge's name, as `KubeVirt` has it.
pub const BRIDGE: &str = "k6t-eth0";
/// The address that `KubeVirt` puts on the bridge for the DHCP server to speak from.
pub const FAKE_ADDRESS: &str = "169.254.75.10/32";
/// MAC that the pod NIC is given while the guest has its own.
const SWAPPED_MAC: &str = "02:74:77:00:00:01";

/// A pod NIC and a tap as ports of one bridge; [`teardown`](Self::teardown) gives the pod back what it had.
#[derive(Debug)]
pub struct BridgeBinding {
    tap: String,
    addresses: Vec<String>,
    routes: Vec<(bool, String)>,
    /// The DHCP server, if the binding was made with one.
    pub dhcp: Option<Dnsmasq>,
}

impl BridgeBinding {
    /// Joins the pod NIC to a tap, which is made, without any DHCP server.
    pub fn wire_only(pod: &Pod, tap: &str) -> Result<Self> {
        let (namespace, nic) = (&pod.namespace, pod.nic.as_str());
        let binding = Self { tap: tap.to_owned(), addresses: addresses(pod)?, routes: routes(pod)?, dhcp: None };
        namespace.ip(&["addr", "flush", "dev", nic])?;
        namespace.ip(&["link", "set", nic, "down"])?;
        namespace.ip(&["link", "set", nic, "address", SWAPPED_MAC])?;
        namespace.ip(&["link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0"])?;
        namespace.ip(&["link", "set", nic, "master", BRIDGE])?;
        namespace.ip(&["link", "set", nic, "type", "bridge_slave", "learning", "off"])?;
        namespace.ip(&["tuntap", "add", tap, "mode", "tap", "vnet_hdr"])?;
        namespace.ip(&["link", "set", tap, "master", BRIDGE])?;
        namespace.ip(&["addr", "add", FAKE_ADDRESS, "dev", BRIDGE])?;
        for link in [nic, tap, BRIDGE] {
            namespace.ip(&["link", "set", link, "up"])?;
        }
        Ok(binding)
    }

    /// The whole of it: [`wire_only`](Self::wire_only), and a DHCP server on the bridge with the default pod's lease.
    pub fn with_dhcp(pod: &Pod, tap: &str) -> Result<Self> {
        let config = DnsmasqConfig { on_link: false, ..DnsmasqConfig::for_default_pod(BRIDGE, &pod.mac) };
        let mut binding = Self::wire_only(pod, tap)?;
        binding.dhcp = Some(Dnsmasq::start(&pod.namespace, &config)?);
        Ok(binding)
    }

    /// Removes bridge, tap and server, and gives the pod NIC its MAC, addresses and routes again.
    pub fn teardown(self, pod: &Pod) -> Result<()> {
        let Self { tap, addresses, routes, dhcp } = self;
        drop(dhcp);
        let (namespace, nic) = (&pod.namespace, pod.nic.as_str());
        namespace.ip(&["link", "del", BRIDGE])?;
        namespace.ip(&["link", "del", &tap])?;
        namespace.ip(&["link", "set", nic, "down"])?;
        namespace.ip(&["link", "set", nic, "address", &pod.mac])?;
        namespace.ip(&["link", "set", nic, "up"])?;
        for address in &addresses {
            let mut line = vec!["addr", "replace"];
            line.extend(address.split_whitespace());
            line.extend(["dev", nic]);
            namespace.ip(&line)?;
        }
        for (six, route) in &routes {
            let mut line = vec![if *six { "-6" } else { "-4" }, "route", "replace"];
            line.extend(route.split_whitespace());
            line.extend(["dev", nic]);
            namespace.ip(&line)?;
        }
        Ok(())
    }
}

/// As `ip addr add` takes them again: everything up to the scope, the broadcast address included.
fn addresses(pod: &Pod) -> Result<Vec<String>> {
    let text = pod.namespace.ip(&["-o", "addr", "show", "dev", &pod.nic, "scope", "global"])?;
    let words =
        |line: &str| line.split_whitespace().skip(3).take_while(|word| *word != "scope").collect::<Vec<_>>().join(" ");
    Ok(text.lines().map(words).collect())
}

/// Routes that somebody set, in the order that lets each find its gateway: those without one first.
fn routes(pod: &Pod) -> Result<Vec<(bool, String)>> {
    let mut all = Vec::new();
    for (six, flag) in [(false, "-4"), (true, "-6")] {
        let text = pod.namespace.ip(&[flag, "route", "show", "dev", &pod.nic])?;
        let lines = text.lines().filter(|line| !line.contains("proto kernel"));
        all.extend(lines.map(|line| (six, line.trim().to_owned())));
    }
    all.sort_by_key(|(_, route)| route.contains("via"));
    Ok(all)
}
