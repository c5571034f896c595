//! Does what was planned. Each step looks at what is there, so that it can be done again from any half-way state.

use super::mend::Work;
use crate::{
    attach::find_or_make_tap,
    binding::Environment,
    datapath::{HookKind, Programs},
    error::{Error, Result},
    inspect::Scene,
    journal::{Journal, Phase},
    netlink::Netlink,
    netns::Netns,
    plan::without_clsact,
    portal::{Node, Settled, settle_portal, withdraw_portal},
    queue, swap,
    sysctl::{self, DISABLE_IPV6},
};

/// What came of it.
pub(super) struct Applied {
    pub(super) journal: Journal,
    /// What only showed on the way, a line each.
    pub(super) said: Vec<String>,
}

/// Makes the binding as the record `new` says. `all`: whatever is not known to be done.
pub(super) async fn apply(
    environment: &Environment,
    scene: &Scene<'_>,
    mut new: Journal,
    work: &Work,
    all: bool,
) -> Result<Applied> {
    let Scene { netlink, netns, pins, .. } = scene;
    let (programs, devices) = (work.programs || all, work.devices || all);
    pins.make()?;
    let said = if programs { find_maps(scene).await? } else { Vec::new() };
    // What the kernel refuses, it refuses here, where nothing has been changed.
    if programs {
        swap::take_this_build(&mut new, scene.journal, pins)?;
    }
    let has_portal = new.portal.as_ref().is_none_or(|portal| portal.leaving || portal.ifindex.is_some());
    let mut loaded = match new.tap.ifindex {
        Some(tap) if programs && has_portal => Some(swap::load(pins, tap, scene.journal, &new)?),
        _ => None,
    };
    new.clsact_made.retain(|device| !work.new_devices.contains(device));
    new.phase = Phase::Repairing;
    environment.store.save(&new)?;
    let made = new.tap.ifindex.is_none();
    if made {
        new.tap.ifindex = Some(find_or_make_tap(&new, netlink, netns).await?);
        environment.store.save(&new)?;
    }
    if devices || made {
        settle_tap(&new, netlink, netns).await?;
    }
    let node = match settle_portal(environment, scene, &mut new).await? {
        Settled::Made(node) => {
            loaded = None;
            Some(node)
        }
        Settled::There(node) => node,
    };
    if programs {
        let mut programs = match (loaded.take(), new.tap.ifindex) {
            (None, Some(tap)) => swap::load(pins, tap, scene.journal, &new)?,
            (Some(loaded), _) => loaded,
            (None, None) => return Err(Error::new(format!("repair {}", new.name), "its tap is gone")),
        };
        put(environment, scene, &mut new, &mut programs, node.as_ref()).await?;
    } else if let (Some(node), Some(record)) = (&node, new.portal.as_ref().filter(|portal| !portal.leaving)) {
        node.raise(record, new.tap.mtu).await?;
    }
    if devices || made {
        settle_nic(&new, netlink, netns).await?;
        set_up(&new, netlink).await?;
    }
    pins.remove_other_links(&new.hooks)?;
    withdraw_portal(environment, scene, &mut new).await?;
    let journal = swap::conclude(environment, pins, scene.journal, &new)?;
    Ok(Applied { journal, said })
}

/// Pins the maps again that lost their pins, as long as a program holds them, and says what is lost.
async fn find_maps(scene: &Scene<'_>) -> Result<Vec<String>> {
    let lost = scene.pins.missing(&scene.journal.maps);
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    for hook in scene.journal.hooks.iter().filter(|hook| !hook.is_in_node()) {
        let Some(device) = scene.netlink.nic(&hook.device).await? else { continue };
        let tc = scene.netlink.tc(device.ifindex).await?;
        if let Some(place) = scene.find(hook, &tc)? {
            scene.pins.recover(&scene.journal.maps, place.program)?;
        }
    }
    find_maps_of_portal(scene).await?;
    let still = scene.pins.missing(&scene.journal.maps);
    let tell = |name: &&str| match (still.contains(name), *name) {
        (false, name) => format!("pinned the map {name} again: nothing of it is lost"),
        (true, "COUNTERS") => "the counters begin at zero: the pins that held them are gone".to_owned(),
        (true, name) => format!("the map {name} is new: the pins that held it are gone"),
    };
    Ok(lost.iter().map(tell).collect())
}

/// The same, by the program at the host side: its filter holds the maps, whatever became of the pins. A node's namespace that
/// cannot be seen has been told of.
async fn find_maps_of_portal(scene: &Scene<'_>) -> Result<()> {
    let Ok(Some(node)) = Node::of(scene.environment, scene.journal) else { return Ok(()) };
    for hook in scene.journal.hooks.iter().filter(|hook| hook.is_in_node()) {
        let Some(device) = node.device(scene.journal, scene.netns, hook).await? else { continue };
        let (hook, tc) = (hook.on(&device.name), node.tc(&device).await?);
        if let Some(place) = node.netns.run(|| hook.find(scene.journal.wire.hook, &scene.pins, &tc))? {
            scene.pins.recover(&scene.journal.maps, place.program)?;
        }
    }
    Ok(())
}

/// Gives all hooks these programs.
async fn put(
    environment: &Environment,
    scene: &Scene<'_>,
    new: &mut Journal,
    programs: &mut Programs,
    node: Option<&Node>,
) -> Result<()> {
    let kind = new.wire.hook;
    if kind == HookKind::Clsact {
        let lacking = without_clsact(&scene.netlink, &new.nic, &new.tap, kind).await?;
        let added: Vec<_> = lacking.into_iter().filter(|device| !new.clsact_made.contains(device)).collect();
        if !added.is_empty() {
            new.clsact_made.extend(added);
            environment.store.save(new)?;
        }
    }
    for hook in new.hooks.iter().filter(|hook| !hook.is_in_node()) {
        let device = scene.netlink.nic(&hook.device).await?;
        let device = device.ok_or_else(|| Error::new(format!("find {}", hook.device), "it is gone"))?;
        let tc = scene.netlink.tc(device.ifindex).await?;
        let place = scene.find(hook, &tc)?;
        scene.netns.run(|| hook.put(kind, programs, &scene.pins, place.as_ref(), &new.foreign))?;
    }
    match node {
        Some(node) => node.put(new, scene, programs).await,
        None => Ok(()),
    }
}

/// Name, MTU, queue and silence of the tap.
async fn settle_tap(journal: &Journal, netlink: &Netlink, netns: &Netns) -> Result<()> {
    let record = &journal.tap;
    let found = match record.ifindex {
        Some(ifindex) => netlink.nic_by_index(ifindex).await?,
        None => None,
    };
    // One that is gone, and that cannot be made here, was told of already.
    let Some(found) = found else { return Ok(()) };
    if found.mtu != record.mtu {
        netlink.set_mtu(found.ifindex, record.mtu).await?;
    }
    if found.name != record.name {
        netlink.set_name(found.ifindex, &record.name).await?;
    }
    sysctl::write_ipv6(netns, &record.name, DISABLE_IPV6, 1)?;
    queue::take_away(record, found.ifindex, netlink).await?;
    netlink.set_arp(found.ifindex, false).await
}

/// Silence of the pod NIC, or in `keep` its MAC.
async fn settle_nic(journal: &Journal, netlink: &Netlink, netns: &Netns) -> Result<()> {
    if let Some(snapshot) = &journal.snapshot {
        return snapshot.silence(netlink, netns).await;
    }
    let nic = &journal.nic;
    match netlink.nic_by_index(nic.ifindex).await? {
        Some(found) if found.mac != nic.mac => netlink.set_mac(nic.ifindex, nic.mac).await,
        _ => Ok(()),
    }
}

async fn set_up(journal: &Journal, netlink: &Netlink) -> Result<()> {
    for ifindex in [Some(journal.nic.ifindex), journal.tap.ifindex].into_iter().flatten() {
        if netlink.nic_by_index(ifindex).await?.is_some_and(|nic| !nic.up) {
            netlink.set_up(ifindex).await?;
        }
    }
    Ok(())
}

/// After a repair that was killed while it made the tap: one that has its index gets its name, and one that is known by
/// its random name alone goes, since it is made again.
pub(super) async fn finish_tap(journal: &Journal, netns: &Netns) -> Result<()> {
    let record = &journal.tap;
    let Some(made_as) = &record.made_as else { return Ok(()) };
    let netlink = Netlink::open(netns)?;
    let Some(found) = netlink.nic(made_as).await? else { return Ok(()) };
    if record.ifindex != Some(found.ifindex) {
        return netlink.delete_link(found.ifindex).await;
    }
    settle_tap(journal, &netlink, netns).await
}
