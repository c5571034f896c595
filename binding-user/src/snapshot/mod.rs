//! What a pod NIC had before MAC mode `swap`, how it is silenced, and how it gets everything back.
//!
//! In `swap` the guest takes over the NIC's MAC and addresses, so the NIC itself must hold neither, and must say nothing.
//! What it had is kept as the kernel's own messages, byte for byte, so that attributes survive which no crate knows.
//!
//! The snapshot goes to the journal before the first step of [`Snapshot::silence`]. From then on
//! [`Snapshot::restore`] works from any half-way state, in this process or the next.

use binding_common::MacAddr;
use serde::{Deserialize, Serialize};

pub mod normal;
mod restore;
#[cfg(test)]
mod tests;

use crate::{
    Error, Result, mac,
    netlink::{Netlink, describe, raw::RawMessage, rtm},
    netns::Netns,
    nic::Nic,
    sysctl::{self, ACCEPT_DAD, DISABLE_IPV6},
};

/// What a NIC had, and the MAC that it is given instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The NIC. Its name may change, this does not while it lives.
    pub ifindex: u32,
    /// Its name when the snapshot was taken.
    pub name: String,
    /// Its kind, as in [`Nic::kind`].
    pub kind: String,
    /// Its own MAC, which the guest gets.
    #[serde(with = "crate::mac")]
    pub mac: MacAddr,
    /// The MAC that it has while it is silent: random, locally administered.
    #[serde(with = "crate::mac")]
    pub silent_mac: MacAddr,
    /// It was up.
    pub up: bool,
    /// It did ARP (`IFF_NOARP` was not set).
    pub arp: bool,
    /// The sysctl, `None` if the kernel has no IPv6.
    pub disable_ipv6: Option<i32>,
    /// The sysctl, which restoring changes for a moment.
    pub accept_dad: Option<i32>,
    /// `RTM_NEWADDR` messages of both families, in the kernel's order.
    pub addresses: Vec<RawMessage>,
    /// `RTM_NEWROUTE` messages of both families and all tables but `local`, in the kernel's order.
    pub routes: Vec<RawMessage>,
    /// `RTM_NEWNEIGH` messages of the permanent neighbours.
    pub neighbours: Vec<RawMessage>,
}

/// The steps of [`Snapshot::silence`]. Each may be done again, and after each of them the journal restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// First, so that the kernel sends nothing from an address that is the guest's.
    DropAddresses,
    /// Or it would make itself a new link-local address as soon as it is up.
    Ipv6Off,
    /// Or it would answer for addresses that other interfaces of the pod have.
    ArpOff,
    /// Not every driver takes a new MAC while it is up.
    Down,
    /// Two on one link with one MAC is what must not be.
    Mac,
    /// A frame can only leave by a link that is up.
    Up,
}

impl Step {
    const ALL: [Self; 6] = [Self::DropAddresses, Self::Ipv6Off, Self::ArpOff, Self::Down, Self::Mac, Self::Up];
}

impl Snapshot {
    /// Reads what the NIC has, and chooses the MAC that it will get. It changes nothing.
    pub async fn take(netlink: &Netlink, netns: &Netns, ifindex: u32) -> Result<Self> {
        let what = || format!("remember what the link of index {ifindex} has");
        let nic = netlink.nic_by_index(ifindex).await?;
        let nic = nic.ok_or_else(|| Error::new(what(), "it does not exist"))?;
        let all_routes = netlink.all_routes().await?;
        if let Some(id) = unrestorable(&all_routes, ifindex) {
            let why = format!("a route uses the nexthop object {id}, which the kernel deletes when the link goes down");
            return Err(Error::new(format!("remember what {} has", nic.name), why).with_hint("--mac-mode keep"));
        }
        Ok(Self {
            ifindex,
            kind: nic.kind,
            mac: nic.mac,
            silent_mac: mac::random()?,
            up: nic.up,
            arp: nic.arp,
            disable_ipv6: sysctl::read_ipv6(netns, &nic.name, DISABLE_IPV6)?,
            accept_dad: sysctl::read_ipv6(netns, &nic.name, ACCEPT_DAD)?,
            addresses: netlink.addresses(ifindex).await?,
            routes: all_routes.into_iter().filter(|route| rtm::route_leaves_by(route, ifindex)).collect(),
            neighbours: netlink.neighbours(ifindex).await?,
            name: nic.name,
        })
    }

    /// Takes the NIC's addresses away, makes it silent, and gives it [`Self::silent_mac`]. One that is silent already is
    /// left alone; half-way, all steps are done again.
    pub async fn silence(&self, netlink: &Netlink, netns: &Netns) -> Result<()> {
        let nic = self.identify(netlink).await?;
        if self.is_silent(netlink, netns, &nic).await? {
            return Ok(());
        }
        for step in Step::ALL {
            self.step(netlink, netns, &nic, step).await?;
        }
        Ok(())
    }

    /// What is left to do for [`Self::silence`], but for setting the link up: what the NIC is or has that it should not,
    /// each in words.
    pub async fn noise(&self, netlink: &Netlink, netns: &Netns, nic: &Nic) -> Result<Vec<String>> {
        let mut noise = Vec::new();
        if nic.mac != self.silent_mac {
            noise.push(format!("has the MAC {} and not the one that it was given", nic.mac));
        }
        if nic.arp {
            noise.push("does ARP".to_owned());
        }
        if sysctl::read_ipv6(netns, &nic.name, DISABLE_IPV6)?.is_some_and(|value| value != 1) {
            noise.push("has IPv6 on".to_owned());
        }
        noise.extend(netlink.addresses(self.ifindex).await?.iter().map(|address| format!("has {}", describe(address))));
        Ok(noise)
    }

    /// Whether nothing is left to do for [`Self::silence`].
    async fn is_silent(&self, netlink: &Netlink, netns: &Netns, nic: &Nic) -> Result<bool> {
        Ok(nic.up && self.noise(netlink, netns, nic).await?.is_empty())
    }

    async fn step(&self, netlink: &Netlink, netns: &Netns, nic: &Nic, step: Step) -> Result<()> {
        match step {
            Step::DropAddresses => drop_addresses(netlink, self.ifindex).await,
            Step::Ipv6Off => sysctl::write_ipv6(netns, &nic.name, DISABLE_IPV6, 1).map(drop),
            Step::ArpOff => netlink.set_arp(self.ifindex, false).await,
            Step::Down => netlink.set_down(self.ifindex).await,
            Step::Mac => netlink.set_mac(self.ifindex, self.silent_mac).await,
            Step::Up => netlink.set_up(self.ifindex).await,
        }
    }

    /// The NIC of the snapshot, or an error when another has its number now.
    async fn identify(&self, netlink: &Netlink) -> Result<Nic> {
        let what = || format!("find {} (index {}) again", self.name, self.ifindex);
        let nic = netlink.nic_by_index(self.ifindex).await?;
        let nic = nic.ok_or_else(|| Error::new(what(), "it does not exist any more"))?;
        if nic.kind != self.kind {
            return Err(Error::new(what(), format!("there is a {} where a {} was", nic.kind, self.kind)));
        }
        Ok(nic)
    }
}

/// The nexthop object of a route that leaves by the link, or that does not tell by which link it leaves.
fn unrestorable(routes: &[RawMessage], ifindex: u32) -> Option<u32> {
    routes
        .iter()
        .filter(|route| rtm::route_leaves_by(route, ifindex) || !normal::names_a_link(route))
        .find_map(normal::nexthop_object)
}

/// Deletes every address of both families.
async fn drop_addresses(netlink: &Netlink, ifindex: u32) -> Result<()> {
    let mut errors = Vec::new();
    for address in netlink.addresses(ifindex).await? {
        errors.extend(netlink.delete(&address).await.err());
    }
    Error::join(errors)
}
