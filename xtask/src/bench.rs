//! Builds tapwire and the benchmark, and runs the one on the other.
//!
//! The measuring code lies in the lab (`tests/src/bench`), beside the paths that it makes.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, bail};
use clap::Args;

use crate::{build, step};

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Fewer rounds: ends in three minutes
    #[arg(long)]
    quick: bool,
    /// Only this measure or path; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where every sample is written, in place of target/bench/latest.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it. The benchmark has said what failed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let tapwire = build::tapwire()?.path;
    step::timed("build the benchmark", || {
        let mut command = step::cargo();
        command.args(["build", "--locked", "--release", "--package", "integration-tests", "--bin", "bench"]);
        if step::stream(&mut command, |line| eprintln!("{line}"))? { Ok(()) } else { bail!("see above") }
    })?;
    let json = options.json.clone().unwrap_or_else(|| step::target().join("bench/latest.json"));
    if let Some(folder) = json.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut command = Command::new(step::target().join("release/bench"));
    command.env("TAPWIRE_BIN", tapwire).arg("--json").arg(json);
    // The document is of runs that are complete.
    let complete = !options.quick && options.only.is_empty();
    command.arg("--report").arg(if complete { step::root().join("docs") } else { step::target().join("bench") });
    if options.quick {
        command.arg("--quick");
    }
    for name in &options.only {
        command.args(["--only", name]);
    }
    println!("==> {}", step::shown(&command));
    // Its own terminal: it has a progress bar.
    Ok(command.status()?.success())
}
