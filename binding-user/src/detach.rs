//! `detach`: undoes a binding, from whatever state it is in.
//!
//! Every step looks at what is there and collects its error instead of stopping: what can be given back is given back.
//! The journal goes last, and stays if anything could not be undone, so that detach can be tried again. Devices are found
//! by their index: a name may have come to another device.

use crate::{
    binding::Environment,
    change::LeaseChange,
    datapath::{HookKind, Pins, hook},
    error::{Error, Result},
    journal::{Journal, Phase},
    netlink::Netlink,
    netns::Netns,
    nic::Nic,
    portal::Node,
    queue,
    sysctl::{self, DISABLE_IPV6},
};

/// Removes the binding and gives the pod NIC back what it had.
pub async fn detach(environment: &Environment, name: &str) -> Result<()> {
    let _lock = environment.store.lock()?;
    let mut journal = environment.store.load_existing(name)?;
    journal.change = LeaseChange::default();
    undo(environment, journal).await
}

/// Undoes what a journal records, whole or half done. The caller holds the lock. The record goes, unless it tells of a
/// changed lease: then it stays, for the binding that is made in its place.
pub(crate) async fn undo(environment: &Environment, mut journal: Journal) -> Result<()> {
    let pins = Pins::of(&environment.bpffs, &journal.name);
    let mut errors = Vec::new();
    // A record of what is gone already says nothing of what is there now.
    let scene = if journal.phase == Phase::Cleared { None } else { Scene::find(&journal).await? };
    if scene.is_none() && journal.phase != Phase::Cleared && !journal.is_of_another_boot() {
        // The portal went with the tap, unless somebody has taken that elsewhere.
        if let Ok(Some(node)) = Node::of(environment, &journal) {
            errors.extend(node.remove(&journal, None).await);
        }
    }
    if let Some(scene) = scene {
        if journal.wire.hook == HookKind::Tcx {
            // With the bpffs out of sight, removing the pins would seem to be done, and the programs would stay.
            environment.bpffs.check()?;
        }
        journal.phase = Phase::Detaching;
        // Only a note for others: a full disk must not keep the NIC from what it had, nor the record from going.
        let _ = environment.store.save(&journal);
        errors.extend(scene.close_portal(environment, &journal).await);
        errors.extend(scene.undo(&journal, &pins).await);
    }
    errors.extend(pins.remove().err());
    if errors.is_empty() {
        let done = if journal.change == LeaseChange::default() {
            environment.store.remove(&journal.name)
        } else {
            journal.phase = Phase::Cleared;
            environment.store.save(&journal)
        };
        errors.extend(done.err());
    }
    Error::join(errors).map_err(|error| match error.hint() {
        Some(_) => error,
        None => error.with_hint(format!("remove the cause, then: tapwire detach {}", journal.name)),
    })
}

/// Where a binding is undone: its namespace, and its devices as they are now.
struct Scene {
    netns: Netns,
    netlink: Netlink,
    nic: Option<Nic>,
    tap: Option<Nic>,
}

impl Scene {
    /// `None` when the namespace is gone.
    async fn find(journal: &Journal) -> Result<Option<Self>> {
        if journal.is_of_another_boot() {
            return Ok(None);
        }
        let Some(netns) = Netns::find(&journal.netns, Some(&journal.netns_path))? else { return Ok(None) };
        let netlink = Netlink::open(&netns)?;
        let nic = netlink.nic_by_index(journal.nic.ifindex).await?;
        let silent = journal.snapshot.as_ref().map(|snapshot| snapshot.silent_mac);
        let is_ours =
            |nic: &Nic| nic.kind == journal.nic.kind && (nic.mac == journal.nic.mac || Some(nic.mac) == silent);
        // Without a cookie (before 5.14) a new namespace may pass for one that is gone: it got the same inode number.
        if journal.netns.cookie.is_none() && !nic.as_ref().is_some_and(is_ours) {
            return Ok(None);
        }
        let tap = match journal.tap.ifindex {
            Some(ifindex) => netlink.nic_by_index(ifindex).await?.filter(|tap| tap.kind == "tun"),
            None => match &journal.tap.made_as {
                Some(name) => netlink.nic(name).await?,
                None => None,
            },
        };
        Ok(Some(Self { netns, netlink, nic, tap }))
    }

    /// Takes away what attach made in the node's namespace, before anything else. If that is gone, the pod NIC went with it,
    /// and there is nothing to take away.
    async fn close_portal(&self, environment: &Environment, journal: &Journal) -> Vec<Error> {
        match Node::of(environment, journal) {
            Ok(None) => Vec::new(),
            Ok(Some(node)) => node.remove(journal, Some(&self.netns)).await,
            Err(_) if self.nic.is_none() => Vec::new(),
            Err(error) => vec![error],
        }
    }

    /// Undoes everything in the pod that can be undone, and gives what could not.
    async fn undo(&self, journal: &Journal, pins: &Pins) -> Vec<Error> {
        let mut errors = Vec::new();
        for hook in journal.hooks.iter().filter(|hook| !hook.is_in_node()) {
            if journal.wire.hook == HookKind::Tcx {
                errors.extend(hook.unpin(pins).err());
            } else if let Some(device) = self.device(journal, &hook.device) {
                errors.extend(self.delete_filter(hook, device).await.err());
            }
        }
        errors.extend(self.remove_clsact(journal).await.err());
        errors.extend(self.release_tap(journal).await.err());
        errors.extend(self.restore_nic(journal).await.err());
        errors
    }

    /// The device that had this name at attach.
    fn device(&self, journal: &Journal, name: &str) -> Option<&Nic> {
        if name == journal.nic.name { self.nic.as_ref() } else { self.tap.as_ref() }
    }

    async fn delete_filter(&self, hook: &hook::Hook, device: &Nic) -> Result<()> {
        let hook = hook::Hook { device: device.name.clone(), ..hook.clone() };
        if hook.is_among(&self.netlink.tc(device.ifindex).await?) {
            return self.netns.run(|| hook.delete_filter());
        }
        Ok(())
    }

    /// Removes the clsact qdiscs that attach made, unless somebody else has come to use them.
    async fn remove_clsact(&self, journal: &Journal) -> Result<()> {
        for name in &journal.clsact_made {
            let Some(device) = self.device(journal, name) else { continue };
            let tc = self.netlink.tc(device.ifindex).await?;
            if tc.hook_qdisc.as_deref() == Some("clsact") && !tc.has_filters() {
                self.netlink.delete_clsact(device.ifindex).await?;
            }
        }
        Ok(())
    }

    /// Deletes the tap that attach made, or gives an older one its settings back.
    async fn release_tap(&self, journal: &Journal) -> Result<()> {
        let Some(tap) = &self.tap else { return Ok(()) };
        let Some(before) = journal.tap.before else {
            return self.netlink.delete_link(tap.ifindex).await;
        };
        // While it is up: the kernel gives a link its own queue when it goes up, or at once.
        queue::give_back(&journal.tap, tap.ifindex, &self.netlink).await?;
        if !before.up {
            self.netlink.set_down(tap.ifindex).await?;
        }
        self.netlink.set_arp(tap.ifindex, before.arp).await?;
        if let Some(mtu) = before.mtu {
            self.netlink.set_mtu(tap.ifindex, mtu).await?;
        }
        match before.disable_ipv6 {
            Some(value) => sysctl::write_ipv6(&self.netns, &tap.name, DISABLE_IPV6, value).map(drop),
            None => Ok(()),
        }
    }

    async fn restore_nic(&self, journal: &Journal) -> Result<()> {
        let Some(nic) = &self.nic else { return Ok(()) };
        match &journal.snapshot {
            Some(snapshot) => snapshot.restore(&self.netlink, &self.netns).await,
            None if !journal.nic.up && nic.up => self.netlink.set_down(nic.ifindex).await,
            None => Ok(()),
        }
    }
}
