//! `tapwire`, the binary: reads the command line, calls the library, prints.

use std::process::ExitCode;

use binding_user::{
    Error, Result,
    attach::attach,
    binding::Environment,
    cli::{Cli, Command, Discover, Format, Output},
    datapath::Bpffs,
    detach::detach,
    discovery::Discovery,
    journal::Store,
    report::{self, Report},
};
use clap::Parser as _;
use serde::Serialize;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let environment = Environment { store: Store::at(cli.state_dir), bpffs: Bpffs::at(cli.bpffs) };
    match cli.command {
        Command::Discover(arguments) => discover(&arguments).await,
        Command::Attach(arguments) => {
            let journal = attach(&environment, &arguments.request()).await?;
            for warning in &journal.warnings {
                eprintln!("warning: {warning}");
            }
            let report = Report::of(&environment, &journal).await;
            print(arguments.output, &report, Report::to_text)
        }
        Command::Detach(arguments) => {
            detach(&environment, arguments.name()).await?;
            let name = arguments.name();
            print(arguments.output, &serde_json::json!({ "version": 1, "detached": name }), |_| {
                format!("detached {name}")
            })
        }
        Command::List(output) => list(&environment, output).await,
        Command::Show(arguments) => {
            let journal = environment.store.load_existing(arguments.name())?;
            let report = Report::of(&environment, &journal).await;
            print(arguments.output, &report, Report::to_text)
        }
    }
}

async fn discover(arguments: &Discover) -> Result<()> {
    let discovery = Discovery::make(arguments).await?;
    print(arguments.output, &discovery, Discovery::to_text)
}

async fn list(environment: &Environment, output: Output) -> Result<()> {
    let (journals, errors) = environment.store.list()?;
    let mut reports = Vec::new();
    for journal in &journals {
        reports.push(Report::of(environment, journal).await);
    }
    print(output, &reports, |reports| report::table(reports))?;
    Error::join(errors)
}

fn print<T: Serialize>(output: Output, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    match output.output {
        Format::Text => println!("{}", text(value)),
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(|error| Error::new("write JSON", error))?;
            println!("{json}");
        }
    }
    Ok(())
}
