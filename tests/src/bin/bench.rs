//! Runs the benchmark; `cargo xtask bench` builds and starts it. What it does is told in `lab::bench`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use lab::bench::{self, Options};

/// Measures tapwire beside other ways to join a VM to a pod.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// Fewer rounds: ends in three minutes
    #[arg(long)]
    quick: bool,
    /// Only this measure or path; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where every sample is written
    #[arg(long, value_name = "FILE", default_value = "target/bench/latest.json")]
    json: PathBuf,
    /// Folder for a report with plots
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Cli { quick, only, json, report }: Cli) -> Result<()> {
    ensure!(lab::is_root(), "bench: needs root, to make network namespaces");
    let run = bench::run(&Options { quick, only })?;
    if let Some(folder) = json.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(&run)?;
    fs::write(&json, text + "\n").with_context(|| format!("writing {}", json.display()))?;
    println!("{}", run.tables());
    println!("every sample is in {}", json.display());
    if let Some(folder) = report {
        bench::report::write(&folder, &run)?;
        println!("the report is {}", folder.join("benchmarks.md").display());
    }
    Ok(())
}
