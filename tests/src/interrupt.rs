//! Kills a process right after its N-th change of the world.
//!
//! `strace` holds the process for a moment after each system call that can change something, which is when the whole
//! process group gets its SIGKILL. So a test can walk through every state that a crash may leave, without a hook for
//! that in the program.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::tapwire::Tapwire;

/// System calls by which tapwire changes something: netlink, taps, eBPF, files.
const CHANGES: &str = "sendto,sendmsg,ioctl,bpf,write,rename,unlink,unlinkat,rmdir,mkdir,mount";

/// Calls that only look, or change nothing but the process itself.
const LOOKS: [&str; 8] = [
    ", SIOCGIFINDEX,",
    ", FIONBIO,",
    "(BPF_OBJ_GET,",
    "(BPF_OBJ_GET_INFO_BY_FD,",
    "(BPF_PROG_GET_FD_BY_ID,",
    "(BPF_PROG_QUERY,",
    "(BPF_MAP_LOOKUP_ELEM,",
    "(BPF_MAP_GET_FD_BY_ID,",
];

/// Whether a call only asks a question of rtnetlink: its kinds come by four, of which the third asks (`RTM_FAM` in
/// linux/rtnetlink.h). strace names them, or gives their numbers.
fn is_question(call: &str) -> bool {
    let Some((_, kind)) = call.split_once("nlmsg_type=") else { return false };
    let number = kind.strip_prefix("0x").and_then(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next());
    let number = number.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    kind.starts_with("RTM_GET") || number.is_some_and(|number| number >= 16 && number % 4 == 2)
}

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

/// Runs tapwire to its end and counts its system calls of [`CHANGES`].
pub fn changes(tapwire: &Tapwire, arguments: &[&str]) -> Result<usize> {
    let (seen, status, last) = watch(tapwire, arguments, usize::MAX)?;
    ensure!(status.success(), "tapwire {} ended with {status}: {last}", arguments.join(" "));
    Ok(seen)
}

/// Runs tapwire and kills it after its `nth` system call of [`CHANGES`].
pub fn kill_after(tapwire: &Tapwire, arguments: &[&str], nth: usize) -> Result<Fate> {
    let (seen, status, last) = watch(tapwire, arguments, nth)?;
    if seen >= nth {
        return Ok(Fate::Killed);
    }
    ensure!(status.success(), "tapwire {} ended with {status}: {last}", arguments.join(" "));
    Ok(Fate::Finished)
}

/// The calls that were seen, how it ended, and the last call.
fn watch(tapwire: &Tapwire, arguments: &[&str], nth: usize) -> Result<(usize, ExitStatus, String)> {
    let trace = format!("trace={CHANGES}");
    let hold = format!("inject={CHANGES}:delay_exit={HOLD}");
    let runner = ["strace", "-f", "-qq", "-e", &trace, "-e", "signal=none", "-e", &hold];
    let mut command: Command = tapwire.under(&runner, arguments);
    let mut child =
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("run strace")?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let lines = BufReader::new(child.stderr.take().context("strace has no output")?);
    // One line a call; a call that another thread interrupts takes a second line when it goes on.
    let calls = lines.lines().map_while(Result::ok).filter(|line| {
        line.contains('(')
            && !line.contains(" resumed>")
            && !LOOKS.iter().any(|look| line.contains(look))
            && !is_question(line)
    });
    let mut last = String::new();
    let mut seen = 0;
    for line in calls {
        seen += 1;
        last = line;
        if seen == nth {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
    Ok((seen, child.wait()?, last))
}

#[cfg(test)]
mod tests {
    use super::is_question;

    #[test]
    fn a_question_is_told_from_a_change() {
        for (call, question) in [
            ("sendto(12, [{nlmsg_len=52, nlmsg_type=0x12 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST", true),
            ("sendto(12, [{nlmsg_len=52, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST", true),
            ("sendto(12, [{nlmsg_len=52, nlmsg_type=0x13 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST", false),
            ("sendto(12, [{nlmsg_len=52, nlmsg_type=RTM_NEWLINK, nlmsg_flags=NLM_F_REQUEST", false),
            ("ioctl(8, TUNSETPERSIST, 0x1)", false),
        ] {
            assert_eq!(is_question(call), question, "{call}");
        }
    }
}
