//! Calls the `tapwire` binary as a user would, and reads its JSON.
//!
//! State and pins are the demo's own, so that bindings that the machine really uses are never touched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lab::{Pod, wait::wait_for};
use serde_json::Value;

use super::{NAME, NIC, TAP};

const STATE: &str = "/run/tapwire-demo";
const BPFFS: &str = "/sys/fs/bpf/tapwire-demo";

/// The binary under demonstration.
#[derive(Debug)]
pub(super) struct Tapwire {
    binary: PathBuf,
}

impl Tapwire {
    pub(super) fn new(binary: &Path) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("no tapwire binary at {}", binary.display()))?;
        Ok(Self { binary })
    }

    fn call(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("TAPWIRE_STATE_DIR", STATE).env("TAPWIRE_BPFFS", BPFFS);
        let output = command.output().with_context(|| format!("running {}", self.binary.display()))?;
        if !output.status.success() {
            // One line: the error and its hint say all, and the usage that may follow is for people at a prompt.
            let said = String::from_utf8_lossy(&output.stderr);
            let lines = said.lines().filter(|line| line.starts_with("error:") || line.starts_with("hint:"));
            let why = lines.collect::<Vec<_>>().join("; ");
            bail!("tapwire {} failed ({}): {why}", arguments.join(" "), output.status);
        }
        String::from_utf8(output.stdout).context("tapwire wrote what is no text")
    }

    fn json(&self, arguments: &[&str]) -> Result<Binding> {
        let text = self.call(arguments)?;
        let value =
            serde_json::from_str(&text).with_context(|| format!("reading what tapwire {} says", arguments[0]))?;
        Ok(Binding(value))
    }

    pub(super) fn discover(&self, pod: &Pod) -> Result<String> {
        self.call(&["discover", "--netns", pod.namespace.name(), "--nic", NIC])
    }

    pub(super) fn attach(&self, pod: &Pod) -> Result<Binding> {
        let (netns, node) = (pod.namespace.name(), pod.node.name());
        let place = ["--netns", netns, "--node-netns", node, "--nic", NIC, "--tap", TAP, "--name", NAME];
        let mut line = vec!["attach"];
        line.extend(place);
        line.extend(["-o", "json"]);
        let binding = self.json(&line)?;
        ensure!(binding.state()? == "ready", "attach left the binding {}", binding.state()?);
        Ok(binding)
    }

    pub(super) fn lease_set(&self, change: &[&str]) -> Result<Binding> {
        self.json(&[&["lease", "set", NAME, "-o", "json"], change].concat())
    }

    pub(super) fn detach(&self) -> Result<()> {
        self.call(&["detach", NAME]).map(drop)
    }

    /// Detaches a binding that a killed demo left; whether there was one.
    pub(super) fn detach_leftover(&self) -> bool {
        Path::new(STATE).exists() && self.detach().is_ok()
    }

    pub(super) fn show(&self) -> Result<Binding> {
        self.json(&["show", NAME, "-o", "json"])
    }

    /// Looks until request and ack have both grown since `before`: a renewal takes the guest a moment.
    pub(super) fn show_until_counted(&self, before: &Binding) -> Result<Binding> {
        wait_for("the counters of DHCP requests and acks to grow", Duration::from_secs(20), || {
            let now = self.show()?;
            let grown = now.dhcp("request")? > before.dhcp("request")? && now.dhcp("ack")? > before.dhcp("ack")?;
            Ok(grown.then_some(now))
        })
    }

    /// Processes that run the binary, by what /proc says.
    pub(super) fn processes(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("reading /proc")? {
            let entry = entry?;
            // Not a process, or gone by now, or a thread of the kernel.
            let Ok(target) = fs::read_link(entry.path().join("exe")) else {
                continue;
            };
            let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // A binary that was replaced since shows as "tapwire (deleted)".
            if target == self.binary || name.trim_end_matches(" (deleted)") == "tapwire" {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }
}

/// Removes the demo's own state and pins, which after a detach hold nothing.
pub(super) fn forget() -> Result<()> {
    for folder in [STATE, BPFFS] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {folder}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A binding as `show -o json` describes it.
#[derive(Debug)]
pub(super) struct Binding(Value);

impl Binding {
    fn text(&self, path: &str) -> Result<&str> {
        let value = self.0.pointer(path).and_then(Value::as_str);
        value.with_context(|| format!("tapwire's JSON has no text at {path}"))
    }

    pub(super) fn state(&self) -> Result<&str> {
        self.text("/state")
    }

    pub(super) fn guest_mac(&self) -> Result<String> {
        self.text("/lease/mac").map(str::to_owned)
    }

    /// How frames go, in a few words.
    pub(super) fn wire(&self) -> Result<String> {
        let (hook, mode) = (self.text("/wire/hook")?, self.text("/wire/mac_mode")?);
        let (to_network, to_guest) = (self.text("/wire/to_network")?, self.text("/wire/to_guest")?);
        Ok(format!("hook {hook}, to-network by {to_network}, to-guest by {to_guest}, MAC mode {mode}"))
    }

    pub(super) fn dhcp(&self, message: &str) -> Result<u64> {
        let path = format!("/counters/dhcp/{message}");
        self.0.pointer(&path).and_then(Value::as_u64).with_context(|| format!("tapwire's JSON has no number at {path}"))
    }
}
