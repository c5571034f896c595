//! Set-up, build, demo, benchmark and tests of tapwire: every chore of the repository is `cargo xtask VERB`.
//!
//! An error is one line on stderr and exit code 1, as in tapwire itself: a chore that fails on a stranger's machine
//! must say what to do, not where in our code it happened.

mod bench;
mod build;
mod demo;
mod fuzz;
mod setup;
mod step;
mod test;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the tapwire repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what building, testing and the demo need
    Setup(setup::Options),
    /// Build target/release/tapwire, set-up included
    Build,
    /// Boot a real VM on a pod's NIC and show that it works, set-up included
    Demo,
    /// Measure tapwire beside other ways to join a VM to a pod, set-up included
    Bench(bench::Options),
    /// Run every lint and every test, set-up included
    #[command(visible_alias = "ci")]
    Test(test::Options),
    /// Give everything that takes bytes from outside bytes that nobody sends by chance, set-up included
    Fuzz(fuzz::Options),
    /// Verify and try the programs on other kernels, set-up included
    Verify(verify::Options),
}

fn main() -> ExitCode {
    match run(&Cli::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a chore. False is a failure that it has reported itself.
fn run(verb: &Verb) -> anyhow::Result<bool> {
    match verb {
        Verb::Setup(options) => setup::run(options)?,
        Verb::Build => {
            setup::run(&setup::Options::default())?;
            build::tapwire()?;
        }
        Verb::Demo => {
            setup::run(&setup::Options::default())?;
            demo::run(&build::tapwire()?.path)?;
        }
        Verb::Bench(options) => {
            setup::run(&setup::Options::default())?;
            return bench::run(options);
        }
        Verb::Test(options) => {
            setup::run(&setup::Options::default())?;
            return Ok(test::run(options));
        }
        Verb::Fuzz(options) => {
            setup::run(&setup::Options::default())?;
            return fuzz::run(options);
        }
        Verb::Verify(options) => {
            setup::run(&setup::Options::default())?;
            return Ok(verify::run(options));
        }
    }
    Ok(true)
}
