//! One run of the benchmark: what is measured, on which paths, how far it is, and what came out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    MEASURES,
    path::{Joined, Kind},
    report,
    sample::{Direction, Machine, Missing, PathFacts, Run, Sample},
};
use crate::{netns, tapwire::Tapwire};

/// Layout of the JSON.
const VERSION: u32 = 1;

/// One thing that can be measured.
#[derive(Debug)]
pub struct Measure {
    /// As `--only` takes it.
    pub name: &'static str,
    /// In a few words, for the progress bar.
    pub about: &'static str,
    /// Whether a quick run has it unless it is asked for.
    pub in_quick: bool,
    /// About how long it takes with this many paths, quick or not: the progress bar's share, which the measure works off
    /// by [`Session::worked`].
    pub takes: fn(&Session) -> Duration,
    /// Measures.
    pub run: fn(&mut Session) -> Result<()>,
    /// What came out, as text for a terminal.
    pub table: fn(&Run) -> String,
}

/// What a run is to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Fewer rounds: three minutes in all.
    pub quick: bool,
    /// Only these measures and paths, by name; all of them if none is named.
    pub only: Vec<String>,
}

/// A run that is going on.
#[derive(Debug)]
pub struct Session {
    quick: bool,
    kinds: Vec<Kind>,
    missing: Vec<Missing>,
    facts: BTreeMap<Kind, String>,
    samples: Vec<Sample>,
    bar: ProgressBar,
}

impl Session {
    /// Fewer rounds than a comparison should have.
    pub fn quick(&self) -> bool {
        self.quick
    }

    /// The paths that are compared, in the order of a table.
    pub fn kinds(&self) -> Vec<Kind> {
        self.kinds.clone()
    }

    /// How often everything is measured, in turn.
    pub fn rounds(&self, full: u32) -> u32 {
        if self.quick { full.div_ceil(3).max(3) } else { full }
    }

    /// Makes a path, and remembers what it came to be.
    pub fn join(&mut self, kind: Kind, label: &str) -> Result<Joined> {
        let joined = kind.join(label)?;
        self.facts.insert(kind, joined.facts.clone());
        Ok(joined)
    }

    /// Keeps a sample.
    pub fn record(&mut self, mut sample: Sample) {
        // What a program had to say may go on for pages.
        sample.void = sample.void.map(|why| why.lines().next().unwrap_or_default().to_owned());
        if let Some(why) = &sample.void {
            let (measure, direction) = (&sample.measure, sample.direction.name());
            self.say(&format!("void: {measure} {direction} on {}, round {}: {why}", sample.path, sample.round));
        }
        self.samples.push(sample);
    }

    /// Tells, and remembers, that a path is not measured.
    pub fn leave_out(&mut self, kind: Kind, why: String) {
        self.say(&format!("{kind} is left out: {why}"));
        self.missing.push(Missing { path: kind.name().to_owned(), why });
    }

    /// Prints a line above the progress bar.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Moves the progress bar on: so much of what the measure said it takes is done, however long it took.
    pub fn worked(&self, share: Duration) {
        self.bar.inc(millis(share));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Measures, and gives all of it.
pub fn run(options: &Options) -> Result<Run> {
    netns::clean_leftovers(netns::PREFIX)?;
    let machine = Machine::look(&Tapwire::new()?)?;
    let (measures, kinds) = chosen(options)?;
    let mut session = Session {
        quick: options.quick,
        kinds: Vec::new(),
        missing: Vec::new(),
        facts: BTreeMap::new(),
        samples: Vec::new(),
        bar: ProgressBar::new(0),
    };
    for kind in kinds {
        match kind.missing() {
            None => session.kinds.push(kind),
            Some(why) => session.leave_out(kind, why),
        }
    }
    all(&mut session, &measures)?;
    let path_facts = |(kind, facts): (Kind, String)| PathFacts { path: kind.name().to_owned(), facts };
    Ok(Run {
        version: VERSION,
        machine,
        quick: session.quick,
        missing: session.missing,
        paths: session.facts.into_iter().map(path_facts).collect(),
        samples: session.samples,
    })
}

fn all(session: &mut Session, measures: &[&Measure]) -> Result<()> {
    let shares: Vec<u64> = measures.iter().map(|measure| millis((measure.takes)(session))).collect();
    session.bar.set_length(shares.iter().sum());
    session.bar.set_style(ProgressStyle::with_template("{msg:<28} {wide_bar} {percent:>3} %, {eta} left")?);
    session.bar.enable_steady_tick(Duration::from_millis(500));
    let mut end = 0;
    for (measure, share) in measures.iter().zip(shares) {
        session.bar.set_message(measure.about);
        let begin = Instant::now();
        (measure.run)(session)?;
        end += share;
        session.bar.set_position(end);
        if session.bar.is_hidden() {
            session.say(&format!("{}: {:.0} s", measure.about, begin.elapsed().as_secs_f64()));
        }
    }
    session.bar.finish_and_clear();
    Ok(())
}

/// The measures and the paths of these names. A path brings all measures, and a measure all paths.
fn chosen(Options { quick, only }: &Options) -> Result<(Vec<&'static Measure>, Vec<Kind>)> {
    let known = |name: &String| {
        MEASURES.iter().any(|measure| measure.name == *name) || Kind::ALL.iter().any(|kind| kind.name() == *name)
    };
    if let Some(name) = only.iter().find(|name| !known(name)) {
        let names = MEASURES.iter().map(|measure| measure.name).chain(Kind::ALL.map(Kind::name));
        bail!("there is no measure and no path {name}: choose from {}", names.collect::<Vec<_>>().join(", "));
    }
    let wanted = |name: &str| only.iter().any(|wanted| wanted == name);
    let mut measures: Vec<_> = MEASURES.iter().filter(|measure| wanted(measure.name)).collect();
    if measures.is_empty() {
        measures.extend(MEASURES.iter().filter(|measure| measure.in_quick || !quick));
    }
    let mut kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| wanted(kind.name())).collect();
    if kinds.is_empty() {
        kinds.extend(Kind::ALL);
    }
    Ok((measures, kinds))
}

impl Run {
    /// What counts of a measure: samples of one direction and size on one path, in the order of the rounds.
    pub fn values(&self, measure: &str, path: &str, direction: Direction, size: Option<u32>) -> Vec<f64> {
        let matches = |sample: &&Sample| {
            sample.measure == measure && sample.path == path && sample.direction == direction && sample.size == size
        };
        self.samples.iter().filter(matches).filter(|sample| sample.void.is_none()).map(|sample| sample.value).collect()
    }

    /// The paths that have samples of a measure, each once, in the order of their first.
    pub fn paths_of(&self, measure: &str) -> Vec<&str> {
        let mut paths = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.measure == measure) {
            if !paths.contains(&sample.path.as_str()) {
                paths.push(&sample.path);
            }
        }
        paths
    }

    /// All tables, one below the other.
    pub fn tables(&self) -> String {
        MEASURES
            .iter()
            .map(|measure| (measure.table)(self))
            .chain([report::table::verdicts(self)])
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }
}
