//! Fuzzing, for as many minutes as one has: libFuzzer on the pure code, mutated frames in the kernel beside their model,
//! and a real tap with a hostile monitor. `docs/fuzzing.md` says what each is for.
//!
//! libFuzzer comes as source with a crate, and its instrumentation is a pass of LLVM that a stable compiler has too; so
//! nothing is needed here that a build does not need, but for a C++ compiler.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{build, step};

/// The parts that need the kernel.
const MACHINE: [&str; 2] = ["kernel", "tap"];

/// Counters at each edge and compare, as cargo-fuzz has them; but without `-Clink-dead-code`, with which some of our
/// dependencies do not link.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// What `cargo xtask fuzz` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes in all, shared by the parts
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Run only this part: a target of the pure code, kernel or tap
    #[arg(long)]
    target: Option<String>,
    /// Take what the pure targets have found to be of use into the seeds
    #[arg(long)]
    keep_seeds: bool,
}

/// What a part did.
struct Outcome {
    part: String,
    executions: u64,
    /// The files with what was found.
    found: Vec<PathBuf>,
}

/// Runs all parts, and says whether nothing was found.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let wanted = |part: &String| options.target.as_ref().is_none_or(|target| target == part);
    let targets = targets()?;
    let pure: Vec<_> = targets.iter().filter(|part| wanted(part)).collect();
    let machine: Vec<_> = MACHINE.map(str::to_owned).into_iter().filter(wanted).collect();
    if pure.is_empty() && machine.is_empty() {
        let asked = options.target.as_deref().unwrap_or_default();
        bail!("there is no target {asked}; there are {}, {}", targets.join(", "), MACHINE.join(", "));
    }
    let seconds = options.minutes * 60 / u32::try_from(pure.len() + machine.len())?;
    // Everything is built before the time begins to run.
    let libfuzzer = if pure.is_empty() { None } else { Some(build_pure()?) };
    let on_machine = if machine.is_empty() { None } else { Some((build_machine()?, build::tapwire()?.path)) };
    let mut outcomes = Vec::new();
    for (part, program) in pure.into_iter().zip(libfuzzer.iter().cycle()) {
        outcomes.push(step::timed(&format!("fuzz {part}"), || fuzz_pure(program, part, seconds))?);
        if options.keep_seeds {
            merge(program, part)?;
        }
    }
    for (part, (program, tapwire)) in machine.iter().zip(on_machine.iter().cycle()) {
        outcomes.push(step::timed(&format!("fuzz {part}"), || fuzz_machine(program, tapwire, part, seconds))?);
    }
    report(&outcomes);
    Ok(outcomes.iter().all(|outcome| outcome.found.is_empty()))
}

/// The targets of libFuzzer: each has seeds, a test sees to that.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in files(&seeds(""))? {
        names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn report(outcomes: &[Outcome]) {
    println!("{:<12} {:>14}  found", "part", "executions");
    for Outcome { part, executions, found } in outcomes {
        let found: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        println!("{part:<12} {executions:>14}  {found}");
    }
}

fn seeds(part: &str) -> PathBuf {
    step::root().join("tests/fuzz/seeds").join(part)
}

fn found(part: &str) -> PathBuf {
    step::root().join("tests/fuzz/found").join(part)
}

/// Where libFuzzer keeps what it has come upon; the next run goes on from there.
fn corpus(part: &str) -> PathBuf {
    target().join("corpus").join(part)
}

fn target() -> PathBuf {
    step::target().join("fuzz")
}

fn build_pure() -> Result<PathBuf> {
    let host = host()?;
    let mut command = step::cargo();
    // With a target named, build scripts and macros are not instrumented.
    command.args(["build", "--locked", "--package", "fuzz", "--profile", "fuzz", "--features", "libfuzzer"]);
    command.args(["--bin", "fuzz-pure", "--target", &host]);
    command.env("CARGO_TARGET_DIR", target()).env("RUSTFLAGS", INSTRUMENTATION);
    compile("build libFuzzer's targets", &mut command)?;
    Ok(target().join(host).join("fuzz/fuzz-pure"))
}

/// The target that the compiler itself is for.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(step::root()).output().context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it is for")
}

fn build_machine() -> Result<PathBuf> {
    let mut command = step::cargo();
    command.args(["build", "--locked", "--package", "fuzz", "--release", "--bin", "fuzz-machine"]);
    compile("build the kernel's part", &mut command)?;
    Ok(step::target().join("release/fuzz-machine"))
}

fn compile(what: &str, command: &mut Command) -> Result<()> {
    step::timed(what, || {
        ensure!(step::stream(command, |line| eprintln!("{line}"))?, "the build failed, see above");
        Ok(())
    })
}

/// Lines of a panic: its place, and an assertion with both its sides.
const ASSERTION: u32 = 4;

fn fuzz_pure(program: &Path, part: &str, seconds: u32) -> Result<Outcome> {
    let (corpus, found) = (corpus(part), found(part));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let before = files(&found)?;
    let mut command = libfuzzer(program, part);
    command.args([&format!("-max_total_time={seconds}"), "-print_final_stats=1", "-timeout=10", "-max_len=2048"]);
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.args([corpus, seeds(part)]);
    let path = target().join(format!("{part}.log"));
    let mut log = BufWriter::new(File::create(&path).with_context(|| format!("make {}", path.display()))?);
    let (mut executions, mut to_show) = (0, 0);
    let ended_well = step::stream(&mut command, |line| {
        if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            executions = number.trim().parse().unwrap_or(0);
        }
        // A log that cannot be written is no reason to lose a finding.
        let _ = writeln!(log, "{line}");
        // Where the promise stands that was broken, and what the assertion says of it.
        if line.contains("panicked at") {
            to_show = ASSERTION;
        }
        if to_show > 0 {
            to_show -= 1;
            println!("    {line}");
        }
    })?;
    let new: Vec<_> = files(&found)?.into_iter().filter(|path| !before.contains(path)).collect();
    ensure!(ended_well || !new.is_empty(), "libFuzzer ended with an error, see {}", path.display());
    Ok(Outcome { part: part.to_owned(), executions, found: new })
}

fn libfuzzer(program: &Path, part: &str) -> Command {
    let mut command = Command::new(program);
    command.env("TAPWIRE_FUZZ_TARGET", part);
    command
}

/// Adds to the seeds what reaches code that they do not.
fn merge(program: &Path, part: &str) -> Result<()> {
    let mut command = libfuzzer(program, part);
    fs::create_dir_all(seeds(part))?;
    command.args(["-merge=1", "-max_len=2048"]).arg(seeds(part)).arg(corpus(part));
    step::quiet(&mut command)
}

fn fuzz_machine(program: &Path, tapwire: &Path, part: &str, seconds: u32) -> Result<Outcome> {
    let found = found(part);
    let before = files(&found)?;
    let mut command = Command::new(program);
    // Another run sends other frames, and the output says which.
    let seed = process::id().to_string();
    command.args([part, &seconds.to_string(), &seed]).env("TAPWIRE_BIN", tapwire);
    let mut executions = 0;
    println!("    seed {seed}");
    let ended_well = step::stream(&mut command, |line| {
        if let Some(number) = line.strip_prefix("executions: ") {
            executions = number.parse().unwrap_or(0);
        }
        println!("    {line}");
    })?;
    let new: Vec<_> = files(&found)?.into_iter().filter(|path| !before.contains(path)).collect();
    ensure!(ended_well || !new.is_empty(), "fuzz {part} ended with an error, see above");
    Ok(Outcome { part: part.to_owned(), executions, found: new })
}

/// The files of a folder that need not be there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.path())).collect()
}
