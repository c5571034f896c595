//! Running other programs: with their output as text, and as background processes that end with their guard.

use std::{
    ffi::OsStr,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::wait_for;

/// A command line as a [`Command`] with nothing on its standard input.
pub fn command<S: AsRef<OsStr>>(args: &[S]) -> Result<Command> {
    let (program, rest) = args.split_first().context("empty command")?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null());
    Ok(command)
}

/// The command as a person would type it, for messages.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end and gives its standard output; any other exit than 0 is an error that quotes its words.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Result<String> {
    let mut command = command(args)?;
    let output = command.output().with_context(|| format!("running {}", shown(&command)))?;
    text(&command, &output)
}

/// The standard output of a command that has ended well, and an error otherwise.
pub(crate) fn text(command: &Command, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}{}", shown(command), output.status, stderr.trim_end(), stdout.trim_end());
    }
    Ok(stdout)
}

/// A process in the background; it is killed and reaped when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = shown(command);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { child, name })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How the process ended, or nothing while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("looking after {}", self.name))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait_for(&format!("the end of {name}"), deadline, || self.ended())
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        // Both fail only for a process that is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
