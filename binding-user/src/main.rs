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
    repair::{Outcomes, repair},
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
    let bpffs = Bpffs::at(cli.bpffs);
    let environment = Environment { store: Store::at(cli.state_dir).with_copies(bpffs.clone()), bpffs };
    match cli.command {
        Command::Discover(arguments) => discover(&arguments).await,
        Command::Attach(arguments) => {
            let journal = attach(&environment, &arguments.request()?).await?;
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
        Command::Repair(arguments) => {
            let outcomes = repair(&environment, arguments.name()).await?;
            print(arguments.output, &outcomes, Outcomes::to_text)?;
            outcomes.failure()
        }
        Command::Lease(LeaseCommand::Set(arguments)) => lease_set(&environment, &arguments).await,
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
    for name in environment.store.without_record()? {
        eprintln!(
            "warning: {name}: pins are there, and no journal of it; `tapwire repair {name}` collects them or says more"
        );
    }
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
