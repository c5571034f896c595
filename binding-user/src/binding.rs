//! A binding as it is found: where its state is kept, and in which state it is.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::{
    datapath::{Bpffs, HookKind, Pins},
    error::Result,
    journal::{Journal, Phase, Store},
    netlink::Netlink,
    netns::Netns,
};

/// Where tapwire keeps what outlives its processes.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The journals.
    pub store: Store,
    /// The pins.
    pub bpffs: Bpffs,
    /// The file with the node's policy.
    pub policy: PathBuf,
}

/// The state of a binding, in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is in its place.
    Ready,
    /// Something is missing; this is what.
    Degraded(String),
    /// The namespace is gone, and with it all that the binding was.
    Gone,
}

impl State {
    /// Every word that [`Self::word`] can give.
    pub const WORDS: [&str; 3] = ["ready", "degraded", "gone"];

    /// The word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded(_) => "degraded",
            Self::Gone => "gone",
        }
    }

    /// What is missing; empty when nothing is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Degraded(reason) => reason,
            Self::Gone => "the network namespace is gone",
            Self::Ready => "",
        }
    }

    /// Looks for everything that the journal says there should be.
    /// An error is a failure to look, and says nothing of the binding.
    pub async fn of(environment: &Environment, journal: &Journal) -> Result<Self> {
        if journal.is_of_another_boot() {
            return Ok(Self::Gone);
        }
        let Some(netns) = Netns::find(&journal.netns, Some(&journal.netns_path))? else { return Ok(Self::Gone) };
        match journal.phase {
            Phase::Attaching => return Ok(Self::Degraded(format!("attach {}", under_way(environment)))),
            Phase::Changing => return Ok(Self::Degraded(format!("lease set or upgrade {}", under_way(environment)))),
            Phase::Cleared => {
                return Ok(Self::Degraded("attach failed to make it anew, and nothing of it is left".to_owned()));
            }
            Phase::Detaching => return Ok(Self::Degraded(format!("detach {}", under_way(environment)))),
            Phase::Ready => {}
        }
        Ok(missing(environment, journal, &netns).await?.map_or(Self::Ready, Self::Degraded))
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What an unfinished phase means.
fn under_way(environment: &Environment) -> &'static str {
    if environment.store.is_busy() { "is at work" } else { "was interrupted" }
}

/// The first thing that is not as it should be.
async fn missing(environment: &Environment, journal: &Journal, netns: &Netns) -> Result<Option<String>> {
    let netlink = Netlink::open(netns)?;
    for (what, name, ifindex) in
        [("pod NIC", &journal.nic.name, Some(journal.nic.ifindex)), ("tap", &journal.tap.name, journal.tap.ifindex)]
    {
        match netlink.nic(name).await? {
            None => return Ok(Some(format!("the {what} {name} is gone"))),
            Some(nic) if Some(nic.ifindex) != ifindex => {
                return Ok(Some(format!("the {what} {name} is another device than the one that was attached")));
            }
            Some(nic) if !nic.up => return Ok(Some(format!("the {what} {name} is down"))),
            Some(_) => {}
        }
    }
    let pins = Pins::of(&environment.bpffs, &journal.name);
    for hook in &journal.hooks {
        let there = match journal.wire.hook {
            HookKind::Tcx => netns.run(|| Ok(hook.is_on_tcx(&pins)))?,
            HookKind::Clsact => match netlink.nic(&hook.device).await? {
                Some(nic) => hook.is_among(&netlink.tc(nic.ifindex).await?),
                None => false,
            },
        };
        if !there {
            return Ok(Some(format!("the program {} is not attached to {}", hook.program, hook.device)));
        }
    }
    Ok((!pins.exist()).then(|| "the pins are gone".to_owned()))
}
