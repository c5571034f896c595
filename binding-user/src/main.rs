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
    check::CheckReport,
    cli::{Check, Cli, Command, Discover, Format, LeaseCommand, LeaseSet, ListFormat, ListOutput, Output},
    datapath::Bpffs,
    detach::detach,
    discovery::Discovery,
    input::{printable, printable_lines},
    journal::Store,
    repair::{Outcomes, repair},
    report::{self, Report},
    upgrade::{Upgrade, upgrade, upgrade_all},
};
use clap::Parser as _;
use serde::Serialize;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
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

/// Help and version, or wrong usage. What is wrong may be another's text, so it is shown as text.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        eprint!("{}", printable_lines(&error.render().to_string()));
        return ExitCode::from(2);
    }
    // A reader of the help that went away needs no word on it.
    let _ = error.print();
    ExitCode::SUCCESS
}

async fn run(cli: Cli) -> Result<()> {
    let bpffs = Bpffs::at(cli.bpffs);
    let store = Store::at(cli.state_dir).with_copies(bpffs.clone());
    let node_netns = cli.command.node_netns();
    let environment = Environment { store, bpffs, policy: cli.policy, cni: cli.cni, node_netns };
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
        Command::Check(arguments) => check(&environment, &arguments),
        Command::Repair(arguments) => {
            let outcomes = repair(&environment, arguments.name()).await?;
            print(arguments.output, &outcomes, Outcomes::to_text)?;
            outcomes.failure()
        }
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
        eprintln!("warning: {}", printable(warning));
    }
}

fn check(environment: &Environment, arguments: &Check) -> Result<()> {
    let report = CheckReport::make(environment, arguments.netns.as_ref());
    print(arguments.output, &report, CheckReport::to_text)?;
    report.verdict()
}

async fn list(environment: &Environment, output: ListOutput) -> Result<()> {
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
    match output.output {
        ListFormat::Text => write_out(&printable_lines(&report::table(&reports))),
        ListFormat::Json => write_out(&to_json(&reports)?),
        ListFormat::OpenMetrics => write_out(&report::open_metrics(&reports, errors.len())),
    }
    Error::join(errors)
}

fn print<T: Serialize>(output: Output, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    write_out(&match output.output {
        Format::Text => printable_lines(&text(value)).into_owned(),
        Format::Json => to_json(value)?,
    });
    Ok(())
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context(|| "write JSON")
}

fn write_out(text: &str) {
    // What was to be done is done: a reader that went away, or a full disk behind it, does not undo it.
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => eprintln!("warning: write the output: {error}"),
        _ => {}
    }
}
