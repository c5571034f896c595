//! Runs every lint and every test, all of them even if some fail, and ends with one line that sums them up.
//!
//! Plain `cargo test`: a fresh machine has no other runner. What libtest prints is read along, because cargo gives one
//! result for each test binary and no sum.

pub(crate) mod tally;
mod trust;

use std::process::Command;

use anyhow::bail;
use clap::{Args, ValueEnum};

use self::tally::Tally;
use crate::{build, step, verify};

/// The package whose tests need root, the lab and the finished binary.
const INTEGRATION: &str = "integration-tests";

/// What `cargo xtask test` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Run only the integration tests whose names contain one of these
    filter: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Lints,
    Unit,
    Integration,
    /// The programs on other kernels
    Kernels,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        match self.only {
            Some(only) => only == part,
            // Who names a test wants that one.
            None => self.filter.is_empty() || part == Part::Integration,
        }
    }
}

/// Runs what `options` ask for, and says whether all of it passed. The sum is the last line that is printed.
pub(crate) fn run(options: &Options) -> bool {
    let mut tally = Tally::default();
    let lints = options.wants(Part::Lints);
    let others = if options.wants(Part::Integration) { build::others() } else { Ok(()) };
    let tapwire = if lints || options.wants(Part::Integration) {
        others.and_then(|()| build::tapwire()).map_err(|error| tally.step_failed(&format!("build: {error:#}"))).ok()
    } else {
        None
    };
    if lints {
        run_lints(&mut tally, tapwire.as_ref().is_some_and(|built| built.warned));
    }
    if options.wants(Part::Unit) {
        let mut command = cargo_test();
        command.args(["--workspace", "--exclude", INTEGRATION, "--", "--show-output"]);
        suites("unit tests", &mut command, &mut tally);
    }
    if options.wants(Part::Integration)
        && let Some(built) = &tapwire
    {
        let mut command = cargo_test();
        command.env("TAPWIRE_BIN", &built.path);
        command.args(["--package", INTEGRATION, "--", "--show-output"]).args(&options.filter);
        suites("integration tests", &mut command, &mut tally);
    }
    if options.wants(Part::Kernels) {
        verify::part(&mut tally);
    }
    println!("{tally}");
    !tally.failed()
}

/// A lint is no test, so it is not counted when it passes; when it fails it must be seen in the sum.
fn run_lints(tally: &mut Tally, programs_warned: bool) {
    let strict = ["--", "-D", "warnings"];
    let mut fmt = step::cargo();
    fmt.args(["fmt", "--all", "--check"]);
    let mut clippy = step::cargo();
    // The eBPF crate with it, as far as the host compiles it; of the rest the BPF compiler's own warnings are taken.
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]).args(strict);
    for (name, command) in [("cargo fmt", &mut fmt), ("cargo clippy", &mut clippy)] {
        let passed = step::timed(name, || {
            if step::stream(command, |line| println!("{line}"))? { Ok(()) } else { bail!("{name} complained") }
        });
        if let Err(error) = passed {
            tally.step_failed(&format!("{error:#}"));
        }
    }
    if programs_warned {
        tally.step_failed("the eBPF programs compile with warnings, see the build");
    }
    trust::run(tally);
}

fn cargo_test() -> Command {
    let mut command = step::cargo();
    command.args(["test", "--locked", "--no-fail-fast"]);
    command
}

/// Runs one `cargo test`, showing its output as it comes.
fn suites(name: &str, command: &mut Command, tally: &mut Tally) {
    let before = tally.count_failed();
    let result = step::timed(name, || {
        let mut reader = tally::Reader::new(tally);
        let passed = step::stream(command, |line| {
            if reader.see(line) {
                println!("{line}");
            }
        })?;
        if passed { Ok(()) } else { bail!("{name} did not pass") }
    });
    // A test binary that crashed or did not compile leaves no result to count.
    if let Err(error) = result
        && tally.count_failed() == before
    {
        tally.step_failed(&format!("{error:#}: no test failed, so something crashed or did not compile"));
    }
}
