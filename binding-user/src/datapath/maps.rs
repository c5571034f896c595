//! The maps that outlive a change of the programs, and what becomes of them when the new programs lay them out otherwise.
//!
//! Programs are never loaded with a map of another layout. Where the layout differs, the new programs get a new map under
//! another name. The old counters are *retired*: they stay pinned until no hook has a program that counts in them; then
//! they are read, and what they said is *carried* by the record. At any time the sum of all three is what was counted.

use aya::maps::MapType;
use binding_common::{Counters, Learned};
use serde::{Deserialize, Serialize};

use super::{
    Pins,
    raw::wait_for_programs,
    value::{One, Shape},
};
use crate::{
    counts::{Counts, Layout},
    error::{Error, Result},
};

/// The name of the pin of the counters, of the first ones at least.
pub(super) const COUNTERS: &str = "counters";
/// The same of what was learnt.
const LEARNED: &str = "learned";

/// Counters, where they are pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedCounters {
    /// Name of the pin.
    pub pin: String,
    /// How they lie.
    pub layout: Layout,
}

/// The maps of a binding that outlive its programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedMaps {
    /// Where the programs count.
    pub counters: PinnedCounters,
    /// Where programs before them counted, as long as it has not been carried.
    #[serde(default)]
    pub retired: Vec<PinnedCounters>,
    /// What was counted in maps that are no more.
    #[serde(default)]
    pub carried: Counts,
    /// Name of the pin of what was learnt of the guest.
    pub learned: String,
}

/// What a record says that was written before there were other layouts.
impl Default for PinnedMaps {
    fn default() -> Self {
        let counters = PinnedCounters { pin: COUNTERS.to_owned(), layout: Layout::unsaid() };
        Self { counters, retired: Vec::new(), carried: Counts::default(), learned: LEARNED.to_owned() }
    }
}

impl PinnedMaps {
    /// Those of a new binding.
    pub fn new() -> Self {
        let mut maps = Self::default();
        maps.counters.layout = Layout::of_this_build();
        maps
    }

    /// The same for the programs of this build: maps that they can use keep their pins, others get new ones.
    pub fn for_this_build(&self, pins: &Pins) -> Result<Self> {
        let mut maps = self.clone();
        for counters in self.all_counters() {
            counters.open(pins)?;
        }
        if self.counters.layout != Layout::of_this_build() {
            let counters = PinnedCounters { pin: self.unused(COUNTERS), layout: Layout::of_this_build() };
            maps.retired.push(std::mem::replace(&mut maps.counters, counters));
        }
        if let Some(learned) = One::open(&pins.map(&self.learned))? {
            let shape = learned.shape()?;
            if shape != Shape::of_one(MapType::Array, size_of::<Learned>()) {
                // The MAC is the first of every layout.
                if (Shape { value: 8, ..shape }) != Shape::of_one(MapType::Array, 8) || shape.value < 8 {
                    return Err(not_understood(&self.learned, pins));
                }
                maps.learned = self.unused(LEARNED);
            }
        }
        Ok(maps)
    }

    /// The pins of these maps that `others` do not use.
    pub fn not_of<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = &'a str> {
        let theirs: Vec<&str> = others.names().collect();
        self.names().filter(move |name| !theirs.contains(name))
    }

    /// The same, with the counters of `others` as retired ones: something was counted there before a change failed.
    #[must_use]
    pub fn with_retired(&self, others: &Self) -> Self {
        let mut maps = self.clone();
        if others.counters != self.counters {
            maps.retired.push(others.counters.clone());
        }
        maps
    }

    /// Carries what the retired counters say, once no hook has a program that counts there. Where it cannot be read, or
    /// not be known to be final, they stay, and are carried another time.
    pub fn carry(&mut self, pins: &Pins) {
        if self.retired.is_empty() || wait_for_programs().is_err() {
            return;
        }
        // A pin that is gone holds nothing to wait for.
        let read = |counters: &PinnedCounters| match counters.open(pins)? {
            Some(map) => Ok(counters.layout.read(&map.value()?)),
            None => Ok(Counts::default()),
        };
        let Ok(counts) = self.retired.iter().map(read).collect::<Result<Vec<_>>>() else { return };
        for counts in &counts {
            self.carried.add(counts);
        }
        self.retired.clear();
    }

    /// Everything that was counted for the binding.
    pub fn counts(&self, pins: &Pins) -> Result<Counters> {
        let mut sum = self.carried.clone();
        for counters in self.all_counters() {
            sum.add(&counters.read(pins)?);
        }
        Ok(sum.known())
    }

    fn all_counters(&self) -> impl Iterator<Item = &PinnedCounters> {
        [&self.counters].into_iter().chain(&self.retired)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.all_counters().map(|counters| counters.pin.as_str()).chain([self.learned.as_str()])
    }

    /// A name that no map of this binding has.
    fn unused(&self, kind: &str) -> String {
        // One more than there are names.
        (1..=self.names().count() + 1)
            .map(|number| format!("{kind}_{number}"))
            .find(|name| !self.names().any(|used| used == name))
            .unwrap_or_default()
    }
}

impl PinnedCounters {
    /// Opens the map, which must be as it is said to be; `None` where the pin is gone.
    fn open(&self, pins: &Pins) -> Result<Option<One>> {
        let Some(map) = One::open(&pins.map(&self.pin))? else { return Ok(None) };
        let size = self.layout.size();
        if size == 0 || map.shape()? != Shape::of_one(MapType::PerCpuArray, size) {
            return Err(not_understood(&self.pin, pins));
        }
        Ok(Some(map))
    }

    fn read(&self, pins: &Pins) -> Result<Counts> {
        let map = self
            .open(pins)?
            .ok_or_else(|| Error::new(format!("open the map {}", pins.map(&self.pin).display()), "the pin is gone"))?;
        Ok(self.layout.read(&map.value()?))
    }
}

fn not_understood(pin: &str, pins: &Pins) -> Error {
    Error::new(format!("use the map {}", pins.map(pin).display()), "it is of a layout that its record does not tell of")
        .with_hint("use the tapwire that attached the binding; or detach and attach, and the counters start anew")
}

/// The layout of the programs, as it is loaded and as it is said to be, is one.
const _: () = assert!(size_of::<Counters>().is_multiple_of(8) && size_of::<Learned>() >= 8);
