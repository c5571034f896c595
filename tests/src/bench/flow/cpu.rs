//! The CPUs: where a thread runs, and how busy they are.
//!
//! The time is that of the whole machine. That of single processes would leave out what the kernel does on nobody's behalf, which
//! for a network is most of it.

use std::fs;

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    libc,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Clock ticks a second in `/proc/stat`: `USER_HZ`, which is 100 on every architecture that we build for.
const TICKS: f64 = 100.0;

/// Seconds that all CPUs together were busy since boot, without what a hypervisor took from them.
pub(super) fn busy() -> Result<f64> {
    parse(&fs::read_to_string("/proc/stat").context("reading /proc/stat")?)
}

/// Keeps the calling thread on the first CPU, and before all others there, as the pump is on the last.
pub(super) fn stay_on_first() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("staying on the first CPU")?;
    // SAFETY: no pointer is passed. 0 is the calling thread.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) }).context("going first")?;
    Ok(())
}

/// user, nice, system, idle, iowait, irq, softirq (proc(5)).
fn parse(stat: &str) -> Result<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).context("/proc/stat has no total")?;
    let ticks = line.split_whitespace().take(7).map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let busy = ticks.iter().enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, ticks)| ticks);
    Ok(busy.sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn idle_and_waiting_is_not_busy() {
        let busy = parse("cpu  100 20 300 9000 800 4 6 70 5 5\ncpu0 1 2 3 4 5 6 7\n").unwrap();
        assert!((busy - 4.3).abs() < 1e-9, "{busy}");
    }
}
