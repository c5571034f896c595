//! Attach and detach as whole commands, the process included, and what of an attach is the kernel's.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    pod::Pod,
    scene::BINDING,
    tapwire::{Tapwire, attach_arguments},
};

/// A pod with a tap, and no binding.
#[derive(Debug)]
pub(super) struct Empty {
    tapwire: Tapwire,
    pod: Pod,
}

impl Empty {
    pub(super) fn new(label: &str) -> Result<Self> {
        let pod = Pod::new(label)?;
        pod.add_tap("tap0")?;
        Ok(Self { tapwire: Tapwire::new()?, pod })
    }

    /// Attaches with these options and detaches; how long each took.
    pub(super) fn there_and_back(&self, options: &[&str]) -> Result<(Duration, Duration)> {
        let attach = timed(&self.tapwire, &[&attach_arguments(&self.pod, BINDING), options].concat())?;
        let detach = timed(&self.tapwire, &["detach", BINDING])?;
        Ok((attach, detach))
    }

    /// Attaches under strace and detaches; what of it the kernel took.
    pub(super) fn traced(&self) -> Result<Traced> {
        let trace = self.tapwire.state().join("trace");
        let shown = trace.display().to_string();
        let runner = ["strace", "-f", "-qq", "-T", "-e", "trace=bpf", "-e", "signal=none", "-o", &shown];
        let output = self.tapwire.under(&runner, &attach_arguments(&self.pod, BINDING)).output().context("strace")?;
        ensure!(output.status.success(), "attach: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        self.tapwire.run(&["detach", BINDING])?;
        let text = fs::read_to_string(&trace).context("reading the trace")?;
        let traced = Traced::of(&text);
        ensure!(traced.load > Duration::ZERO, "no program was loaded: {text}");
        Ok(traced)
    }
}

/// How long the kernel worked on calls of one kind, of those that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traced {
    /// Verifying and compiling programs; several may be at it at once.
    pub(super) load: Duration,
    /// Attaching TCX links.
    pub(super) link: Duration,
}

impl Traced {
    fn of(trace: &str) -> Self {
        Self { load: time_in(trace, "(BPF_PROG_LOAD,"), link: time_in(trace, "(BPF_LINK_CREATE,") }
    }
}

/// Runs tapwire, which must succeed, and gives how long it took from its start to its end.
pub(super) fn timed(tapwire: &Tapwire, arguments: &[&str]) -> Result<Duration> {
    let mut command = tapwire.command(arguments);
    let start = Instant::now();
    let output = command.output().context("running tapwire")?;
    let time = start.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tapwire {} failed: {}", arguments.join(" "), said.trim_end());
    Ok(time)
}

/// Time of all calls of `command` that succeeded, from what strace wrote.
fn time_in(trace: &str, command: &str) -> Duration {
    let mut begun = HashMap::new();
    let mut seconds = 0.0;
    for line in trace.lines() {
        let Some((thread, call)) = line.trim_start().split_once(' ') else { continue };
        let counts =
            if call.contains("resumed>") { begun.remove(thread).unwrap_or(false) } else { call.contains(command) };
        if call.contains("<unfinished") {
            begun.insert(thread, counts);
        } else if counts && !call.contains("= -1 ") {
            let time = call.rsplit('<').next().and_then(|time| time.strip_suffix('>'));
            seconds += time.and_then(|time| time.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Traced;

    const TRACE: &str = "\
        71 bpf(BPF_MAP_CREATE, {map_type=BPF_MAP_TYPE_ARRAY}, 72) = 7 <0.000100>\n\
        71 bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_SCHED_CLS}, 148) = 8 <0.004000>\n\
        71 bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_SCHED_CLS}, 148 <unfinished ...>\n\
        72 bpf(BPF_OBJ_GET, {}, 72 <unfinished ...>\n\
        72 <... bpf resumed>) = 9 <1.0>\n\
        71 <... bpf resumed>) = 10 <0.002000>\n\
        71 bpf(BPF_LINK_CREATE, {link_create={prog_fd=10}}, 152) = 11 <0.014000>\n\
        71 bpf(BPF_LINK_CREATE, {link_create={prog_fd=10}}, 152) = -1 EBADF (Bad file descriptor) <2.0>\n\
        71 bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_SYSCALL}, 148) = -1 EINVAL (Invalid argument) <3.0>\n";

    #[test]
    fn calls_that_succeeded_are_added_and_nothing_else() {
        assert_eq!(Traced::of(TRACE), Traced { load: Duration::from_millis(6), link: Duration::from_millis(14) });
    }
}
