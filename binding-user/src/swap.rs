//! Gives a binding other programs, while it runs: for a changed lease, and for another build.
//!
//! New programs are loaded beside the old, with maps of their own but for those that outlive them, and then each hook is
//! given its new program in one step of the kernel's: no frame meets a hook without a program. What the kernel refuses, it
//! refuses before anything has changed. If a later step fails, the very programs that were there are put back, whichever
//! build they are of; killed half way, the next command goes on from the record.

use aya::programs::SchedClassifier;
use binding_common::MacAddr;

use crate::{
    attach::load_programs,
    binding::Environment,
    datapath::{Build, Hook, HookKind, Pins, Programs},
    error::{Error, Result},
    journal::{Journal, Phase},
    netlink::{Netlink, tc::Tc},
    netns::Netns,
    portal::Node,
};

/// For a binding that is not whole.
pub(crate) const REMEDY: &str = "attach it again as it was attached; that makes it whole";

/// Gives the hooks the programs of this build for a record, which was `old` before, and has them learn the guest's MAC
/// anew if that is asked for. `what` is being done, for an error. The caller holds the lock.
pub(crate) async fn swap(
    environment: &Environment,
    old: &Journal,
    mut new: Journal,
    learn_anew: bool,
    what: &str,
) -> Result<Journal> {
    let site = Site::find(environment, old, what).await?;
    let mut kept = site.programs_now().await?;
    take_this_build(&mut new, old, &site.pins)?;
    let mut programs = load(&site.pins, site.tap, old, &new)?;
    new.phase = Phase::Changing;
    environment.store.save(&new)?;
    // First: what the old programs take from the guest's next frame is right for the new ones, too.
    let forgotten = if learn_anew { site.pins.set_learned(&new.maps, MacAddr::ZERO) } else { Ok(()) };
    let exchanged = match forgotten {
        Ok(()) => site.exchange(&mut programs, &mut kept),
        Err(error) => Err(Failure::new(error, Ok(()))),
    };
    let done = exchanged.and_then(|()| {
        let saved = conclude(environment, &site.pins, old, &new);
        saved.map_err(|error| Failure::new(error, site.put_back(&mut kept)))
    });
    done.map_err(|failure| site.roll_back(environment, old, &new, *failure))
}

/// Notes in a record, which was `old` before, that the programs are to be those of this build, with the maps that they take.
pub(crate) fn take_this_build(new: &mut Journal, old: &Journal, pins: &Pins) -> Result<()> {
    new.programs = Some(Build::of_this_binary());
    new.maps = old.maps.for_this_build(pins)?;
    Ok(())
}

/// Loads the programs of such a record. What was learnt goes along to a map of another layout. On failure nothing has
/// changed.
pub(crate) fn load(pins: &Pins, tap: u32, old: &Journal, new: &Journal) -> Result<Programs> {
    let added = || new.maps.not_of(&old.maps);
    // Of a command that died before its record was written.
    added().try_for_each(|pin| pins.remove_map(pin))?;
    let loaded = load_programs(new, tap, pins).and_then(|programs| {
        if new.maps.learned != old.maps.learned {
            pins.set_learned(&new.maps, pins.learned(&old.maps)?.unwrap_or(MacAddr::ZERO))?;
        }
        Ok(programs)
    });
    loaded.map_err(|error| {
        let left = added().filter_map(|pin| pins.remove_map(pin).err());
        left.fold(error, |error, second| error.and(&second))
    })
}

/// Notes that all hooks have the programs of a record. What is counted nowhere any more is carried.
pub(crate) fn conclude(environment: &Environment, pins: &Pins, old: &Journal, new: &Journal) -> Result<Journal> {
    let mut whole = Journal { phase: Phase::Ready, ..new.clone() };
    whole.maps.carry(pins);
    environment.store.save(&whole)?;
    remove_maps(pins, [old, new], &whole);
    Ok(whole)
}

/// Removes the pins that a record, which is written, does not know any more.
fn remove_maps(pins: &Pins, earlier: [&Journal; 2], record: &Journal) {
    for pin in earlier.iter().flat_map(|journal| journal.maps.not_of(&record.maps)) {
        // One that stays is no harm: nothing is counted in it twice, and detach removes it.
        let _ = pins.remove_map(pin);
    }
}

/// A binding whose programs are exchanged.
struct Site {
    netns: Netns,
    /// The node's, where the binding has a portal.
    node: Option<Node>,
    tap: u32,
    pins: Pins,
    kind: HookKind,
    hooks: Vec<Hook>,
}

/// What failed, and whether the old programs are in their places again.
struct Failure {
    error: Error,
    restored: Result<()>,
}

impl Failure {
    fn new(error: Error, restored: Result<()>) -> Box<Self> {
        Box::new(Self { error, restored })
    }
}

impl Site {
    async fn find(environment: &Environment, journal: &Journal, what: &str) -> Result<Self> {
        let gone = || Error::new(what, "its namespace or its tap is gone");
        let netns = Netns::find(&journal.netns, Some(&journal.netns_path))?.ok_or_else(gone)?;
        let node = Node::of(environment, journal)?;
        let mut hooks = journal.hooks.clone();
        for hook in hooks.iter_mut().filter(|hook| hook.is_in_node()) {
            let device = match &node {
                Some(node) => node.device(journal, &netns, hook).await?,
                None => None,
            };
            let device = device.ok_or_else(|| Error::new(what, format!("{} is gone", hook.device)))?;
            hook.device = device.name;
        }
        Ok(Self {
            netns,
            node,
            hooks,
            tap: journal.tap.ifindex.ok_or_else(gone)?,
            pins: Pins::of(&environment.bpffs, &journal.name),
            kind: journal.wire.hook,
        })
    }

    /// The namespace of a hook's device.
    fn space(&self, hook: &Hook) -> &Netns {
        match &self.node {
            Some(node) if hook.is_in_node() => &node.netns,
            _ => &self.netns,
        }
    }

    /// The programs that are on the hooks, in their order.
    async fn programs_now(&self) -> Result<Vec<SchedClassifier>> {
        let netlink = Netlink::open(&self.netns)?;
        let mut programs = Vec::new();
        for hook in &self.hooks {
            let netlink = match &self.node {
                Some(node) if hook.is_in_node() => &node.netlink,
                _ => &netlink,
            };
            let tc = match netlink.nic(&hook.device).await? {
                Some(nic) if hook.is_in_node() || self.kind == HookKind::Clsact => netlink.tc(nic.ifindex).await?,
                _ => Tc::default(),
            };
            programs.push(self.space(hook).run(|| hook.current(self.kind, &self.pins, &tc))?);
        }
        Ok(programs)
    }

    /// Gives every hook its new program, or all of them their old ones.
    fn exchange(&self, programs: &mut Programs, kept: &mut [SchedClassifier]) -> Result<(), Box<Failure>> {
        for (done, hook) in self.hooks.iter().enumerate() {
            let replaced = programs.program(&hook.program).and_then(|program| self.replace(hook, program));
            if let Err(error) = replaced {
                return Err(Failure::new(error, self.put_back(&mut kept[..done])));
            }
        }
        Ok(())
    }

    fn replace(&self, hook: &Hook, program: &mut SchedClassifier) -> Result<()> {
        self.space(hook).run(|| hook.replace(self.kind, program, &self.pins))
    }

    /// Gives the first hooks the programs that they had.
    fn put_back(&self, kept: &mut [SchedClassifier]) -> Result<()> {
        let put_back = |(hook, program): (&Hook, _)| self.replace(hook, program).err();
        Error::join(self.hooks.iter().zip(kept).filter_map(put_back).collect())
    }

    /// Notes how it ended that the old programs were put back. Where that failed too, the record says that they are
    /// wanted, and the next command goes on from there: what has failed must not come about later.
    fn roll_back(&self, environment: &Environment, old: &Journal, new: &Journal, failure: Failure) -> Error {
        let Failure { error, restored } = failure;
        let mut record = Journal { maps: old.maps.with_retired(&new.maps), ..old.clone() };
        if restored.is_err() {
            record.phase = Phase::Changing;
        } else if record.phase == Phase::Ready {
            record.maps.carry(&self.pins);
        }
        let saved = environment.store.save(&record);
        let whole = restored.is_ok() && saved.is_ok();
        if whole {
            remove_maps(&self.pins, [old, new], &record);
        }
        let error =
            [restored, saved].into_iter().filter_map(Result::err).fold(error, |error, second| error.and(&second));
        if whole { error } else { error.with_hint(REMEDY) }
    }
}
