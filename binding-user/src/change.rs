//! `lease set`: changes what the guest is told, while it runs.
//!
//! The programs and the replies that they give are one thing, and are replaced as one, by a [`swap`](mod@crate::swap): a
//! guest is answered by the old lease or by the new one, never by half of each. The program that gives it the new address is
//! the one whose guard lets that address pass.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{
    binding::{Environment, State},
    datapath::Pins,
    dhcp::Replies,
    error::{Error, Result},
    guest_mac::GuestMac,
    journal::{Journal, Phase},
    lease::{Lease, LeaseOptions, LeaseRoute, Setting},
    swap::{REMEDY, swap},
};

/// What is wanted otherwise of a lease that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseChange {
    /// What attach can be told as well.
    pub options: LeaseOptions,
    /// Another address, with its prefix.
    pub address: Option<Ipv4Net>,
    /// Other routes, in place of all that there are.
    pub routes: Setting<Vec<LeaseRoute>>,
    /// Another MAC of the guest.
    pub guest_mac: Option<GuestMac>,
}

impl LeaseChange {
    /// This change, and where it says nothing, what an older one said.
    #[must_use]
    pub fn merged_over(&self, older: &Self) -> Self {
        Self {
            options: self.options.merged_over(&older.options),
            address: self.address.or(older.address),
            routes: self.routes.merged_over(&older.routes),
            guest_mac: self.guest_mac.or(older.guest_mac),
        }
    }

    /// Changes the record of a binding, and notes there that it did. What cannot be is refused.
    pub fn apply(&self, journal: &mut Journal) -> Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        let guest_mac = self.guest_mac.unwrap_or(journal.wire.guest_mac);
        let told = Self { guest_mac: None, ..self.clone() } != Self::default();
        match &mut journal.lease {
            None if told => {
                return Err(Error::new(
                    format!("change the lease of {}", journal.name),
                    "it has none: it is a pure wire",
                )
                .with_hint("detach, then attach with --dhcp on"));
            }
            None => {}
            Some(lease) => {
                let mut before = Replies::new(lease).map(|replies| replies.warnings()).unwrap_or_default();
                before.extend(hidden_by_server(lease));
                self.apply_to(lease, journal.nic.mtu, journal.tap.mtu)?;
                lease.mac = guest_mac.expected(journal.nic.mac);
                journal.warnings.retain(|warning| !before.contains(warning));
                journal.warnings.extend(Replies::new(lease)?.warnings());
                journal.warnings.extend(hidden_by_server(lease));
            }
        }
        journal.wire.guest_mac = guest_mac;
        journal.change = self.merged_over(&journal.change);
        Ok(())
    }

    fn apply_to(&self, lease: &mut Lease, nic_mtu: u32, tap_mtu: u32) -> Result<()> {
        self.options.check_mtu(nic_mtu)?;
        if let Some(mtu) = self.options.mtu.filter(|mtu| *mtu > tap_mtu) {
            return Err(Error::new("set the guest's MTU", format!("{mtu} is over the tap's {tap_mtu}"))
                .with_hint(format!("choose --mtu {tap_mtu} or less")));
        }
        let gateway = lease.gateway;
        if self.address.is_some() || self.routes != Setting::AsIs {
            lease.relocate(self.address.unwrap_or(lease.address), &self.routes)?;
        }
        if lease.gateway != gateway && lease.neighbours.iter().any(|neighbour| neighbour.address.is_none()) {
            return Err(Error::new("change the gateway", "all ARP requests are answered with the MAC of the old one")
                .with_hint("detach, then attach with --arp-reply-all and the new gateway"));
        }
        self.options.apply(lease);
        Ok(())
    }
}

/// What is said where an address of the lease has become that of the server alone: the guest finds DHCP there, and
/// nothing else.
fn hidden_by_server(lease: &Lease) -> Option<String> {
    let servers = [&lease.dns, &lease.ntp_servers, &lease.tftp_servers];
    let is_told = servers.into_iter().flatten().any(|server| *server == lease.server_id);
    (is_told && lease.answers_for_server()).then(|| {
        format!(
            "the guest renews at {}, and so finds no other service there; detach and attach makes it free",
            lease.server_id
        )
    })
}

/// Changes the lease of a binding, and gives its new record. Killed half way, it is completed by the next `lease set`,
/// with or without a change, or by the `attach` that made the binding.
pub async fn change(environment: &Environment, name: &str, change: &LeaseChange) -> Result<Journal> {
    let _lock = environment.store.lock()?;
    let old = environment.store.load_existing(name)?;
    Pins::of(&environment.bpffs, name).remove_passing()?;
    let state = State::of(environment, &old).await?;
    if state != State::Ready && old.phase != Phase::Changing {
        return Err(Error::new(
            format!("change the lease of {name}"),
            format!("it is {}: {}", state.word(), state.reason()),
        )
        .with_hint(REMEDY));
    }
    let mut new = old.clone();
    change.apply(&mut new)?;
    let what = format!("change the lease of {name}");
    Box::pin(swap(environment, &old, new, change.guest_mac == Some(GuestMac::Learn), &what)).await
}
