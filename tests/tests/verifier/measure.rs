//! What the verifier says of a program that it takes.
//!
//! The loader gives the verifier's log only of what was refused. So programs are loaded while there is no file descriptor
//! left for the result: the kernel takes that last (`bpf_prog_load` in kernel/bpf/syscall.c), when the program is verified,
//! compiled and all but handed over, and refuses with `EMFILE`. The loader then asks a second time, for the log, and gets
//! that of success with the same refusal.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aya::{
    VerifierLogLevel,
    programs::{ProgramError, SchedClassifier},
};
use binding_user::datapath::{Functions, Programs};
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};

use crate::configurations::Configuration;

/// How often the loader has the kernel load what is refused: without and with a log.
const LOADS: u32 = 2;

/// What became of one program of a configuration.
pub(crate) struct Measured {
    pub(crate) program: String,
    pub(crate) outcome: Result<Figures, Refused>,
}

/// What it cost to verify a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Instructions that the verifier followed, each as often as it did; its limit is a million.
    pub(crate) instructions: u32,
    /// Octets of stack of all functions together; the limit is 512 for those that call each other.
    pub(crate) stack: u32,
    /// How long the kernel took for the whole load.
    pub(crate) time: Duration,
}

/// Why there are none.
pub(crate) struct Refused {
    pub(crate) error: String,
    /// All that the verifier said.
    pub(crate) log: String,
}

/// One test at a time: the process is without file descriptors in between.
static ALONE: Mutex<()> = Mutex::new(());

/// Loads the programs one after the other; one that is refused does not keep the others from being tried.
pub(crate) fn measure(configuration: &Configuration, functions: Functions) -> Vec<Measured> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Configuration { name, constants, replies } = configuration;
    let mut programs = Programs::prepare(constants, replies.as_ref(), None, functions, VerifierLogLevel::STATS)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let measured = programs.ebpf().programs_mut().map(|(program, loaded)| Measured {
        program: program.to_owned(),
        outcome: loaded.try_into().and_then(figures).map_err(|error| refused(&error)),
    });
    let mut measured: Vec<_> = measured.collect();
    for Measured { program, outcome } in &mut measured {
        if let Err(refused) = outcome
            && let Some(log) = whole_log(configuration, functions, program)
        {
            refused.log = log;
        }
    }
    measured
}

fn figures(program: &mut SchedClassifier) -> Result<Figures, ProgramError> {
    let start = Instant::now();
    let loaded = without_descriptors(|| program.load());
    let time = start.elapsed() / LOADS;
    let log = match loaded {
        Err(ProgramError::LoadError { io_error, verifier_log })
            if io_error.raw_os_error() == Some(Errno::EMFILE as i32) =>
        {
            verifier_log.to_string()
        }
        Err(error) => return Err(error),
        Ok(()) => panic!("a program was loaded without a file descriptor"),
    };
    let (instructions, stack) = parse(&log).unwrap_or_else(|| panic!("no figures in the verifier's log: {log:?}"));
    Ok(Figures { instructions, stack, time })
}

/// The whole process is without them meanwhile, so nothing else may run in it ([`ALONE`]).
fn without_descriptors<T>(work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let result = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

fn refused(error: &ProgramError) -> Refused {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            Refused { error: io_error.to_string(), log: verifier_log.to_string() }
        }
        other => Refused { error: other.to_string(), log: String::new() },
    }
}

/// What the verifier says of a program that it refuses when it is asked for more than figures.
fn whole_log(configuration: &Configuration, functions: Functions, program: &str) -> Option<String> {
    let Configuration { constants, replies, .. } = configuration;
    let mut programs =
        Programs::prepare(constants, replies.as_ref(), None, functions, VerifierLogLevel::default()).ok()?;
    match programs.program(program).ok()?.load() {
        Err(ProgramError::LoadError { verifier_log, .. }) => Some(verifier_log.to_string()),
        _ => None,
    }
}

/// Instructions and stack of `print_verification_stats` in kernel/bpf/verifier.c:
/// `stack depth 88+0`, since 7.x with ` max 88` of the longest chain of calls behind it, and
/// `processed 106516 insns (limit 1000000) …`.
fn parse(log: &str) -> Option<(u32, u32)> {
    let after = |start: &str| log.lines().find_map(|line| line.strip_prefix(start));
    let instructions = after("processed ")?.split(' ').next()?.parse().ok()?;
    let depths = after("stack depth ")?.split_whitespace().next()?;
    let stack = depths.split('+').map(str::parse::<u32>).sum::<Result<u32, _>>().ok()?;
    Some((instructions, stack))
}

#[test]
fn the_figures_are_read_from_the_verifiers_log() {
    let log = "verification time 817 usec\nstack depth 88+0+16\nprocessed 1501 insns (limit 1000000) max_states 4\n";
    assert_eq!(parse(log), Some((1501, 104)));
    assert_eq!(parse("stack depth 32+8 max 40\ninsns processed 630\nprocessed 630 insns\n"), Some((630, 40)));
    assert_eq!(parse("processed 1501 insns\n"), None);
}
