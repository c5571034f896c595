//! Running other programs as the steps of a chore: each says what it does and how long it took.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// The top folder of the repository.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo leaves what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The cargo that runs us, at the top of the repository, with nothing on its standard input.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    // They describe the package xtask to its own process; a nested cargo would rebuild what reads them.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `step` under a headline and says how long it took.
pub(crate) fn timed<T>(headline: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("==> {headline}");
    let start = Instant::now();
    let result = step();
    let end = if result.is_ok() { "done" } else { "FAILED" };
    println!("    {end} in {:.1} s", start.elapsed().as_secs_f64());
    result
}

/// Runs a command whose output matters only if it fails: it goes into a file, of which an error shows the end.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    const SHOWN: usize = 15;
    let folder = target();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join("setup.log");
    let mut log =
        File::options().create(true).append(true).open(&path).with_context(|| format!("open {}", path.display()))?;
    writeln!(log, "\n$ {}", shown(command))?;
    let begin = log.metadata()?.len();
    let status = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("run {}", shown(command)))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(&path)?;
    let text = String::from_utf8_lossy(text.get(usize::try_from(begin)?..).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
        eprintln!("    | {line}");
    }
    bail!("`{}` failed ({status}); the whole output is in {}", shown(command), path.display())
}

/// Runs a command and hands every line of its output, in order, to `see`. Says whether it ended well.
pub(crate) fn stream(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    /// How long the output must have been silent after the command's end.
    const SILENCE: Duration = Duration::from_millis(200);
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("run {}", shown(command)))?;
    // The command holds the writing ends, so the reading would never see the end of the output.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    // The end of the output alone may never come: a process that a test left behind holds the pipe open.
    let mut ended = None;
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) => see(String::from_utf8_lossy(&line).trim_end_matches('\r')),
            Err(RecvTimeoutError::Timeout) if ended.is_none() => ended = child.try_wait()?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(child.wait()?.success())
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
