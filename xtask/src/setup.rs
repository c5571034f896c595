//! Finds what a machine lacks to build, test and show tapwire, and installs it.
//!
//! One table of needs drives it all: what each is for, how to see that it is there, and what brings it. With nothing
//! missing it takes a fraction of a second, so every other chore begins with it.

pub(crate) mod apt;
pub(crate) mod backports;
mod needs;

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use clap::Args;

use self::needs::{BPFFS, Found, NEEDS, Need, Remedy};
use crate::step;

/// The one version of bpf-linker: later ones dropped or renamed what makes it build against a distribution's LLVM.
const LINKER: &str = "bpf-linker@0.10.3";
const LLVM: &str = "/usr/lib/llvm-22";
/// Judges the dependencies. This version needs no TLS and no git of its own to build.
const DENY: &str = "cargo-deny@0.20.2";
/// Lists the dependencies (SBOM).
const CYCLONEDX: &str = "cargo-cyclonedx@0.5.9";

/// What `cargo xtask setup` takes.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only say what is missing, and fail if anything is
    #[arg(long)]
    check: bool,
}

/// Installs what is missing, or only reports it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        println!("==> setup: nothing is missing");
        return Ok(());
    }
    println!("==> setup: missing");
    for need in &missing {
        println!("    {:<22} {}; from: {}", need.name, need.why, need.remedy.shown());
    }
    if options.check {
        bail!("setup: {} missing; run: cargo xtask setup", names(&missing));
    }
    privileges(&missing)?;
    remedy(&missing)?;

    let left = self::missing();
    if left.is_empty() {
        println!("==> setup: nothing is missing any more");
        return Ok(());
    }
    let remedies: BTreeSet<String> = left.iter().map(|need| need.remedy.by_hand()).collect();
    let remedies: Vec<String> = remedies.into_iter().collect();
    bail!("setup: still missing {}; remedy: {}", names(&left), remedies.join("; "))
}

fn missing() -> Vec<&'static Need> {
    let found = Found::look();
    NEEDS.iter().filter(|need| !need.is_met(&found)).collect()
}

fn names(needs: &[&Need]) -> String {
    needs.iter().map(|need| need.name).collect::<Vec<_>>().join(", ")
}

/// Refuses early what only root can do, and what only apt can.
fn privileges(missing: &[&Need]) -> Result<()> {
    let of_root: Vec<&Need> = missing.iter().copied().filter(|need| need.remedy.needs_root()).collect();
    let packages = packages(missing);
    let uses_apt = !packages.is_empty() || missing.iter().any(|need| matches!(need.remedy, Remedy::AptLists));
    if uses_apt && !apt::is_there() {
        let words: Vec<String> = missing.iter().map(|need| format!("{} ({})", need.name, need.why)).collect();
        bail!("setup: there is no apt here; install by hand, then try again: {}", words.join(", "));
    }
    if of_root.is_empty() || nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let mut commands = Vec::new();
    if uses_apt {
        commands.push("sudo apt-get update".to_owned());
    }
    if !packages.is_empty() {
        commands.push(format!("sudo apt-get install -y --no-install-recommends {}", packages.join(" ")));
    }
    if missing.iter().any(|need| matches!(need.remedy, Remedy::MountBpffs)) {
        commands.push(format!("sudo mount -t bpf bpf {BPFFS}"));
    }
    bail!("setup: only root can install {}; run: {}", names(&of_root), commands.join(" && "))
}

fn packages(missing: &[&Need]) -> Vec<&'static str> {
    let all = missing.iter().filter_map(|need| match need.remedy {
        Remedy::Apt(packages) => Some(packages),
        _ => None,
    });
    let unique: BTreeSet<&str> = all.flatten().copied().collect();
    unique.into_iter().collect()
}

/// Applies the remedies: apt first, for what the others build on.
fn remedy(missing: &[&Need]) -> Result<()> {
    let packages = packages(missing);
    let lists = missing.iter().any(|need| matches!(need.remedy, Remedy::AptLists));
    if lists || !packages.is_empty() {
        step::timed("apt-get update", apt::update)?;
    }
    if !packages.is_empty() {
        let headline = format!("apt-get install {}", packages.join(" "));
        step::timed(&headline, || apt::install(&packages))?;
    }
    for need in missing {
        match need.remedy {
            Remedy::Linker => step::timed(&format!("cargo install {LINKER} (about two minutes)"), install_linker)?,
            Remedy::Cargo(tool) => {
                step::timed(&format!("cargo install {tool} (about two minutes)"), || install_tool(tool))?;
            }
            Remedy::Link => step::timed("rustup toolchain link tapwire-bpf /usr", link_toolchain)?,
            Remedy::MountBpffs => step::timed(&format!("mount bpffs on {BPFFS}"), mount_bpffs)?,
            Remedy::Apt(_) | Remedy::AptLists => {}
        }
    }
    Ok(())
}

fn install_linker() -> Result<()> {
    // Its feature of this name binds it to the distribution's LLVM, which outlives an update of the host's rustc.
    let features = ["--no-default-features", "--features", "llvm-22"];
    step::quiet(step::cargo().env("LLVM_PREFIX", LLVM).args(["install", "--locked", LINKER]).args(features))
}

/// Built quickly rather than well: they run for a second.
fn install_tool(tool: &str) -> Result<()> {
    let quick = [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "1"), ("DEBUG", "false")];
    let quick = quick.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value));
    step::quiet(step::cargo().envs(quick).args(["install", "--locked", tool]))
}

fn link_toolchain() -> Result<()> {
    step::quiet(Command::new("rustup").args(["toolchain", "link", "tapwire-bpf", "/usr"]))
}

fn mount_bpffs() -> Result<()> {
    step::quiet(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]).stdin(Stdio::null()))
}
