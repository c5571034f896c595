//! `tapwire`, the binary: reads the command line, calls the library, prints.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use binding_user::{
    Context as _, Error, Result,
    attach::attach,
    binding::Environment,
    change::change,
    cli::{Cli, Command, Discover, Format, LeaseCommand, LeaseSet, Output},
    datapath::Bpffs,
    detach::detach,
    discovery::Discovery,
    journal::Store,
    report::{self, Report},
    upgrade::{Upgrade, upgrade, upgrade_all},
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
    let environment = Environment { store: Store::at(cli.state_dir), bpffs: Bpffs::at(cli.bpffs), policy: cli.policy };
    match cli.command {
        Command::Discover(arguments) => discover(&arguments).await,
        Command::Attach(arguments) => {
            let journal = Box::pin(attach(&environment, &arguments.request()?)).await?;
            warn(&journal.warnings);
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
        Command::Lease(LeaseCommand::Set(arguments)) => lease_set(&environment, &arguments).await,
        Command::Upgrade(arguments) => {
            let done = match arguments.name() {
                Some(name) => upgrade(&environment, name).await?,
                None => upgrade_all(&environment).await?,
            };
            for name in &done.gone {
                eprintln!("warning: {name} is gone: there is nothing to upgrade");
            }
            print(arguments.output, &done, Upgrade::to_text)
        }
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

async fn lease_set(environment: &Environment, arguments: &LeaseSet) -> Result<()> {
    let (wanted, warnings) = arguments.change()?;
    let journal = change(environment, arguments.binding.name(), &wanted).await?;
    warn(&warnings);
    warn(&journal.warnings);
    let report = Report::of(environment, &journal).await;
    print(arguments.binding.output, &report, Report::to_text)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
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
    let text = match output.output {
        Format::Text => text(value),
        Format::Json => serde_json::to_string_pretty(value).context(|| "write JSON")?,
    };
    // What was to be done is done: a reader that went away, or a full disk behind it, does not undo it.
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => eprintln!("warning: write the output: {error}"),
        _ => {}
    }
    Ok(())
}
