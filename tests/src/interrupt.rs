//! Kills a process right after its N-th change of the world.
//!
//! `strace` holds the process for a moment after each system call that can change something, which is when the whole
//! process group gets its SIGKILL. So a test can walk through every state that a crash may leave, without a hook for
//! that in the program.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::tapwire::Tapwire;

/// System calls by which tapwire changes something: netlink, taps, eBPF, files.
const CHANGES: &str = "sendto,sendmsg,ioctl,bpf,write,rename,unlink,unlinkat,rmdir,mkdir,mount";

/// How long the process is held after each of them, in microseconds: long against the way of a signal.
const HOLD: u32 = 2000;

/// What became of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was killed after the N-th change.
    Killed,
    /// It ended by itself, with success, before there were so many.
    Finished,
}

/// Runs tapwire and kills it after its `nth` system call of [`CHANGES`].
pub fn kill_after(tapwire: &Tapwire, arguments: &[&str], nth: usize) -> Result<Fate> {
    let trace = format!("trace={CHANGES}");
    let hold = format!("inject={CHANGES}:delay_exit={HOLD}");
    let runner = ["strace", "-f", "-qq", "-e", &trace, "-e", "signal=none", "-e", &hold];
    let mut command: Command = tapwire.under(&runner, arguments);
    let mut child =
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("run strace")?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let lines = BufReader::new(child.stderr.take().context("strace has no output")?);
    // One line a call; a call that another thread interrupts takes a second line when it goes on.
    let calls = lines.lines().map_while(Result::ok).filter(|line| line.contains('(') && !line.contains(" resumed>"));
    let mut last = String::new();
    let mut seen = 0;
    for line in calls {
        seen += 1;
        last = line;
        if seen == nth {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
    let status = child.wait()?;
    if seen >= nth {
        return Ok(Fate::Killed);
    }
    ensure!(status.success(), "tapwire {} ended with {status}: {last}", arguments.join(" "));
    Ok(Fate::Finished)
}
