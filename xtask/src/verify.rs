//! Runs the programs on every kernel of the matrix: the one that runs here, and Debian's in virtual machines.
//!
//! On each run two test binaries: `verifier`, which loads every program in every configuration and reports what the
//! verifier says, and `kernels`, the life of a binding. All kernels run, two at a time, and then all failures are told.

mod figures;
mod kernels;

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use lab::machine::{self, REPORT, Ran};
use serde_json::Value;

use self::{
    figures::{Figures, Refusal},
    kernels::{KERNELS, Wanted},
};
use crate::{
    build, step,
    test::tally::{Reader, Tally},
};

/// The name of the kernel that runs here.
const RUNNING: &str = "running";
/// The test binaries, in the order in which they run.
const TESTS: [&str; 2] = ["verifier", "kernels"];
/// An emulated CPU takes two to three minutes for all of it.
const DEADLINE: Duration = Duration::from_mins(8);
/// Machines that run at a time: each has one CPU.
const AT_A_TIME: usize = 2;
/// What a kernel says of itself when something is wrong with it. (A CPU that is said to be stuck only waited for ours.)
const WRONG: [&str; 5] = ["WARNING: ", "kernel BUG", "BUG: ", "Oops", "hw csum failure"];
const STUCK: &str = "soft lockup";
/// Lines that are shown of what a verifier said, or of a console: the last ones tell.
const SHOWN: usize = 8;
/// Has the running kernel take the whole product of configurations.
const ALL: &str = "TAPWIRE_VERIFY_ALL";

/// What `cargo xtask verify` takes.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Kernels to run on: 5.10, 6.1, 6.12, newest, running; all of them if none is named
    kernels: Vec<String>,
    /// Load the whole product of configurations on the running kernel, not only those that cover all pairs
    #[arg(long)]
    all: bool,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|wanted| wanted == name)
    }

    fn check(&self) -> Result<()> {
        let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).chain([RUNNING]).collect();
        let unknown = self.kernels.iter().find(|wanted| !known.contains(&wanted.as_str()));
        unknown.map_or(Ok(()), |name| bail!("there is no kernel {name}: choose from {}", known.join(", ")))
    }
}

/// Runs what `options` ask for, keeps the figures in docs/verifier.json, and says whether all of it passed.
pub(crate) fn run(options: &Options) -> bool {
    let mut tally = Tally::default();
    if let Err(error) = options.check().and_then(|()| on_all(options, &step::root().join("docs"), &mut tally)) {
        tally.step_failed(&format!("verify: {error:#}"));
    }
    println!("{tally}");
    !tally.failed()
}

/// As a part of all tests: on the other kernels, since what runs here has run all tests. The figures stay in `target`.
pub(crate) fn part(tally: &mut Tally) {
    let options = Options { kernels: KERNELS.iter().map(|kernel| kernel.name.to_owned()).collect(), all: false };
    let result = step::timed("other kernels", || on_all(&options, &step::target().join("verify"), tally));
    if let Err(error) = result {
        tally.step_failed(&format!("verify: {error:#}"));
    }
}

/// What there is to run.
struct Binaries {
    tapwire: PathBuf,
    tests: Vec<(String, PathBuf)>,
}

/// What came of a kernel.
struct Outcome {
    name: &'static str,
    result: Result<(String, Ran)>,
}

fn on_all(options: &Options, folder: &Path, tally: &mut Tally) -> Result<()> {
    let binaries = Binaries { tapwire: build::tapwire()?.path, tests: tests()? };
    let path = folder.join("verifier.json");
    let known = Figures::read(&path)?;
    let mut figures = Figures::read(&path)?;
    let mut outcomes = Vec::new();
    if options.wants(RUNNING) {
        println!("==> kernel {RUNNING}");
        outcomes.push(Outcome { name: RUNNING, result: here(&binaries, options.all) });
    }
    outcomes.extend(in_machines(&binaries, KERNELS.iter().filter(|kernel| options.wants(kernel.name)).collect()));
    for Outcome { name, result } in outcomes {
        let result = result.and_then(|(release, ran)| judge(name, &release, &ran, &mut figures, tally));
        if let Err(error) = result {
            tally.step_failed(&format!("kernel {name}: {error:#}"));
        }
    }
    if !figures.says_the_same_as(&known) {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(&path, figures.text()).with_context(|| format!("write {}", path.display()))?;
        println!("==> {} has new figures", path.display());
    }
    Ok(())
}

/// Builds the test binaries, and finds them.
fn tests() -> Result<Vec<(String, PathBuf)>> {
    let mut command = step::cargo();
    command.args(["test", "--locked", "--no-run", "--message-format=json", "--package", "integration-tests"]);
    command.args(TESTS.iter().flat_map(|test| ["--test", test]));
    let output = command.stderr(Stdio::inherit()).output().context("run cargo")?;
    ensure!(output.status.success(), "the tests do not compile, see above");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let find = |test: &str| -> Result<(String, PathBuf)> {
        let of_test = |message: &&Value| message["target"]["name"] == test && message["executable"].is_string();
        let message = messages.iter().find(of_test).with_context(|| format!("cargo built no test {test}"))?;
        Ok((test.to_owned(), message["executable"].as_str().unwrap_or_default().into()))
    };
    TESTS.iter().map(|test| find(test)).collect()
}

/// Runs the tests on this kernel.
fn here(binaries: &Binaries, all: bool) -> Result<(String, Ran)> {
    let folder = step::target().join("verify").join(RUNNING);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let report = folder.join("report");
    // Of the last run.
    let _ = fs::remove_file(&report);
    let (mut lines, start) = (Vec::new(), Instant::now());
    for (name, path) in &binaries.tests {
        lines.push(format!("     Running {name} (/tests/{name}-0)"));
        let mut command = Command::new(path);
        command.env("TAPWIRE_BIN", &binaries.tapwire).env(REPORT, &report).env_remove("RUST_BACKTRACE");
        if all {
            command.env(ALL, "1");
        }
        step::stream(command.arg("--show-output"), |line| lines.push(line.to_owned()))?;
    }
    lines.push(machine::END.to_owned());
    let release = lab::cmd::run(&["uname", "-r"])?.trim().to_owned();
    let report = fs::read_to_string(&report).unwrap_or_default();
    Ok((release, Ran { console: String::new(), output: lines.join("\n"), report, ended: true, time: start.elapsed() }))
}

/// Runs the tests in machines, some at a time; gives what came of each in the order of the matrix.
fn in_machines(binaries: &Binaries, wanted: Vec<&'static Wanted>) -> Vec<Outcome> {
    let order: Vec<_> = wanted.iter().map(|kernel| kernel.name).collect();
    let (queue, done) = (Mutex::new(VecDeque::from(wanted)), Mutex::new(Vec::new()));
    let next = || queue.lock().ok()?.pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(kernel) = next() {
                    println!("==> kernel {} of Debian's {}", kernel.name, kernel.suite);
                    let result = in_machine(binaries, kernel);
                    let how = if result.is_ok() { "has run" } else { "did not run" };
                    println!("    kernel {} {how}", kernel.name);
                    if let Ok(mut done) = done.lock() {
                        done.push(Outcome { name: kernel.name, result });
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|outcome| order.iter().position(|name| *name == outcome.name));
    done
}

fn in_machine(binaries: &Binaries, wanted: &Wanted) -> Result<(String, Ran)> {
    let kernel = wanted.get()?;
    let ran = machine::run(&kernel, &binaries.tapwire, &binaries.tests, DEADLINE)?;
    Ok((kernel.release, ran))
}

/// Counts the tests of a kernel, takes its figures in, and keeps and shows what tells why something failed.
fn judge(name: &str, release: &str, ran: &Ran, figures: &mut Figures, tally: &mut Tally) -> Result<()> {
    println!("==> kernel {name}, {release}: {:.0} s", ran.time.as_secs_f64());
    let folder = step::target().join("verify").join(name);
    // What the last run left would be taken for this one's.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for (file, text) in [("console.log", &ran.console), ("tests.log", &ran.output)] {
        fs::write(folder.join(file), text).with_context(|| format!("keep {file}"))?;
    }
    let failed = tally.count_failed();
    let mut reader = Reader::of(tally, &format!("{name}: "));
    for line in ran.output.lines().map(|line| line.trim_end_matches('\r')) {
        if reader.see(line) && !line.is_empty() {
            println!("    {line}");
        }
    }
    if !ran.output.contains(machine::END) {
        let why = if ran.ended { "the guest ended" } else { "the guest was stopped" };
        let last = ran.console.lines().rev().take(SHOWN).collect::<Vec<_>>();
        last.iter().rev().for_each(|line| println!("    | {line}"));
        bail!("{why} before its tests did; see {}", folder.display());
    }
    show(&figures.take(name, release, &ran.report)?, &folder)?;
    for line in figures.worst(name) {
        println!("    {line}");
    }
    let is_wrong = |line: &&str| WRONG.iter().any(|words| line.contains(words)) && !line.contains(STUCK);
    for line in ran.console.lines().filter(is_wrong) {
        tally.step_failed(&format!("{name}: the kernel says: {}", line.trim()));
    }
    // A suite that crashes prints no result.
    let results = ran.output.matches("test result: ").count();
    ensure!(results >= TESTS.len() || tally.count_failed() > failed, "a test binary crashed; see {}", folder.display());
    Ok(())
}

/// Keeps the whole logs of the verifier and shows their ends.
fn show(refusals: &[Refusal], folder: &Path) -> Result<()> {
    for Refusal { program, configuration, error, log } in refusals {
        let path = folder.join(format!("{program} {}.log", configuration.replace('/', "-")));
        fs::write(&path, log).with_context(|| format!("keep {}", path.display()))?;
        println!("    {program} was refused ({configuration}): {error}; the whole log is in {}", path.display());
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(SHOWN)..].iter().for_each(|line| println!("    | {line}"));
    }
    Ok(())
}
