//! `attach`: makes a binding, whole or not at all.
//!
//! ```text
//! plan (refuses, changes nothing) ─▶ journal ─▶ tap ─▶ portal ─▶ programs ─▶ MAC swap ─▶ tap up ─▶ portal up ─▶ journal: ready
//!                                                 └── any failure, or the next command after a kill: undo ──▶
//! ```

use crate::{
    binding::{Environment, State},
    change::LeaseChange,
    datapath::{HookKind, Pins, Programs},
    detach::undo,
    dhcp::Replies,
    error::{Error, Result},
    journal::{Journal, Phase},
    netlink::Netlink,
    netns::Netns,
    plan::{check_not_the_machines_own, constants, plan},
    portal::{Node, ToGuest},
    queue, repair,
    request::AttachRequest,
    swap::swap,
    sysctl::{self, DISABLE_IPV6},
    tap::{self, TapSpec},
};

/// Makes the binding that `request` asks for and returns its record. Asked for a second time, it finds the binding whole
/// and changes nothing.
pub async fn attach(environment: &Environment, request: &AttachRequest) -> Result<Journal> {
    let name = request.binding_name()?;
    let netns = Netns::open(&request.netns)?;
    check_not_the_machines_own(&netns, request.force)?;
    environment.bpffs.ensure(request.mount_bpffs)?;
    let _lock = environment.store.lock()?;
    Box::pin(attach_in(environment, request, name, &netns)).await
}

/// [`attach`] in a namespace that was found. The caller holds the lock.
pub(crate) async fn attach_in(
    environment: &Environment,
    request: &AttachRequest,
    name: String,
    netns: &Netns,
) -> Result<Journal> {
    let mut change = LeaseChange::default();
    if let Some(old) = environment.store.load(&name)? {
        match Box::pin(settle(environment, old, request, netns)).await? {
            Settled::Done(done) => return Ok(*done),
            Settled::Cleared(told) => change = *told,
        }
    }
    check_not_bound(environment, request, netns)?;
    let pins = Pins::of(&environment.bpffs, &name);
    pins.check_absent()?;
    let mut journal = plan(request, name, netns, environment).await?;
    change.apply(&mut journal)?;
    environment.store.save(&journal)?;
    match carry_out(environment, &mut journal, netns, &pins).await {
        Ok(()) => Ok(journal),
        Err(error) => match undo(environment, journal).await {
            Ok(()) => Err(error),
            Err(second) => Err(error.and(&second)),
        },
    }
}

/// What became of a binding of this name that was there already.
enum Settled {
    /// It is the one that is asked for, and whole.
    Done(Box<Journal>),
    /// It was cleared away; the new one is to have the lease that the old one was changed to.
    Cleared(Box<LeaseChange>),
}

/// Settles what becomes of a binding of this name that is there already; an error when it is another's.
async fn settle(
    environment: &Environment,
    mut old: Journal,
    request: &AttachRequest,
    netns: &Netns,
) -> Result<Settled> {
    let name = &old.name;
    let state = State::of(environment, &old).await?;
    let same_place = old.netns.same(&netns.id()) && old.request.nic == request.nic;
    let same = same_place && old.request.is_same_as(request);
    match state {
        State::Gone => {}
        _ if !same_place => {
            let other = format!("it is the binding of {} in {}", old.nic.name, old.netns_path.display());
            return Err(Error::new(format!("use the name {name}"), other).with_hint("choose another with --name"));
        }
        State::Ready if same => return Ok(Settled::Done(Box::new(old))),
        State::Ready => {
            return Err(Error::new(format!("attach {name} again"), "it exists, with other options")
                .with_hint(format!("tapwire detach {name}, then attach")));
        }
        State::Degraded(_) if same && old.phase == Phase::Changing => {
            let complete = format!("complete the change of {name}");
            // If it cannot be completed, there is more amiss than a change that was interrupted.
            if let Ok(done) = Box::pin(swap(environment, &old, old.clone(), false, &complete)).await {
                return Ok(Settled::Done(Box::new(done)));
            }
        }
        State::Degraded(_) if same && old.phase == Phase::Repairing => {
            if let Ok(Some(done)) = repair::finish(environment, &old, netns).await {
                return Ok(Settled::Done(Box::new(done)));
            }
        }
        State::Degraded(_) => {}
    }
    if !same {
        old.change = LeaseChange::default();
    }
    let change = old.change.clone();
    undo(environment, old).await?;
    Ok(Settled::Cleared(Box::new(change)))
}

/// A NIC or a tap can be in one binding only.
fn check_not_bound(environment: &Environment, request: &AttachRequest, netns: &Netns) -> Result<()> {
    let (journals, unreadable) = environment.store.list_of(&netns.id())?;
    // One that cannot be read may be the NIC's.
    Error::join(unreadable)?;
    let is_here = |other: &&Journal| {
        other.netns.same(&netns.id()) && !other.is_of_another_boot() && other.phase != Phase::Cleared
    };
    for other in journals.iter().filter(is_here) {
        for device in [&request.nic, &request.tap] {
            if [&other.nic.name, &other.tap.name].contains(&device) {
                return Err(Error::new(format!("attach {device}"), format!("the binding {} has it", other.name))
                    .with_hint(format!("tapwire detach {}, or choose another device", other.name)));
            }
        }
    }
    Ok(())
}

async fn carry_out(environment: &Environment, journal: &mut Journal, netns: &Netns, pins: &Pins) -> Result<()> {
    let netlink = Netlink::open(netns)?;
    let tap = find_or_make_tap(journal, &netlink, netns).await?;
    journal.tap.ifindex = Some(tap);
    environment.store.save(journal)?;
    prepare_tap(journal, tap, &netlink, netns).await?;
    let node = make_portal(environment, journal, tap, &netlink).await?;
    let mut programs = hang_programs(journal, tap, netns, pins)?;
    if let Some(snapshot) = &journal.snapshot {
        snapshot.silence(&netlink, netns).await?;
    }
    netlink.set_up(tap).await?;
    if !journal.nic.up {
        netlink.set_up(journal.nic.ifindex).await?;
    }
    if let Some(node) = node {
        node.open(journal, netns, &mut programs).await?;
    }
    journal.phase = Phase::Ready;
    environment.store.save(journal)
}

/// Makes the tap, or takes the one that is there. Gives its index, by which it is known from now on.
pub(crate) async fn find_or_make_tap(journal: &Journal, netlink: &Netlink, netns: &Netns) -> Result<u32> {
    let record = &journal.tap;
    let Some(name) = &record.made_as else {
        return record
            .ifindex
            .ok_or_else(|| Error::new(format!("use the tap {}", record.name), "its index is unknown"));
    };
    let owner = journal.request.tap_owner;
    let spec = TapSpec {
        name: name.clone(),
        owner: owner.map(|owner| owner.uid),
        group: owner.and_then(|owner| owner.gid),
        multi_queue: record.multi_queue,
    };
    Ok(tap::create(netlink, netns, &spec).await?.nic.ifindex)
}

/// Silences the tap: nothing of the pod's stack reaches the guest; and takes its queue away. One that was made gets its settings and its name.
async fn prepare_tap(journal: &Journal, ifindex: u32, netlink: &Netlink, netns: &Netns) -> Result<()> {
    let record = &journal.tap;
    if record.made_as.is_some() {
        netlink.set_mtu(ifindex, record.mtu).await?;
        netlink.set_name(ifindex, &record.name).await?;
    }
    sysctl::write_ipv6(netns, &record.name, DISABLE_IPV6, 1)?;
    queue::take_away(record, ifindex, netlink).await?;
    netlink.set_arp(ifindex, false).await
}

/// Makes the portal that the record asks for, if it does. Where `auto` chose it and it cannot be made, the record says so,
/// and does without.
async fn make_portal(
    environment: &Environment,
    journal: &mut Journal,
    tap: u32,
    netlink: &Netlink,
) -> Result<Option<Node>> {
    let Some(node) = Node::of(environment, journal)? else { return Ok(None) };
    let Some(record) = &mut journal.portal else { return Ok(None) };
    match node.make(record, netlink, tap).await {
        Ok(ifindex) => record.ifindex = Some(ifindex),
        Err(error) if journal.request.to_guest == ToGuest::Auto => {
            node.delete_portal(record).await?;
            journal.without_portal(&error.to_string());
            journal.portal = None;
        }
        Err(error) => return Err(error),
    }
    environment.store.save(journal)?;
    Ok(journal.portal.is_some().then_some(node))
}

/// Loads the programs and puts those of the pod's namespace on their hooks.
fn hang_programs(journal: &Journal, tap: u32, netns: &Netns, pins: &Pins) -> Result<Programs> {
    pins.make()?;
    let mut programs = load_programs(journal, tap, pins)?;
    let kind: HookKind = journal.wire.hook;
    let mut in_pod = journal.hooks.iter().filter(|hook| !hook.is_in_node());
    netns.run(|| in_pod.try_for_each(|hook| hook.attach(kind, &mut programs, pins)))?;
    Ok(programs)
}

/// Loads the programs that a journal asks for.
pub(crate) fn load_programs(journal: &Journal, tap: u32, pins: &Pins) -> Result<Programs> {
    let replies = journal.lease.as_ref().map(Replies::new).transpose()?;
    Programs::load(&constants(journal, tap)?, replies.as_ref(), Some((pins, &journal.maps)))
}
