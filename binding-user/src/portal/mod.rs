//! The portal: a macvlan of the tap in the node's namespace, through which the host side reaches the guest directly.
//!
//! ```text
//!  node: host side ── TC egress: tapwire_host_out ── redirect ──▶ portal (macvlan)
//!                                                                    │ transmits on its lower device
//!  pod:  pod NIC ── TC ingress: tapwire_nic_in ── redirect ──▶ tap ◀─╯
//! ```
//!
//! It is made in the node's namespace in one request and never moved: a device that is moved keeps its index, and a program
//! that was left behind would send another VM's frames to it. It fails closed: nothing comes out of it, since its mode takes
//! no frames, the tap's program ends all of them, and its own ingress drops the rest; it has no address, no ARP, no IPv6
//! and no forwarding. Last up, first down: frames are sent to it only while it can carry them. The ordinary way, over the
//! veth, stays in place behind it.

pub(crate) mod cni;
pub(crate) mod decide;
pub(crate) mod look;
mod mend;

use std::sync::OnceLock;

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use binding_common::MacAddr;
use serde::{Deserialize, Serialize};

pub use decide::ToGuest;
pub(crate) use mend::{Settled, settle_portal, withdraw_portal};

use crate::{
    binding::Environment,
    datapath::{Hook, Programs, hook::Direction},
    error::{Error, Result},
    journal::Journal,
    mac,
    netlink::{Netlink, tc::Tc},
    netns::Netns,
    nic::Nic,
    peer::HostSide,
    sysctl::{self, DISABLE_IPV6},
};

/// The program at the host side's egress.
pub const HOST_OUT: &str = "tapwire_host_out";
/// The program at the portal's ingress.
pub const PORTAL_IN: &str = "tapwire_portal_in";
/// The least MTU of a link with IPv6 (`IPV6_MIN_MTU`).
const IPV6_MTU: u32 = 1280;
/// What every portal's name begins with, so that network managers can be told to leave them alone.
pub const PREFIX: &str = "twp";

/// The portal, and what else attach changes in the node's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalRecord {
    /// Name of the macvlan.
    pub name: String,
    /// Its MAC, random: together with the name it says that a device is ours.
    #[serde(with = "crate::mac")]
    pub mac: MacAddr,
    /// Interface index in the node's namespace, once it is known.
    pub ifindex: Option<u32>,
    /// Name of the host side.
    pub host_side: String,
    /// Its index in the node's namespace.
    pub host_ifindex: u32,
    /// The host side had no clsact qdisc before.
    pub clsact_made: bool,
    /// The kernel has `bpf_check_mtu`, by which a portal that is gone is noticed.
    pub checked: bool,
    /// It is being withdrawn: no hook is the record's any more, and what is there shall go.
    #[serde(default)]
    pub leaving: bool,
}

impl PortalRecord {
    /// For a binding of this name, to a host side that was seen.
    pub(crate) fn plan(binding: &str, host_side: &HostSide, checked: bool) -> Result<Self> {
        let HostSide::Seen { nic, hook_qdisc, .. } = host_side else {
            return Err(Error::new(format!("make a portal for {binding}"), "the host side was not found"));
        };
        Ok(Self {
            name: name_for(binding),
            mac: mac::random()?,
            ifindex: None,
            host_side: nic.name.clone(),
            host_ifindex: nic.ifindex,
            clsact_made: hook_qdisc.is_none(),
            checked,
            leaving: false,
        })
    }

    /// Its programs and their places, in the order in which they are put there.
    pub(crate) fn hooks(&self) -> [Hook; 2] {
        [
            Hook::in_node(PORTAL_IN, &self.name, Direction::Ingress),
            Hook::in_node(HOST_OUT, &self.host_side, Direction::Egress),
        ]
    }

    /// Whether a device is this portal: its index may be known to the record alone, and its name may have been changed.
    fn is(&self, found: &Nic) -> bool {
        let is_known = self.ifindex == Some(found.ifindex);
        found.kind == "macvlan" && (found.mac == self.mac && (is_known || found.name == self.name))
    }
}

/// `twp` and ten digits that are always the same for a binding of that name: FNV-1a.
fn name_for(binding: &str) -> String {
    let hash = binding
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3));
    format!("{PREFIX}{:010x}", hash & 0xff_ffff_ffff)
}

/// Whether this kernel has `bpf_check_mtu`, asked of it once.
pub fn has_check_mtu() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_check_mtu).unwrap_or(false)
    })
}

/// The node's namespace of a binding that has a portal.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) netns: Netns,
    pub(crate) netlink: Netlink,
}

impl Node {
    /// Opens it; `None` where the binding has no portal.
    pub(crate) fn of(environment: &Environment, journal: &Journal) -> Result<Option<Self>> {
        match (&journal.portal, &journal.node) {
            (Some(_), Some(node)) => {
                let netns = node.open(environment.node_netns.as_ref())?;
                Ok(Some(Self { netlink: Netlink::open(&netns)?, netns }))
            }
            _ => Ok(None),
        }
    }

    /// The portal, if it is there.
    pub(crate) async fn portal(&self, record: &PortalRecord) -> Result<Option<Nic>> {
        let named = self.netlink.nic(&record.name).await?.filter(|found| record.is(found));
        match (named, record.ifindex) {
            (None, Some(ifindex)) => Ok(self.netlink.nic_by_index(ifindex).await?.filter(|found| record.is(found))),
            (named, _) => Ok(named),
        }
    }

    /// The host side, if it still is the pod NIC's other end.
    pub(crate) async fn host_side(&self, journal: &Journal, pod: &Netns) -> Result<Option<Nic>> {
        let Some(record) = &journal.portal else { return Ok(None) };
        let found = self.netlink.nic_by_index(record.host_ifindex).await?;
        let Some(found) = found.filter(|nic| nic.kind == "veth" && nic.link == Some(journal.nic.ifindex)) else {
            return Ok(None);
        };
        let leads_to_pod = found.link_netnsid.is_some() && found.link_netnsid == self.netlink.nsid(pod).await?;
        Ok(leads_to_pod.then_some(found))
    }

    /// The device of a hook in the node's namespace, as it is called now.
    pub(crate) async fn device(&self, journal: &Journal, pod: &Netns, hook: &Hook) -> Result<Option<Nic>> {
        match &journal.portal {
            Some(record) if hook.program == PORTAL_IN => self.portal(record).await,
            Some(_) => self.host_side(journal, pod).await,
            None => Ok(None),
        }
    }

    /// Makes the portal of a tap, down. Gives its index here.
    pub(crate) async fn make(&self, record: &PortalRecord, pod: &Netlink, tap: u32) -> Result<u32> {
        let what = || format!("make the portal {}", record.name);
        if let Some(other) = self.netlink.nic(&record.name).await? {
            return Err(Error::new(what(), format!("a {} of that name is there", other.kind))
                .with_hint("a binding of the same name in another state folder has it: choose another with --name"));
        }
        pod.add_portal(&record.name, record.mac, tap, &self.netns).await?;
        let made = self.portal(record).await?;
        made.map(|nic| nic.ifindex).ok_or_else(|| Error::new(what(), "it vanished as soon as it was made"))
    }

    /// Silences the portal and sets it up. What is so already is left alone.
    pub(crate) async fn raise(&self, record: &PortalRecord, tap_mtu: u32) -> Result<()> {
        let Some(portal) = self.portal(record).await? else {
            return Err(Error::new(format!("set up the portal {}", record.name), "it is gone"));
        };
        if portal.name != record.name {
            self.netlink.set_name(portal.ifindex, &record.name).await?;
        }
        // A link gets IPv6 anew, with the settings of others, when its MTU comes to carry it.
        let gets_ipv6 = portal.mtu < IPV6_MTU && tap_mtu >= IPV6_MTU;
        if gets_ipv6 && portal.up {
            self.netlink.set_down(portal.ifindex).await?;
        }
        if portal.mtu != tap_mtu {
            self.netlink.set_mtu(portal.ifindex, tap_mtu).await?;
        }
        sysctl::write_ipv6(&self.netns, &record.name, DISABLE_IPV6, 1)?;
        sysctl::forbid_forwarding(&self.netns, &record.name)?;
        if portal.arp {
            self.netlink.set_arp(portal.ifindex, false).await?;
        }
        if gets_ipv6 || !portal.up {
            self.netlink.set_up(portal.ifindex).await?;
        }
        Ok(())
    }

    /// Puts the programs of the node's side on their hooks for a new binding, and sets the portal up in between.
    pub(crate) async fn open(&self, journal: &Journal, pod: &Netns, programs: &mut Programs) -> Result<()> {
        let Some(record) = &journal.portal else { return Ok(()) };
        for hook in record.hooks() {
            let device = self.device(journal, pod, &hook).await?;
            let device = device.ok_or_else(|| Error::new(format!("find {}", hook.device), "it is gone"))?;
            if hook.program == HOST_OUT {
                self.raise(record, journal.tap.mtu).await?;
            }
            let hook = hook.on(&device.name);
            // Left by a binding whose portal is gone.
            let stale = hook.is_among(&self.netlink.tc(device.ifindex).await?);
            self.netns.run(|| {
                if stale {
                    hook.delete_filter()?;
                }
                hook.attach_in_node(programs)
            })?;
        }
        Ok(())
    }

    /// Takes everything away that attach has changed here, whatever of it is there: first what sends frames to the portal.
    pub(crate) async fn remove(&self, journal: &Journal, pod: Option<&Netns>) -> Vec<Error> {
        let Some(record) = &journal.portal else { return Vec::new() };
        let mut errors = Vec::new();
        // Without the pod its NIC is gone, and the host side with it: another may have that index.
        let host_side = match pod {
            Some(pod) => self.host_side(journal, pod).await,
            None => Ok(None),
        };
        match host_side {
            Ok(Some(host_side)) => {
                errors.extend(self.close(record, &host_side).await.err());
                errors.extend(self.delete_portal(record).await.err());
                errors.extend(self.remove_clsact(record, &host_side).await.err());
            }
            Ok(None) => errors.extend(self.delete_portal(record).await.err()),
            Err(error) => {
                errors.push(error);
                errors.extend(self.delete_portal(record).await.err());
            }
        }
        errors
    }

    async fn close(&self, record: &PortalRecord, host_side: &Nic) -> Result<()> {
        let [_, hook] = record.hooks();
        let hook = hook.on(&host_side.name);
        if hook.is_among(&self.netlink.tc(host_side.ifindex).await?) {
            return self.netns.run(|| hook.delete_filter());
        }
        Ok(())
    }

    pub(crate) async fn delete_portal(&self, record: &PortalRecord) -> Result<()> {
        match self.portal(record).await? {
            Some(portal) => self.netlink.delete_link(portal.ifindex).await,
            None => Ok(()),
        }
    }

    /// Removes the clsact qdisc that attach made, unless somebody else has come to use it.
    async fn remove_clsact(&self, record: &PortalRecord, host_side: &Nic) -> Result<()> {
        let tc = self.netlink.tc(host_side.ifindex).await?;
        if record.clsact_made && tc.hook_qdisc.as_deref() == Some("clsact") && !tc.has_filters() {
            return self.netlink.delete_clsact(host_side.ifindex).await;
        }
        Ok(())
    }

    /// Traffic control of a device and whether the hook's program is on it.
    pub(crate) async fn is_in_place(&self, hook: &Hook, device: &Nic) -> Result<bool> {
        Ok(hook.on(&device.name).is_among(&self.netlink.tc(device.ifindex).await?))
    }

    /// What traffic control a device has.
    pub(crate) async fn tc(&self, device: &Nic) -> Result<Tc> {
        self.netlink.tc(device.ifindex).await
    }
}

impl Journal {
    /// Changes the record so that frames to the guest go by redirect, for a reason.
    pub(crate) fn without_portal(&mut self, why: &str) {
        self.wire.to_guest = ToGuest::Redirect;
        why.clone_into(&mut self.wire.to_guest_why);
        self.hooks.retain(|hook| !hook.is_in_node());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_device_can_have_and_differs_by_binding() {
        for name in ["a", &"x".repeat(63), "pod-1.eth0"] {
            let portal = name_for(name);
            assert!(portal.len() <= 15 && portal.starts_with("twp"), "{portal}");
            assert_eq!(portal, name_for(name));
        }
        assert_ne!(name_for("a-eth0"), name_for("b-eth0"));
    }
}
