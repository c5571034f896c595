//! The lease: everything that the guest is told.
//!
//! It follows the routing table of the pod, not the prefix length. Half of all CNIs give the NIC a prefix and no
//! connected route for it (ptp, Azure, GKE) or a /32 with a gateway outside (Calico, Cilium, AWS): a guest that believed
//! the prefix would ask for its neighbours by ARP, and nobody would answer. There the guest gets a /32 and learns each
//! route by option 121 (RFC 3442), the way to the gateway included.

pub mod file;
pub mod options;
mod route;
pub mod values;

use std::net::{IpAddr, Ipv4Addr};

use binding_common::{MacAddr, dhcp::LINK_LOCAL_SERVER};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

pub use options::{LeaseOptions, Setting};
pub use route::LeaseRoute;

use crate::{
    error::{Error, Result},
    facts::{Facts, Route, RouteKind, Scope},
    neighbours::{self, LeaseNeighbour},
};

/// Seconds that a lease is valid unless `--lease-time` says otherwise.
pub const DEFAULT_SECONDS: u32 = 86_400;

/// A lease that never ends (RFC 2131, 3.3).
pub const INFINITE_SECONDS: u32 = u32::MAX;

/// More routes than fit into any reply: told in a line, and at once.
const MAX_ROUTES: usize = 512;

/// Everything that the guest is told. This is also what `show` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The guest's MAC.
    #[serde(with = "crate::mac")]
    pub mac: MacAddr,
    /// The address with the prefix that the guest shall use.
    pub address: Ipv4Net,
    /// Next hop of the default route, if there is one.
    pub gateway: Option<Ipv4Addr>,
    /// Routes in the order in which the guest is told of them: on-link ones first, the default route last.
    pub routes: Vec<LeaseRoute>,
    /// DNS servers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// Search domains (option 119).
    pub search: Vec<String>,
    /// MTU of the link in octets (option 26).
    pub mtu: u32,
    /// Host name (option 12).
    pub hostname: Option<String>,
    /// What the ARP responder answers for the guest, beside a server identifier that is nobody's address.
    #[serde(default)]
    pub neighbours: Vec<LeaseNeighbour>,
    /// Server identifier (option 54).
    pub server_id: Ipv4Addr,
    /// Lease time (option 51); [`INFINITE_SECONDS`] never ends.
    pub seconds: u32,
    /// NTP servers (option 42).
    #[serde(default)]
    pub ntp_servers: Vec<Ipv4Addr>,
    /// Name or address of the TFTP server (option 66; an address also in `siaddr`).
    #[serde(default)]
    pub tftp_server_name: Option<String>,
    /// Name of the file to boot (option 67, and the field `file`).
    #[serde(default)]
    pub boot_file_name: Option<String>,
    /// Addresses of TFTP servers (option 150, RFC 5859).
    #[serde(default)]
    pub tftp_servers: Vec<Ipv4Addr>,
    /// Options of this site (224 to 254).
    #[serde(default)]
    pub private_options: Vec<PrivateOption>,
}

/// An option of this site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateOption {
    /// Its code, 224 to 254.
    pub option: u8,
    /// Its value, sent as it is.
    pub value: String,
}

impl Lease {
    /// The lease that follows from the facts; `None` when the NIC has no IPv4 address.
    pub fn from_facts(facts: &Facts, options: &LeaseOptions) -> Result<Option<Self>> {
        let Some(address) = global_addresses(facts).next() else { return Ok(None) };
        options.check_mtu(facts.nic.mtu)?;
        if let Some(why) = &facts.lost_default {
            return Err(without_network(&facts.nic.name, why));
        }
        let connected = LeaseRoute { dst: address.trunc(), via: None };
        // The guest has one address, so the networks of the others are not on its link.
        let others: Vec<_> = global_addresses(facts)
            .map(|other| LeaseRoute { dst: other.trunc(), via: None })
            .filter(|route| *route != connected)
            .collect();
        let routes = facts.routes.iter().filter_map(ipv4_unicast);
        let routes: Vec<_> = routes.filter(|route| !others.contains(route)).collect();
        if routes.len() > MAX_ROUTES {
            let why = format!("the pod has {} IPv4 routes, and no DHCP reply has room for them", routes.len());
            return Err(Error::new(format!("make a lease from {}", facts.nic.name), why)
                .with_hint("have the CNI give the pod a default route in their place; or attach with --dhcp off"));
        }
        let on_link = routes.contains(&connected);
        let gateway = routes.iter().find(|route| route.dst.prefix_len() == 0).and_then(|route| route.via);
        let server_id = gateway.unwrap_or(LINK_LOCAL_SERVER.into());

        let mut lease = Self {
            mac: facts.nic.mac,
            address: if on_link { address } else { host(address.addr()) },
            gateway,
            routes: Vec::new(),
            dns: facts.resolv.nameservers.clone(),
            search: facts.resolv.search.clone(),
            mtu: mtu(facts),
            hostname: None,
            neighbours: neighbours::permanent(facts, address.addr()),
            server_id,
            seconds: DEFAULT_SECONDS,
            ntp_servers: Vec::new(),
            tftp_server_name: None,
            boot_file_name: None,
            tftp_servers: Vec::new(),
            private_options: Vec::new(),
        };
        lease.routes = lease.order_routes(&routes, connected);
        options.apply(&mut lease);
        Ok(Some(lease))
    }

    /// Gives the lease another address, and other routes if any are given.
    ///
    /// The server identifier stays, also where the gateway changes: a client renews at the server that it knows, and
    /// shall be answered.
    pub fn relocate(&mut self, address: Ipv4Net, routes: &Setting<Vec<LeaseRoute>>) -> Result<()> {
        let stand_in = self.answers_for_server().then_some(LeaseRoute { dst: host(self.server_id), via: None });
        let old = self.routes.iter().filter(|route| Some(**route) != stand_in).copied().collect();
        let routes = match routes {
            Setting::AsIs => old,
            Setting::Cleared => Vec::new(),
            Setting::Given(routes) => routes.clone(),
        };
        let mut defaults = routes.iter().filter(|route| route.dst.prefix_len() == 0);
        self.gateway = defaults.next().and_then(|route| route.via);
        if defaults.next().is_some() {
            return Err(Error::new("set the routes", "there are two default routes").with_hint("give the guest one"));
        }
        let is_taken = |other: Ipv4Addr| other == address.addr();
        if is_taken(self.server_id) || routes.iter().filter_map(|route| route.via).any(is_taken) {
            let why = "it is that of a gateway, or of the server that the guest renews at";
            return Err(Error::new(format!("give the guest the address {}", address.addr()), why)
                .with_hint("choose another address, or another gateway"));
        }
        self.address = address;
        self.neighbours.retain(|neighbour| neighbour.address != Some(address.addr()));
        self.routes = self.order_routes(&routes, LeaseRoute { dst: address.trunc(), via: None });
        Ok(())
    }

    /// Whether the server identifier is nobody's address, so that the ARP responder must answer for it.
    pub fn answers_for_server(&self) -> bool {
        let on_link = self.address.prefix_len() < 32 && self.address.contains(&self.server_id);
        self.gateway != Some(self.server_id) && !on_link
    }

    /// Whether the routes say more than "the gateway, which is on the link": only then is option 121 needed.
    pub fn needs_classless_routes(&self) -> bool {
        let plain = self.gateway.map(|via| LeaseRoute { dst: Ipv4Net::default(), via: Some(via) });
        !self.routes.iter().eq(plain.as_ref())
    }

    /// Every next hop must be on the link before a route by it is told: clients apply the list in its order.
    fn order_routes(&self, routes: &[LeaseRoute], connected: LeaseRoute) -> Vec<LeaseRoute> {
        let mut ordered: Vec<LeaseRoute> = Vec::new();
        let mut tell = |route: LeaseRoute| {
            if route != connected && !ordered.contains(&route) {
                ordered.push(route);
            }
        };
        let reachable = |hop: Ipv4Addr| self.address.contains(&hop);
        for route in routes.iter().filter(|route| route.via.is_none()) {
            tell(*route);
        }
        let hops = routes.iter().filter_map(|route| route.via);
        let server = self.answers_for_server().then_some(self.server_id);
        for hop in hops.chain(server).filter(|hop| !reachable(*hop)) {
            let covered = routes.iter().any(|route| route.via.is_none() && route.dst.contains(&hop));
            if !covered {
                tell(LeaseRoute { dst: host(hop), via: None });
            }
        }
        let (default, others): (Vec<LeaseRoute>, Vec<LeaseRoute>) =
            routes.iter().filter(|route| route.via.is_some()).partition(|route| route.dst.prefix_len() == 0);
        for route in others.into_iter().chain(default.into_iter().take(1)) {
            tell(route);
        }
        ordered
    }
}

/// The addresses that a lease can be made of; the first one is taken.
fn global_addresses(facts: &Facts) -> impl Iterator<Item = Ipv4Net> {
    facts.addresses.iter().filter_map(|address| match address.address {
        IpNet::V4(net) if address.scope == Scope::Global => Some(net),
        _ => None,
    })
}

/// What of the facts the lease cannot say, each as one line for the operator.
pub fn warnings(facts: &Facts, lease: &Lease) -> Vec<String> {
    let others = global_addresses(facts).skip(1);
    let mut warnings: Vec<_> = others.map(|other| format!("the guest is not given the address {other}")).collect();
    warnings.extend(facts.routes.iter().flat_map(|route| beyond_dhcp(route, lease)));
    warnings.extend(neighbours::warning(facts, lease.address.addr()));
    warnings
}

/// Why there is no lease where DHCP cannot say the pod's only default route.
fn without_network(nic: &str, why: &str) -> Error {
    Error::new(format!("make a lease from {nic}"), format!("{why}, and DHCP cannot say that")).with_hint(
        "give the pod a default route by one next hop in the table main; or attach with --dhcp off, and configure the \
         guest by hand",
    )
}

/// What of a route that the guest is told of it is not told.
fn beyond_dhcp(route: &Route, lease: &Lease) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_told = ipv4_unicast(route).is_some_and(|route| lease.routes.contains(&route));
    if let Some(IpAddr::V4(source)) = route.prefsrc
        && is_told
        && source != lease.address.addr()
    {
        warnings.push(format!("the pod sends to {} as {source}, which is not the guest's address", route.dst));
    }
    if let Some(mtu) = route.mtu.filter(|mtu| is_told && *mtu < lease.mtu) {
        let told = lease.mtu;
        warnings.push(format!("the route to {} has the MTU {mtu}; the guest is told {told} for all routes", route.dst));
    }
    warnings
}

/// A single address as a prefix.
fn host(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::from(address)
}

/// What DHCP can say of a route: its destination and its next hop.
fn ipv4_unicast(route: &Route) -> Option<LeaseRoute> {
    let IpNet::V4(dst) = route.dst else { return None };
    let via = match route.via {
        None => None,
        Some(IpAddr::V4(via)) => Some(via),
        Some(IpAddr::V6(_)) => return None,
    };
    (route.kind == RouteKind::Unicast).then_some(LeaseRoute { dst, via })
}

/// The NIC's MTU, or that of the default route where it is smaller: DHCP knows no MTU of a route.
fn mtu(facts: &Facts) -> u32 {
    let nic = facts.nic.mtu;
    let default = Ipv4Net::default();
    let route = facts.routes.iter().filter(|route| route.dst == IpNet::V4(default)).filter_map(|route| route.mtu).min();
    route.map_or(nic, |mtu| mtu.min(nic))
}

#[cfg(test)]
pub(crate) mod tests;
