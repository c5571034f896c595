//! tapwire, with its defaults or with one way of it turned off.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Joined, Kind, Maker, quiet_pod};
use crate::{scene::BINDING, tapwire::Tapwire};

/// Why there is no tapwire to measure.
pub(super) fn missing() -> Option<String> {
    Tapwire::new().err().map(|error| format!("{error:#}"))
}

/// Attaches with the ways named: to-network, then to-guest. An empty list leaves both to tapwire.
pub(super) fn join(kind: Kind, label: &str, ways: &[&str]) -> Result<Joined> {
    attached(kind, label, ways, &[])
}

/// tapwire with its defaults, but for these options.
pub fn with_options(label: &str, options: &[&str]) -> Result<Joined> {
    attached(Kind::Tapwire, label, &[], options)
}

fn attached(kind: Kind, label: &str, ways: &[&str], more: &[&str]) -> Result<Joined> {
    let pod = quiet_pod(label)?;
    let tapwire = Tapwire::new()?;
    let help = tapwire.run(&["attach", "--help"])?;
    // A binary from before the portal has one way to the guest, and no flag for it.
    let flags = [("--to-network", "to_network"), ("--to-guest", "to_guest")];
    let asked = flags.iter().zip(ways).filter(|((flag, _), _)| help.contains(flag));
    let options: Vec<&str> =
        asked.clone().flat_map(|((flag, _), way)| [*flag, *way]).chain(more.iter().copied()).collect();
    let shown = tapwire.attach(&pod, BINDING, &options)?;
    let wire = &shown["wire"];
    for ((_, key), way) in asked {
        ensure!(wire[key] == *way, "{key} is {} in place of {way}", wire[key]);
    }
    let facts = facts(wire, &options);
    Joined::in_pod(kind, pod, Maker::Tapwire(tapwire), facts)
}

fn facts(wire: &Value, options: &[&str]) -> String {
    let word = |key: &str| wire[key].as_str().unwrap_or("-").to_owned();
    let (hook, network, guest, mac) = (word("hook"), word("to_network"), word("to_guest"), word("mac_mode"));
    let guard = if wire["guard"] == true { "on" } else { "off" };
    let asked = if options.is_empty() { "its defaults".to_owned() } else { options.join(" ") };
    format!("{asked}: hook {hook}, to-network {network}, to-guest {guest}, MAC mode {mac}, guard {guard}")
}
