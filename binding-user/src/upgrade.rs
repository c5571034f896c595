//! `upgrade`: gives bindings the programs of this binary, while they run. To roll back is to run an older binary's.

use serde::Serialize;

use crate::{
    binding::{Environment, State},
    datapath::{Build, Pins},
    error::{Error, Result},
    journal::{Journal, Phase},
    swap::{REMEDY, swap},
};

/// What an upgrade did. The JSON is a contract (`docs/schema.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgrade {
    /// Version of this layout.
    version: u32,
    /// The build that is loaded now.
    programs: Build,
    /// Bindings that have it now and had another.
    upgraded: Vec<Upgraded>,
    /// Bindings that had it already.
    unchanged: Vec<String>,
    /// Bindings that have no programs any more.
    pub gone: Vec<String>,
}

/// A binding that has other programs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// Name of the binding.
    pub name: String,
    /// What it had; `null` if that is not known.
    pub from: Option<Build>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            version: 1,
            programs: Build::of_this_binary(),
            upgraded: Vec::new(),
            unchanged: Vec::new(),
            gone: Vec::new(),
        }
    }
}

impl Upgrade {
    /// The same for people.
    pub fn to_text(&self) -> String {
        let upgraded = self.upgraded.iter().map(|Upgraded { name, from }| {
            let from = from.as_ref().map_or("an unknown build".to_owned(), Build::to_string);
            format!("upgraded {name} from {from} to {}", self.programs)
        });
        let unchanged = self.unchanged.iter().map(|name| format!("{name} has {} already", self.programs));
        let lines: Vec<_> = upgraded.chain(unchanged).collect();
        if lines.is_empty() { "no binding to upgrade".to_owned() } else { lines.join("\n") }
    }

    /// Upgrades one binding more.
    async fn add(&mut self, environment: &Environment, name: &str) -> Result<()> {
        let _lock = environment.store.lock()?;
        let old = environment.store.load_existing(name)?;
        let from = old.programs.clone();
        Pins::of(&environment.bpffs, name).remove_passing()?;
        if upgrade_locked(environment, old).await? {
            self.upgraded.push(Upgraded { name: name.to_owned(), from });
        } else {
            self.unchanged.push(name.to_owned());
        }
        Ok(())
    }
}

/// Upgrades one binding.
pub async fn upgrade(environment: &Environment, name: &str) -> Result<Upgrade> {
    let mut done = Upgrade::default();
    done.add(environment, name).await?;
    Ok(done)
}

/// Upgrades every binding, one after the other, and stops at the first that cannot be upgraded: what is wrong with this
/// build shall not be wrong with all of them. Those whose namespace is gone are passed over.
pub async fn upgrade_all(environment: &Environment) -> Result<Upgrade> {
    let (journals, unreadable) = environment.store.list()?;
    let mut done = Upgrade::default();
    let mut left = journals.iter();
    while let Some(journal) = left.next() {
        let upgraded = match has_programs(environment, journal).await {
            Ok(true) => done.add(environment, &journal.name).await,
            Ok(false) => {
                done.gone.push(journal.name.clone());
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = upgraded {
            let left: Vec<_> = [journal].into_iter().chain(left).map(|journal| journal.name.as_str()).collect();
            return Err(done.stopped(&error, &left));
        }
    }
    match Error::join(unreadable) {
        Ok(()) => Ok(done),
        Err(error) => Err(done.stopped(&error, &[])),
    }
}

impl Upgrade {
    /// Says what was done and what was not, beside why.
    fn stopped(&self, error: &Error, left: &[&str]) -> Error {
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let upgraded: Vec<_> = self.upgraded.iter().map(|upgraded| upgraded.name.as_str()).collect();
        let why = format!("{error}; upgraded: {}; not upgraded: {}", list(&upgraded), list(left));
        let all = Error::new("upgrade all bindings", why);
        match error.hint() {
            Some(hint) => all.with_hint(hint),
            None => all,
        }
    }
}

async fn has_programs(environment: &Environment, journal: &Journal) -> Result<bool> {
    Ok(journal.phase != Phase::Cleared && State::of(environment, journal).await? != State::Gone)
}

/// Whether there was something to do. The caller holds the lock.
async fn upgrade_locked(environment: &Environment, old: Journal) -> Result<bool> {
    let what = format!("upgrade {}", old.name);
    let state = State::of(environment, &old).await?;
    match state {
        State::Ready if old.programs.as_ref() == Some(&Build::of_this_binary()) => return Ok(false),
        State::Ready => {}
        _ if old.phase == Phase::Changing && state != State::Gone => {}
        _ => {
            let why = format!("it is {}: {}", state.word(), state.reason());
            let hint = if state == State::Gone { format!("tapwire detach {}", old.name) } else { REMEDY.to_owned() };
            return Err(Error::new(what, why).with_hint(hint));
        }
    }
    Box::pin(swap(environment, &old, old.clone(), false, &what)).await.map(|_| true)
}
