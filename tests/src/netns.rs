//! Network namespaces that remove themselves.
//!
//! Their names carry the process id, so that parallel runs do not meet and a later run can tell what a killed one left.
//! Commands are started from a thread that has entered the namespace, not with `ip netns exec`: that gives the command a
//! private /sys, where pins of eBPF programs vanish with the command.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cmd::{self, Running},
    wait::{wait_for, wait_until},
};

/// Prefix of the namespaces of tests.
pub const PREFIX: &str = "twt-";
/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";
/// Where `ip netns exec`, and tapwire, look for files of a named namespace.
const FILES: &str = "/etc/netns";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A named network namespace with `lo` up; dropping it kills what runs in it and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace `twt-PID-N-label`.
    pub fn new(label: &str) -> Result<Self> {
        Self::with_prefix(PREFIX, label)
    }

    /// A new namespace with another prefix than that of tests.
    pub fn with_prefix(prefix: &str, label: &str) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}{}-{number}-{label}", std::process::id());
        // The first two processes that ever call `ip netns add` on a machine race for the mount of its folder.
        wait_for(&format!("namespace {name}"), Duration::from_secs(2), || {
            Ok(cmd::run(&["ip", "netns", "add", &name]).ok())
        })?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name, as `ip netns` and `--netns` take it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(NAMES).join(&self.name)
    }

    /// Runs a closure on a thread of its own that has entered the namespace. Files that the closure opens stay in it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(self.path()).with_context(|| format!("opening namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(&file, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
                work()
            });
            thread.join().map_err(|_| anyhow!("a thread in namespace {} panicked", self.name))?
        })
    }

    /// Runs a command in the namespace to its end and gives its standard output.
    pub fn exec<S: AsRef<OsStr> + Sync>(&self, args: &[S]) -> Result<String> {
        self.run(|| cmd::run(args)).with_context(|| format!("in namespace {}", self.name))
    }

    /// [`exec`](Self::exec) of `ip`.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut line = vec!["ip"];
        line.extend_from_slice(args);
        self.exec(&line)
    }

    /// Waits until the kernel has taken notice of a link's carrier. Before that, queues and bridges drop what would go out
    /// of it, although the carrier is there already.
    pub fn wait_for_carrier(&self, link: &str) -> Result<()> {
        wait_until(&format!("carrier on {link}"), Duration::from_secs(5), || {
            Ok(self.ip(&["-br", "link", "show", "dev", link])?.split_whitespace().nth(1) == Some("UP"))
        })
    }

    /// Starts a command in the namespace; it is killed when the result is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Running> {
        // A child belongs to the namespace of the thread that started it.
        self.run(|| Running::start(command)).with_context(|| format!("in namespace {}", self.name))
    }

    /// Sets a sysctl of the namespace, named by its path below /proc/sys.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = PathBuf::from("/proc/sys").join(name);
        self.run(|| fs::write(&path, value).with_context(|| format!("writing {}", path.display())))
    }

    /// Gives the namespace a resolv.conf at the place where `ip netns` has it; it goes with the namespace.
    pub fn set_resolv_conf(&self, text: &str) -> Result<PathBuf> {
        let folder = PathBuf::from(FILES).join(&self.name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let path = folder.join("resolv.conf");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("namespace {} is left behind: {error:#}", self.name);
        }
    }
}

/// Removes the namespaces with this prefix whose process is dead, with what runs in them; gives their names.
pub fn clean_leftovers(prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in [NAMES, FILES] {
        // Neither folder exists before the first namespace was made.
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if owner(prefix, &name).is_some_and(is_dead) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    for name in &names {
        remove(name)?;
    }
    Ok(names)
}

/// The process that made a namespace, from its name.
fn owner(prefix: &str, name: &str) -> Option<i32> {
    name.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}

/// Whether a process is gone, or a zombie that an idle process 1 of a container never reaps.
fn is_dead(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // The state follows the name, which is in brackets and may hold anything.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn remove(name: &str) -> Result<()> {
    if PathBuf::from(NAMES).join(name).exists() {
        wait_until("the end of the processes in it", Duration::from_secs(3), || Ok(kill_all(name)? == 0))?;
        cmd::run(&["ip", "netns", "del", name])?;
    }
    match fs::remove_dir_all(PathBuf::from(FILES).join(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("removing its files"),
        _ => Ok(()),
    }
}

/// Kills what runs in a namespace and tells how many there were.
fn kill_all(name: &str) -> Result<usize> {
    let own = std::process::id().to_string();
    let pids = cmd::run(&["ip", "netns", "pids", name])?;
    let mut count = 0;
    for pid in pids.split_whitespace().filter(|pid| *pid != own) {
        // Gone in the meantime is as good.
        let _ = kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL);
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("twt-", "twt-123-4-pod"), Some(123));
        assert_eq!(owner("twd-", "twt-123-4-pod"), None);
        assert_eq!(owner("twt-", "twt-mine"), None);
    }
}
