//! The hunt: cases of mutated frames, one after the other, until the time is over or one of them shows a difference. Then
//! the case is made as small as it can be.

use std::time::Instant;

use super::{
    Case, Loaded,
    case::{Step, is_for_this_host},
    config,
};
use crate::{
    corpus, frames,
    model::{Beside, Program},
    mutate,
    rng::Rng,
};

/// Frames of a case: enough that the reading of counters does not count, few enough to find the one that matters.
const STEPS: usize = 48;
/// Octets of the longest frame. A test run has one page for a frame and what the kernel keeps beside it.
const LONGEST: usize = 2048;
/// Octets of a segment: mostly none, else as many as fit, one more, and the mark of SCTP.
const SEGMENTS: [u16; 8] = [0, 0, 0, 0, 1, 1448, 1473, 0xffff];

/// What a hunt did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that the kernel ran a program on.
    pub executions: u64,
    /// Frames that it did not take.
    pub refused: u64,
}

/// A hunt over all configurations.
pub struct Hunt {
    loaded: Vec<Loaded>,
    seeds: Vec<Vec<u8>>,
    rng: Rng,
    /// What was done so far.
    pub tally: Tally,
}

/// A difference between the kernel and the model.
pub struct Finding {
    /// The smallest case that shows it.
    pub case: Case,
    /// Its configuration.
    pub config: &'static str,
    /// The difference.
    pub difference: String,
}

impl Hunt {
    /// Loads all configurations. The same `seed` gives the same frames.
    pub fn new(seed: u64) -> Result<Self, String> {
        let loaded = config::all().into_iter().map(Loaded::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { loaded, seeds: frames::all(), rng: Rng::new(seed), tally: Tally::default() })
    }

    /// Tries cases until `end`, or until `most` frames were run.
    pub fn run(&mut self, end: Instant, most: u64) -> Result<(), Box<Finding>> {
        while self.tally.executions < most && Instant::now() < end {
            let case = self.invent();
            self.try_case(&case)?;
        }
        Ok(())
    }

    /// Tries the cases that were found once.
    pub fn replay(&mut self) -> Result<usize, Box<Finding>> {
        let found = corpus::found("kernel").unwrap();
        for (path, bytes) in &found {
            println!("{}", path.display());
            self.try_case(&Case::from_bytes(bytes).unwrap())?;
        }
        Ok(found.len())
    }

    /// Tries every frame that mutation begins with, as it is, in every configuration and by every program.
    pub fn try_seeds(&mut self) -> Result<(), Box<Finding>> {
        for config in 0..self.loaded.len() {
            for program in Program::ALL {
                let steps = self.seeds.iter().map(|frame| step(program, Beside::default(), frame.clone()));
                let case = Case { config: u8::try_from(config).unwrap(), steps: steps.collect() };
                self.try_case(&case)?;
            }
        }
        Ok(())
    }

    fn try_case(&mut self, case: &Case) -> Result<(), Box<Finding>> {
        let loaded = &mut self.loaded[usize::from(case.config)];
        if let Ok(taken) = loaded.run(case) {
            self.tally.executions += u64::try_from(taken).unwrap();
            self.tally.refused += u64::try_from(case.steps.len() - taken).unwrap();
            return Ok(());
        }
        let case = shrink(loaded, case.clone());
        let difference = loaded.run(&case).err().unwrap_or_else(|| "it does not show every time".to_owned());
        Err(Box::new(Finding { case, config: loaded.name(), difference }))
    }

    fn invent(&mut self) -> Case {
        let rng = &mut self.rng;
        let config = rng.below(self.loaded.len());
        let steps = (0..STEPS).map(|_| {
            let mut frame = rng.pick(&self.seeds).clone();
            mutate::frame(&mut frame, rng, &self.seeds, LONGEST);
            // What the guest sends has the most ways to go.
            let program = *rng.pick(&[
                Program::TapIn,
                Program::TapIn,
                Program::TapIn,
                Program::NicIn,
                Program::NicIn,
                Program::NicOut,
                Program::HostOut,
                Program::PortalIn,
            ]);
            step(
                program,
                Beside { gso_size: *rng.pick(&SEGMENTS), from_tap: rng.one_in(2), ..Beside::default() },
                frame,
            )
        });
        Case { config: u8::try_from(config).unwrap(), steps: steps.collect() }
    }
}

fn step(program: Program, beside: Beside, frame: Vec<u8>) -> Step {
    Step { program, beside: Beside { for_this_host: is_for_this_host(&frame), ..beside }, frame }
}

/// Takes away what the difference does not need: frames, then octets, then what is odd in those that stay.
fn shrink(loaded: &mut Loaded, mut case: Case) -> Case {
    let mut differs = |case: &Case| loaded.run(case).is_err();
    for place in (0..case.steps.len()).rev() {
        let mut smaller = case.clone();
        smaller.steps.remove(place);
        if !smaller.steps.is_empty() && differs(&smaller) {
            case = smaller;
        }
    }
    for place in 0..case.steps.len() {
        let mut part = case.steps[place].frame.len() / 2;
        while part > 0 {
            case = without_parts(case, place, part, &mut differs);
            part /= 2;
        }
    }
    case
}

/// Takes away each part of a frame that is not needed, or makes it zeros.
fn without_parts(mut case: Case, place: usize, part: usize, differs: &mut impl FnMut(&Case) -> bool) -> Case {
    let mut at = 0;
    while at < case.steps[place].frame.len() {
        let frame = &case.steps[place].frame;
        let end = (at + part).min(frame.len());
        let cut = with_frame(&case, place, [&frame[..at], &frame[end..]].concat());
        let mut zeros = frame.clone();
        zeros[at..end].fill(0);
        let zeros = with_frame(&case, place, zeros);
        // A frame is no shorter than Ethernet's header; and what is cut away makes the next part lie here.
        if cut.steps[place].frame.len() >= 14 && differs(&cut) {
            case = cut;
            continue;
        }
        if zeros != case && differs(&zeros) {
            case = zeros;
        }
        at += part;
    }
    case
}

fn with_frame(case: &Case, place: usize, frame: Vec<u8>) -> Case {
    let mut case = case.clone();
    let Step { program, beside, .. } = case.steps[place];
    case.steps[place] = step(program, beside, frame);
    case
}
