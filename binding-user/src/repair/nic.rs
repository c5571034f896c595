//! Another pod NIC under the name of the old one.
//!
//! The guest runs on, with the MAC and the address that it has. So the lease stays where the new NIC has its address, and
//! the guest's MAC stays in any case: if the new NIC has another, the network sees that one, by the fix-up.

use std::net::Ipv4Addr;

use super::mend::Mend;
use crate::{
    change::LeaseChange,
    error::{Error, Result},
    guest_mac::GuestMac,
    journal::{Journal, TapRecord},
    lease::{Lease, LeaseRoute, Setting},
    nic::Nic,
    plan::plan_with,
    portal::PortalRecord,
    request::AttachRequest,
};

impl Mend<'_> {
    /// Makes the record anew on the new NIC, as attach would, and keeps of the old one what the guest knows.
    pub(super) async fn adopt_nic(&mut self, nic: &Nic) -> Result<()> {
        let old = self.scene.journal;
        let kept = match old.wire.guest_mac {
            GuestMac::Nic if old.nic.mac != nic.mac => GuestMac::Fixed(old.nic.mac),
            other => other,
        };
        let request = AttachRequest { guest_mac: kept, ..old.request.clone() };
        let tap = TapRecord { mtu: self.tap_mtu_with(nic.mtu), ..old.tap.clone() };
        let environment = self.scene.environment;
        let new = plan_with(&request, old.name.clone(), self.scene.netns, environment, Some(&tap)).await?;
        let (mut new, lease) = with_lease(old, new)?;
        if let GuestMac::Fixed(_) = kept {
            new.change.guest_mac = Some(kept);
        }
        self.done.push(format!("bound the new {} (index {}, was {})", nic.name, nic.ifindex, old.nic.ifindex));
        if kept != old.wire.guest_mac {
            let said = "the new NIC has the MAC";
            self.done.push(format!("{said} {}, which the network sees; the guest keeps {}", nic.mac, old.nic.mac));
        }
        self.say_lease(old.lease.as_ref(), lease.as_ref());
        let (phase, request, clsact_made) = (old.phase, old.request.clone(), old.clsact_made.clone());
        self.new = Journal { phase, request, lease, clsact_made, ..new };
        self.keep_portal();
        self.new_device(&nic.name);
        self.work.programs = true;
        self.work.devices = true;
        Ok(())
    }

    /// The portal is the tap's, and that stays: it is taken over, or goes where the new host side is to have none.
    fn keep_portal(&mut self) {
        let Some(old) = &self.scene.journal.portal else { return };
        self.work.portal = true;
        match &mut self.new.portal {
            Some(new) => {
                (new.mac, new.ifindex) = (old.mac, old.ifindex);
                new.name.clone_from(&old.name);
            }
            None => self.new.portal = Some(PortalRecord { leaving: true, ..old.clone() }),
        }
        // The node that the old portal is in.
        self.new.node.clone_from(&self.scene.journal.node);
    }

    fn say_lease(&mut self, old: Option<&Lease>, new: Option<&Lease>) {
        let said = match (old, new) {
            (Some(old), Some(new)) if old.address == new.address => {
                format!("the guest keeps its lease of {}", new.address)
            }
            (Some(old), Some(new)) => {
                format!("the lease is {}, was {}: the guest is told when it renews", new.address, old.address)
            }
            (None, Some(new)) => format!("the guest is given the lease {}; it had none", new.address),
            (_, None) => return,
        };
        self.done.push(said);
        if let (Some(old), Some(new)) = (old, new)
            && old.mtu != new.mtu
        {
            self.done.push(format!("the guest is told the MTU {}, was told {}", new.mtu, old.mtu));
        }
    }
}

/// The record on the new NIC with what was changed of the lease since attach, and the lease that follows.
fn with_lease(old: &Journal, mut new: Journal) -> Result<(Journal, Option<Lease>)> {
    LeaseChange { guest_mac: None, ..old.change.clone() }.apply(&mut new)?;
    new.change = old.change.clone();
    let lease = match (&old.lease, &new.lease) {
        (None, lease) => lease.clone(),
        (Some(lease), None) => return Err(without_address(old, lease)),
        (Some(before), Some(now)) if before.address == now.address => {
            let Lease { mac, mtu, neighbours, .. } = now.clone();
            Some(Lease { mac, mtu, neighbours, ..before.clone() })
        }
        (Some(before), Some(now)) => Some(with_server(now, before.server_id)?),
    };
    Ok((new, lease))
}

fn without_address(old: &Journal, lease: &Lease) -> Error {
    let why = format!("it has no IPv4 address, and the guest has the lease {}", lease.address);
    Error::new(format!("bind the new {}", old.nic.name), why)
        .with_hint(format!("give it an address, then: tapwire repair {0}; or: tapwire detach {0}", old.name))
}

/// The lease with the server that the guest knows: it renews there, and shall be told there that its address is gone.
fn with_server(lease: &Lease, server: Ipv4Addr) -> Result<Lease> {
    if server == lease.address.addr() {
        return Ok(lease.clone());
    }
    let stand_in = LeaseRoute { dst: lease.server_id.into(), via: None };
    let is_needed = |route: &&LeaseRoute| **route != stand_in;
    let routes = Setting::list(lease.routes.iter().filter(is_needed).copied().collect());
    let mut lease = Lease { server_id: server, ..lease.clone() };
    lease.relocate(lease.address, &routes)?;
    Ok(lease)
}
