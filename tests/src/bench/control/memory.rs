//! What a binding keeps in memory while it does nothing: the processes that live in the pod's namespace.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{cmd, netns::Namespace, tapwire::Tapwire};

/// KiB of the processes in a pod's namespace, and of all that run this tapwire with its state: others may run the same
/// binary meanwhile. Of what is shared with others each has its
/// part (`Pss` of `smaps_rollup`).
pub(super) fn of(pod: &Namespace, tapwire: Option<&Tapwire>) -> Result<f64> {
    let pids = cmd::run(&["ip", "netns", "pids", pod.name()])?;
    let mut all: Vec<u32> = pids.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    if let Some(tapwire) = tapwire {
        let state = format!("TAPWIRE_STATE_DIR={}", tapwire.state().display());
        all.extend(tapwire.processes()?.into_iter().filter(|pid| has_variable(*pid, &state)));
    }
    all.sort_unstable();
    all.dedup();
    // A thread of ours may be in there for a moment.
    all.retain(|pid| *pid != std::process::id());
    all.iter().map(|pid| pss(&Path::new("/proc").join(pid.to_string()))).sum()
}

/// Whether a process was started with this in its environment; one that has ended was not.
fn has_variable(pid: u32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|octet| *octet == 0).any(|entry| entry == variable.as_bytes())
}

fn pss(process: &Path) -> Result<f64> {
    let path = process.join("smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    let kib = line.split_whitespace().next().context("no size")?;
    Ok(kib.parse()?)
}

#[cfg(test)]
mod tests {
    use super::{has_variable, pss};

    #[test]
    fn a_process_is_known_by_its_environment() {
        let mut sleep = crate::cmd::command(&["sleep", "60"]).unwrap();
        let child = crate::cmd::Running::start(sleep.env("LAB_MARK", "a b")).unwrap();
        let pid = u32::try_from(child.pid()).unwrap();
        crate::wait::wait_until("sleep to run", std::time::Duration::from_secs(5), || {
            Ok(has_variable(pid, "LAB_MARK=a b"))
        })
        .unwrap();
        assert!(!has_variable(pid, "LAB_MARK=a"));
    }

    #[test]
    fn a_process_has_a_size() {
        let own = pss(std::path::Path::new("/proc/self")).unwrap();
        assert!(own > 100.0, "{own}");
    }
}
