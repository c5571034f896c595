//! Whether a journal that was read makes sense. Its names become paths and devices: one that was damaged, edited or copied
//! must not lead to what belongs to another.

use std::path::Path;

use super::Journal;
use crate::{datapath::hook, portal::PREFIX, request::check_name};

/// What is wrong with it, if anything.
pub(super) fn check(path: &Path, journal: &Journal) -> Result<(), String> {
    check_name(&journal.name).map_err(|error| error.to_string())?;
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(&journal.name) {
        return Err(format!("it is the journal of {:?}", journal.name));
    }
    let (nic, tap) = (&journal.nic.name, &journal.tap.name);
    let (portal, host_side) = journal.portal.as_ref().map(|portal| (&portal.name, &portal.host_side)).unzip();
    let devices = [Some(nic), Some(tap), journal.tap.made_as.as_ref(), portal, host_side];
    for device in devices.into_iter().flatten() {
        if !is_device(device) {
            return Err(format!("no interface can be called {device:?}"));
        }
    }
    for hook in &journal.hooks {
        if !is_program(&hook.program) {
            return Err(format!("no program is called {:?}", hook.program));
        }
    }
    let (in_node, in_pod): (Vec<_>, Vec<_>) = journal.hooks.iter().partition(|hook| hook.is_in_node());
    if let Some(other) = in_node.iter().find(|hook| ![portal, host_side].contains(&Some(&hook.device))) {
        return Err(format!("{:?} is neither its portal nor its host side", other.device));
    }
    if portal.is_some_and(|name| !name.starts_with(PREFIX)) {
        return Err("its portal is not called like one".to_owned());
    }
    let hung = in_pod.iter().map(|hook| &hook.device).chain(&journal.clsact_made);
    match hung.into_iter().find(|device| ![nic, tap].contains(device)) {
        Some(other) => Err(format!("{other:?} is neither its pod NIC nor its tap")),
        None => Ok(()),
    }
}

/// `dev_valid_name()` of the kernel: what can be a segment of a path below /proc/sys.
fn is_device(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| matches!(c, '/' | ':') || c.is_ascii_whitespace())
}

/// The name becomes that of a pin.
fn is_program(name: &str) -> bool {
    hook::is_ours(name) && name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
