//! A binding as it is found: where its state is kept, and in which state it is.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::{
    datapath::Bpffs,
    error::Result,
    inspect::{self, Scene},
    journal::{Journal, Phase, Store},
    netns::{Netns, NetnsSpec},
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
    /// The folder of the CNI's configuration, as the container runtime reads it.
    pub cni: PathBuf,
    /// Where the node's namespace is now, if the operator says so.
    pub node_netns: Option<NetnsSpec>,
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
            Phase::Repairing => return Ok(Self::Degraded(format!("repair {}", under_way(environment)))),
            Phase::Detaching => return Ok(Self::Degraded(format!("detach {}", under_way(environment)))),
            Phase::Ready => {}
        }
        let faults = Scene::new(environment, journal, &netns)?.faults().await?;
        Ok(if faults.is_empty() { Self::Ready } else { Self::Degraded(inspect::in_words(&faults)) })
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
