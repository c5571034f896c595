//! A macvtap on the pod NIC, as Kata's macvtap model makes it: mode `bridge`, the guest has the pod's MAC, and the pod NIC
//! another one and no address. What the VM monitor opens is a character device.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::{Context as _, Result};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

use super::{Joined, Kind, Maker, TAP, quiet_pod};
use crate::netns::Namespace;

/// MAC that the pod NIC is given.
const NIC_MAC: &str = "02:74:77:00:00:02";

/// Why there is none, which only a trial tells: the kernel's module may have to be loaded first.
pub(super) fn missing() -> Option<String> {
    let trial = join("trial").and_then(|path| path.open(crate::Offloads::Virtio));
    trial.err().map(|error| format!("a trial failed: {error:#}"))
}

pub(super) fn join(label: &str) -> Result<Joined> {
    let pod = quiet_pod(label)?;
    let (inside, nic) = (&pod.namespace, pod.nic.as_str());
    inside.ip(&["addr", "flush", "dev", nic])?;
    inside.ip(&["link", "set", nic, "address", NIC_MAC])?;
    inside.ip(&["link", "add", "link", nic, "name", TAP, "address", &pod.mac, "type", "macvtap", "mode", "bridge"])?;
    inside.ip(&["link", "set", TAP, "up"])?;
    let folder = TempDir::with_prefix("twt-macvtap-")?;
    make_node(inside, &folder.path().join(TAP))?;
    let facts = "macvtap in mode bridge on the pod NIC, whose MAC the guest has".to_owned();
    Joined::in_pod(Kind::Macvtap, pod, Maker::Macvtap(folder), facts)
}

/// Makes the device's file, for which nobody but udev knows a place. The kernel tells its number in the namespace's /sys.
fn make_node(namespace: &Namespace, path: &Path) -> Result<()> {
    let glob = format!("cat /sys/class/net/{TAP}/macvtap/tap*/dev");
    let text = crate::cmd::run(&["ip", "netns", "exec", namespace.name(), "sh", "-c", &glob])?;
    let numbers =
        text.trim().split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major, minor) = numbers.with_context(|| format!("not the number of a device: {text:?}"))?;
    mknod(path.as_os_str().as_bytes(), SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor))
        .with_context(|| format!("making {}", path.display()))
}
