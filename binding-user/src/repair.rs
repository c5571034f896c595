//! `repair`: puts right what drifted since attach, and says what it did.
//!
//! ```text
//! faults ─▶ new record ─▶ programs loaded ─▶ journal: repairing ─▶ tap, hooks, NIC ─▶ journal: ready
//!           or refusal,    or refused         the record is of       each step looks
//!           nothing changed                   the end                at what is there
//! ```
//!
//! The record says what shall be, not what was done, so whoever is killed in between is finished by the next `repair` or
//! `attach` of the binding, or undone by `detach`. What is in its place is left alone: a binding that is whole loses no
//! frame by a repair, and neither does a direction that is.
//!
//! What is somebody else's stays: a foreign program is passed, never removed; an address that the pod NIC got in `swap`
//! is taken off, because it is the guest's or nobody's; a pod NIC is never made, and a tap only if attach had made it.

mod apply;
mod mend;
mod nic;

use serde::Serialize;

use crate::{
    attach::attach_in,
    binding::{Environment, State},
    change::LeaseChange,
    datapath::Pins,
    detach::undo,
    error::{Error, Result},
    inspect::Scene,
    journal::{Journal, Phase},
    netns::Netns,
};
use mend::Mend;

/// What a repair of one binding came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Name of the binding.
    pub name: String,
    /// The state that it has now; `null` where nothing is left of it.
    pub state: Option<State>,
    /// Why it is not ready; empty when it is.
    pub reason: String,
    /// What was done, a line each; empty when all was well.
    pub done: Vec<String>,
    /// What could not be put right.
    #[serde(skip)]
    pub failed: Vec<Error>,
}

impl Outcome {
    /// Of a binding of which nothing is left.
    fn gone(name: &str, done: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: None,
            reason: String::new(),
            done: vec![done.to_owned()],
            failed: Vec::new(),
        }
    }

    /// Of a binding that is there.
    async fn of(environment: &Environment, journal: &Journal, done: Vec<String>, mut failed: Vec<Error>) -> Self {
        let state = State::of(environment, journal).await;
        let state = state.unwrap_or_else(|error| State::Degraded(error.to_string()));
        let reason = state.reason().to_owned();
        if failed.is_empty() && state != State::Ready {
            failed.push(Error::new(format!("repair {}", journal.name), &reason));
        }
        Self { name: journal.name.clone(), state: Some(state), reason, done, failed }
    }

    /// A line for each thing.
    pub fn to_text(&self) -> String {
        let name = &self.name;
        let lines: Vec<_> = match self.done.as_slice() {
            [] if self.failed.is_empty() => vec![format!("{name}: nothing to repair")],
            [] => vec![format!("{name}: nothing was done")],
            done => done.iter().map(|done| format!("{name}: {done}")).collect(),
        };
        lines.join("\n")
    }
}

/// What `repair` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Outcomes {
    /// Version of this layout.
    pub version: u32,
    /// One for each binding.
    pub bindings: Vec<Outcome>,
}

impl Outcomes {
    /// All of it, for people.
    pub fn to_text(&self) -> String {
        match self.bindings.as_slice() {
            [] => "there are no bindings".to_owned(),
            all => all.iter().map(Outcome::to_text).collect::<Vec<_>>().join("\n"),
        }
    }

    /// Everything that could not be put right.
    pub fn failure(&self) -> Result<()> {
        Error::join(self.bindings.iter().flat_map(|outcome| outcome.failed.iter().cloned()).collect())
    }
}

/// Repairs one binding, or with `None` all that there are; then one that fails does not keep the others from it.
pub async fn repair(environment: &Environment, name: Option<&str>) -> Result<Outcomes> {
    let mut bindings = Vec::new();
    match name {
        Some(name) => bindings.push(Box::pin(repair_one(environment, name)).await?),
        None => {
            for name in environment.store.names()? {
                match Box::pin(repair_one(environment, &name)).await {
                    Ok(outcome) => bindings.push(outcome),
                    Err(error) => bindings.push(Outcome {
                        name,
                        state: Some(State::Degraded(error.to_string())),
                        reason: error.to_string(),
                        done: Vec::new(),
                        failed: vec![error],
                    }),
                }
            }
        }
    }
    Ok(Outcomes { version: 1, bindings })
}

async fn repair_one(environment: &Environment, name: &str) -> Result<Outcome> {
    // With the bpffs out of sight, all pins would seem to be gone.
    environment.bpffs.check()?;
    let _lock = environment.store.lock()?;
    let mut done = Vec::new();
    let Some(journal) = find_record(environment, name, &mut done)? else { return orphan(environment, name) };
    let restarted = journal.is_of_another_boot();
    let netns = if restarted { None } else { Netns::find(&journal.netns, Some(&journal.netns_path))? };
    let Some(netns) = netns else {
        let why = if restarted {
            "the machine was started again since: removed journal and pins"
        } else {
            "its network namespace is gone: removed journal and pins"
        };
        undo(environment, Journal { change: LeaseChange::default(), ..journal }).await?;
        return Ok(Outcome::gone(name, why));
    };
    match journal.phase {
        Phase::Detaching => {
            undo(environment, Journal { change: LeaseChange::default(), ..journal }).await?;
            Ok(Outcome::gone(name, "finished the detach that was interrupted"))
        }
        Phase::Attaching | Phase::Cleared => {
            let journal = Box::pin(attach_in(environment, &journal.request, name.to_owned(), &netns)).await?;
            done.push("attached it anew, as it was asked for".to_owned());
            Ok(Outcome::of(environment, &journal, done, Vec::new()).await)
        }
        Phase::Changing | Phase::Repairing | Phase::Ready => mend(environment, journal, &netns, done).await,
    }
}

/// The record of a binding; from its copy, where the file is lost or cannot be read.
fn find_record(environment: &Environment, name: &str, done: &mut Vec<String>) -> Result<Option<Journal>> {
    let store = &environment.store;
    let journal = match store.load(name) {
        Ok(journal) => journal,
        Err(error) => match store.load_copy(name) {
            Ok(Some(copy)) => {
                done.push(format!("wrote the journal again from its copy beside the pins ({error})"));
                store.save(&copy)?;
                return Ok(Some(copy));
            }
            _ => return Err(error),
        },
    };
    if let Some(journal) = &journal {
        if !store.has_file(name) {
            store.save(journal)?;
            done.push("wrote the journal again from its copy beside the pins".to_owned());
        } else if !store.copy_is_alike(name)? {
            store.save(journal)?;
            done.push("wrote the copy of the journal again, which was another or gone".to_owned());
        }
    }
    Ok(journal)
}

/// Pins of which no journal tells: collected when what they held is gone.
fn orphan(environment: &Environment, name: &str) -> Result<Outcome> {
    let pins = Pins::of(&environment.bpffs, name);
    if !pins.exist() {
        // For the error.
        environment.store.load_existing(name)?;
    }
    if pins.are_alive()? {
        let folder = pins.folder().display();
        return Err(Error::new(format!("repair {name}"), "there is no journal of it, and its programs are at work")
            .with_hint(format!(
                "attach it with the state folder that has its journal (TAPWIRE_STATE_DIR). If that is lost for good: `rm \
                 -r {folder}` takes programs off TCX hooks, `tc filter del dev DEVICE ingress pref 50000` in the pod's \
                 namespace those of clsact"
            )));
    }
    pins.remove()?;
    Ok(Outcome::gone(name, "removed pins that no journal tells of, and whose devices are gone"))
}

/// Works off the faults of a binding that is whole, or that a repair has begun to make whole.
async fn mend(environment: &Environment, journal: Journal, netns: &Netns, mut done: Vec<String>) -> Result<Outcome> {
    // The record is of the end, whichever command was killed on the way there.
    let resumed = journal.phase != Phase::Ready;
    if resumed {
        apply::finish_tap(&journal, netns).await?;
    }
    let scene = Scene::new(environment, &journal, netns)?;
    let faults = scene.faults().await?;
    if faults.is_empty() && !resumed {
        return Ok(Outcome::of(environment, &journal, done, Vec::new()).await);
    }
    let mut mend = Mend::new(&scene);
    mend.plan(&faults).await?;
    let Mend { new, done: planned, failed, work, .. } = mend;
    if work.is_nothing() && !resumed {
        return Ok(Outcome::of(environment, &journal, done, failed).await);
    }
    let recovered =
        apply::apply(environment, &scene, new, &work, resumed).await.map_err(|error| match error.hint() {
            Some(_) => error,
            None => error.with_hint(format!("remove the cause, then: tapwire repair {}", journal.name)),
        })?;
    done.extend(match journal.phase {
        Phase::Changing => Some("completed the lease set or upgrade that was interrupted".to_owned()),
        Phase::Repairing => Some("finished the repair that was interrupted".to_owned()),
        _ => None,
    });
    done.extend(planned);
    done.extend(recovered.said);
    Ok(Outcome::of(environment, &recovered.journal, done, failed).await)
}

/// Finishes a repair that was killed, for `attach`; `None` when the binding is not whole after it.
pub(crate) async fn finish(environment: &Environment, journal: &Journal, netns: &Netns) -> Result<Option<Journal>> {
    mend(environment, journal.clone(), netns, Vec::new()).await?;
    let whole = environment.store.load(&journal.name)?;
    match whole {
        Some(whole) if State::of(environment, &whole).await? == State::Ready => Ok(Some(whole)),
        _ => Ok(None),
    }
}
