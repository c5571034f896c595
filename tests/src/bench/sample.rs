//! What a run leaves: one line for each measurement, and what the machine was.
//!
//! Every sample is kept, those too that do not count, so that a reader can make other figures of them than ours.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{cmd, tapwire::Tapwire};

/// Which way frames went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the guest to the network.
    ToNetwork,
    /// From the network to the guest.
    ToGuest,
    /// Both at once, or there and back.
    Both,
    /// No frame went: attach, memory.
    None,
}

impl Direction {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToNetwork => "to-network",
            Self::ToGuest => "to-guest",
            Self::Both => "both",
            Self::None => "-",
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was measured, such as `hop` or `tcp-1`.
    pub measure: String,
    /// On which path: a name of [`Kind`](super::path::Kind), or what else `measure` compares.
    pub path: String,
    /// Which way.
    pub direction: Direction,
    /// Octets of a frame or of a message, where that is given beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// In which round, from 0.
    pub round: u32,
    /// The figure.
    pub value: f64,
    /// Its unit, such as `ns/frame`.
    pub unit: String,
    /// Why the sample does not count, if it does not: frames were lost, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<String>,
}

/// All of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Layout of this file.
    pub version: u32,
    /// What it ran on.
    pub machine: Machine,
    /// Fewer rounds than a comparison should have.
    pub quick: bool,
    /// Paths that were left out, with the reason.
    pub missing: Vec<Missing>,
    /// What each path came to be: hooks, flags and qdiscs in words.
    pub paths: Vec<PathFacts>,
    /// Every measurement, in order.
    pub samples: Vec<Sample>,
}

/// A path that this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub path: String,
    /// Why.
    pub why: String,
}

/// How a path was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFacts {
    /// Its name.
    pub path: String,
    /// What it is made of.
    pub facts: String,
}

/// What a run was made on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the CPU.
    pub cpu: String,
    /// How many are online.
    pub cpus: usize,
    /// What runs below this kernel, as the CPU says: none on bare metal.
    pub hypervisor: bool,
    /// What the kernel does about faults of the CPU, those that it is concerned by.
    pub mitigations: Vec<String>,
    /// Of the eBPF compiler: 1 on.
    pub bpf_jit: String,
    /// Whether programs are compiled so that what they load is hidden from a guess: 0 no, 1 for users, 2 for all.
    pub bpf_jit_harden: String,
    /// Of new devices.
    pub default_qdisc: String,
    /// Processes that wanted a CPU when the run began: averages over 1, 5 and 15 minutes.
    pub load: String,
    /// `tapwire --version`.
    pub tapwire: String,
    /// Versions of the other programs.
    pub tools: Vec<String>,
}

/// Programs that a path or a measure may need, and what makes each say its version.
const TOOLS: [&[&str]; 6] = [
    &["ip", "-V"],
    &["nft", "--version"],
    &["iperf3", "--version"],
    &["passt", "--version"],
    &["dnsmasq", "--version"],
    &["qemu-system-x86_64", "--version"],
];

impl Machine {
    /// Looks.
    pub fn look(tapwire: &Tapwire) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo");
        let of_cpu = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, text)| text.trim().to_owned()).unwrap_or_default()
        };
        let version = tapwire.command(&["--version"]).output().context("asking tapwire for its version")?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: of_cpu("model name"),
            cpus: std::thread::available_parallelism()?.get(),
            hypervisor: of_cpu("flags").split(' ').any(|flag| flag == "hypervisor"),
            mitigations: mitigations(),
            bpf_jit: read("/proc/sys/net/core/bpf_jit_enable"),
            bpf_jit_harden: read("/proc/sys/net/core/bpf_jit_harden"),
            default_qdisc: read("/proc/sys/net/core/default_qdisc"),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            tapwire: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            tools: TOOLS.iter().filter_map(|line| tool(line)).collect(),
        })
    }
}

/// A short file of the kernel; empty where it has none.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn mitigations() -> Vec<String> {
    let Ok(folder) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return Vec::new() };
    let mut all: Vec<String> = folder
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let text = text.trim();
            (text != "Not affected").then(|| format!("{}: {text}", entry.file_name().to_string_lossy()))
        })
        .collect();
    all.sort();
    all
}

/// The first line that names a version. Some say it on the error output, or not at all.
fn tool(line: &[&str]) -> Option<String> {
    let output = cmd::command(line).ok()?.output().ok()?;
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let first = String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned();
    let name = line.first()?;
    Some(if first.contains(name) { first } else { format!("{name}: {first}") })
}
