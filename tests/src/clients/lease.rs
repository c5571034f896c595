//! What a guest has of its lease: what its client was told, and what became of it on the NIC.

use std::{collections::BTreeMap, net::Ipv4Addr, str::FromStr, time::Duration};

use anyhow::{Context as _, Result};

use super::jail::Jail;
use crate::{netns::Namespace, wait::wait_for};

/// What a client tells of itself: that it was answered, mostly.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// In the client's words.
    pub(super) reason: String,
    /// Whether the event confirms a lease.
    pub(super) is_lease: bool,
    /// What it knows of its lease then.
    pub(super) told: BTreeMap<String, String>,
}

/// A lease as the guest sees it.
#[derive(Clone, Debug, Default)]
pub struct LeaseSeen {
    /// The event that brought it, in the client's word.
    pub reason: String,
    /// Address on the NIC.
    pub address: Option<Ipv4Addr>,
    /// Prefix length of that address on the NIC.
    pub prefix: u8,
    /// First router that the client was told (option 3).
    pub router: Option<Ipv4Addr>,
    /// The guest's IPv4 routes, as `ip route` lists them, sorted.
    pub routes: Vec<String>,
    /// Name servers in the guest's resolv.conf, else those that the client was told.
    pub dns: Vec<Ipv4Addr>,
    /// Domain that the client was told (option 15).
    pub domain: Option<String>,
    /// Search list that the client was told (option 119), else in the guest's resolv.conf.
    pub search: Vec<String>,
    /// MTU that the client was told (option 26).
    pub mtu: Option<u32>,
    /// MTU of the NIC.
    pub link_mtu: u32,
    /// Server identifier (option 54).
    pub server_id: Option<Ipv4Addr>,
    /// Lease time (option 51).
    pub lease_seconds: Option<u32>,
    /// Host name that the client was told (option 12).
    pub hostname: Option<String>,
    /// Classless static routes (option 121), in the client's notation.
    pub classless: Option<String>,
    /// The guest's resolv.conf.
    pub resolv_conf: String,
    /// All that the client tells, in its own words.
    pub told: BTreeMap<String, String>,
}

impl LeaseSeen {
    /// Whether the lease's address is on the NIC: clients tell of a lease before they have applied it.
    pub(super) fn is_on(&mut self, namespace: &Namespace, nic: &str) -> Result<bool> {
        let text = namespace.ip(&["-4", "-br", "addr", "show", "dev", nic])?;
        let found = text.split_whitespace().filter_map(split_prefix).find(|&(seen, _)| Some(seen) == self.address);
        self.prefix = found.map_or(0, |(_, prefix)| prefix);
        Ok(found.is_some())
    }

    /// Adds what else the client made of the lease.
    pub(super) fn look(&mut self, namespace: &Namespace, nic: &str, jail: &Jail) -> Result<()> {
        self.link_mtu = link_mtu(namespace, nic)?;
        self.resolv_conf = jail.resolv_conf()?;
        let applied: Vec<_> = in_resolv_conf(&self.resolv_conf, "nameserver").filter_map(parsed).collect();
        if !applied.is_empty() {
            self.dns = applied;
        }
        if self.search.is_empty() {
            self.search = in_resolv_conf(&self.resolv_conf, "search").map(str::to_owned).collect();
        }
        let routes = || -> Result<Vec<String>> {
            let mut routes: Vec<_> =
                namespace.ip(&["-4", "route"])?.lines().map(|line| line.trim().to_owned()).collect();
            routes.sort_unstable();
            Ok(routes)
        };
        let (router, classless) = (self.router.is_some(), self.classless.is_some());
        // The connected route is the kernel's; without a router those of option 121 are all on the link.
        let of_lease = |route: &String| if router { route.contains("via") } else { !route.contains("proto kernel") };
        self.routes = if router || classless {
            wait_for("the lease's routes", Duration::from_secs(5), || {
                Ok(Some(routes()?).filter(|routes| routes.iter().any(of_lease)))
            })?
        } else {
            routes()?
        };
        Ok(())
    }
}

fn split_prefix(word: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = word.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

fn link_mtu(namespace: &Namespace, nic: &str) -> Result<u32> {
    let text = namespace.ip(&["link", "show", "dev", nic])?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
    Ok(words.nth(1).context("no MTU shown")?.parse()?)
}

fn in_resolv_conf<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().filter_map(move |line| line.strip_prefix(key));
    lines.flat_map(str::split_whitespace)
}

fn parsed<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

/// The first word of a variable, as whatever type is wanted; nothing where it is missing or something else.
pub(super) fn first<T: FromStr>(told: &BTreeMap<String, String>, key: &str) -> Option<T> {
    told.get(key)?.split_whitespace().next()?.parse().ok()
}

/// The lines `key=value` of a text, without quotes around values.
pub(super) fn assignments(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

/// All words of a variable.
pub(super) fn all(told: &BTreeMap<String, String>, key: &str) -> Vec<String> {
    told.get(key).map(|text| text.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}
