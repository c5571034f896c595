//! Installing Debian packages with as few side effects as apt can be asked for.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{backports::View, needs::program};
use crate::step;

const LISTS: &str = "/var/lib/apt/lists";
/// Never at the price of something that the user has: Debian's rustc-web, for one, cannot stand beside its rustc.
pub(super) const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--no-remove"];

/// Whether this machine has apt at all.
pub(super) fn is_there() -> bool {
    program("apt-get")
}

/// Whether apt has fetched the lists of some suite. `apt-cache` would tell as well, but takes a second.
pub(super) fn has_lists() -> bool {
    let Ok(folder) = fs::read_dir(Path::new(LISTS)) else {
        return false;
    };
    folder.flatten().any(|file| file.file_name().to_string_lossy().contains("_Packages"))
}

/// Fetches the lists.
pub(super) fn update() -> Result<()> {
    step::quiet(apt_get().arg("update"))
}

/// Installs those of the packages that the machine's suites have; the probes afterwards name what is still missing.
///
/// What these suites have may not fit beside what was installed from backports. Such a package comes from there as well.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let known: Vec<&str> = packages.iter().copied().filter(|package| is_known(package)).collect();
    let (plain, others) = if can_install(&known) {
        (known, Vec::new())
    } else {
        known.into_iter().partition(|package| can_install(&[package]))
    };
    if !plain.is_empty() {
        step::quiet(apt_get().args(INSTALL).args(plain))?;
    }
    if others.is_empty() {
        return Ok(());
    }
    let view = View::make().with_context(|| format!("apt cannot install {} beside what is here", others.join(", ")))?;
    println!("    from {}, since the machine's suites do not fit: {}", view.suite(), others.join(" "));
    view.install(&others)
}

/// Whether the machine's suites serve for these packages, all at once.
fn can_install(packages: &[&str]) -> bool {
    let simulation = apt_get().arg("--simulate").args(INSTALL).args(packages).output();
    simulation.is_ok_and(|output| output.status.success())
}

fn is_known(package: &str) -> bool {
    let Ok(output) = Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)"))
}

/// apt without questions.
pub(crate) fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Another apt may run, on a fresh cloud machine nearly always: wait for it.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]);
    command
}
