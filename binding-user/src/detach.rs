//! `detach`: undoes a binding, from whatever state it is in.
//!
//! Every step looks at what is there and collects its error instead of stopping: what can be given back is given back.
//! The journal goes last, and stays if the pod NIC could not be restored, so that detach can be tried again.

use crate::{
    binding::Environment,
    datapath::{Hook, HookKind, Pins},
    error::{Error, Result},
    journal::{Journal, Phase},
    netlink::Netlink,
    netns::Netns,
    sysctl::{self, DISABLE_IPV6},
};

/// Removes the binding and gives the pod NIC back what it had.
pub async fn detach(environment: &Environment, name: &str) -> Result<()> {
    let _lock = environment.store.lock()?;
    let journal = environment.store.load_existing(name)?;
    undo(environment, journal).await
}

/// Undoes what a journal records, whole or half done. The caller holds the lock.
pub(crate) async fn undo(environment: &Environment, mut journal: Journal) -> Result<()> {
    let pins = Pins::of(&environment.bpffs, &journal.name);
    let mut errors = Vec::new();
    if let Some(netns) = find_netns(&journal)? {
        journal.phase = Phase::Detaching;
        environment.store.save(&journal)?;
        undo_in(&journal, &netns, &pins, &mut errors).await;
    }
    errors.extend(pins.remove().err());
    if errors.is_empty() {
        errors.extend(environment.store.remove(&journal.name).err());
    }
    Error::join(errors).map_err(|error| match error.hint() {
        Some(_) => error,
        None => error.with_hint(format!("tapwire detach {} tries again", journal.name)),
    })
}

/// The pod's namespace, if it is still there.
fn find_netns(journal: &Journal) -> Result<Option<Netns>> {
    if journal.is_of_another_boot() {
        return Ok(None);
    }
    Netns::find(&journal.netns, Some(&journal.netns_path))
}

async fn undo_in(journal: &Journal, netns: &Netns, pins: &Pins, errors: &mut Vec<Error>) {
    let netlink = match Netlink::open(netns) {
        Ok(netlink) => netlink,
        Err(error) => return errors.push(error),
    };
    for hook in &journal.hooks {
        errors.extend(take_off(hook, journal.wire.hook, &netlink, netns, pins).await.err());
    }
    errors.extend(remove_clsact(journal, &netlink).await.err());
    errors.extend(release_tap(journal, &netlink, netns).await.err());
    errors.extend(restore_nic(journal, &netlink, netns).await.err());
}

/// Takes a program off its hook, if it is there.
async fn take_off(hook: &Hook, kind: HookKind, netlink: &Netlink, netns: &Netns, pins: &Pins) -> Result<()> {
    if kind == HookKind::Tcx {
        return hook.unpin(pins);
    }
    match netlink.nic(&hook.device).await? {
        Some(nic) if hook.is_among(&netlink.tc(nic.ifindex).await?) => netns.run(|| hook.delete_filter()),
        _ => Ok(()),
    }
}

/// Removes the clsact qdiscs that attach made, unless somebody else has come to use them.
async fn remove_clsact(journal: &Journal, netlink: &Netlink) -> Result<()> {
    if journal.wire.hook != HookKind::Clsact {
        return Ok(());
    }
    for device in &journal.clsact_made {
        let Some(nic) = netlink.nic(device).await? else { continue };
        let tc = netlink.tc(nic.ifindex).await?;
        if tc.hook_qdisc.as_deref() == Some("clsact") && !tc.has_filters() {
            netlink.delete_clsact(nic.ifindex).await?;
        }
    }
    Ok(())
}

/// Deletes the tap that attach made, or gives an older one its settings back. One that somebody made anew in its place is
/// theirs.
async fn release_tap(journal: &Journal, netlink: &Netlink, netns: &Netns) -> Result<()> {
    let record = &journal.tap;
    let Some(nic) = netlink.nic(&record.name).await? else { return Ok(()) };
    if nic.kind != "tun" || record.ifindex.is_some_and(|ifindex| ifindex != nic.ifindex) {
        return Ok(());
    }
    let Some(before) = record.before else {
        return netlink.delete_link(nic.ifindex).await;
    };
    if !before.up {
        netlink.set_down(nic.ifindex).await?;
    }
    netlink.set_arp(nic.ifindex, before.arp).await?;
    match before.disable_ipv6 {
        Some(value) => sysctl::write_ipv6(netns, &record.name, DISABLE_IPV6, value).map(drop),
        None => Ok(()),
    }
}

async fn restore_nic(journal: &Journal, netlink: &Netlink, netns: &Netns) -> Result<()> {
    let Some(nic) = netlink.nic_by_index(journal.nic.ifindex).await? else { return Ok(()) };
    match &journal.snapshot {
        Some(snapshot) => snapshot.restore(netlink, netns).await,
        None if !journal.nic.up && nic.up => netlink.set_down(nic.ifindex).await,
        None => Ok(()),
    }
}
