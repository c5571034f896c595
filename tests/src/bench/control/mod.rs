//! What there is beside frames: attach, detach, leases, memory.

mod attach;
mod dhcp;
mod many;
mod memory;

use std::time::Duration;

use anyhow::{Context as _, Result};

use self::{attach::Empty, dhcp::Client, many::Node};
use super::{
    path::{Joined, Kind},
    report::measures::{ACK, ATTACH, DETACH, LOAD, MEMORY, NTH, OFFER},
    sample::{Direction, Sample},
};
use crate::{
    bridge::BRIDGE,
    dnsmasq::{Dnsmasq, DnsmasqConfig},
};

/// How often each is done.
#[derive(Clone, Copy, Debug)]
struct Counts {
    attach: u32,
    lease: u32,
    load: u32,
    many: u32,
}

const FULL: Counts = Counts { attach: 200, lease: 500, load: 10, many: 1000 };
const QUICK: Counts = Counts { attach: 30, lease: 100, load: 3, many: 100 };
/// Bindings at either end of the many, of which the medians are compared.
const BAND: u32 = 20;

/// Everything that is measured here. `step` hears what is done next, once for each of the [`steps`].
pub fn run(quick: bool, step: &mut dyn FnMut(&str)) -> Result<Vec<Sample>> {
    let counts = if quick { QUICK } else { FULL };
    let mut all = attaches(counts, step).context("attach and detach")?;
    all.extend(leases(counts, step).context("leases")?);
    all.extend(many(counts, step).context("many bindings")?);
    Ok(all)
}

/// How many steps [`run`] tells of.
pub fn steps(quick: bool) -> u64 {
    let Counts { attach, lease, load, many } = if quick { QUICK } else { FULL };
    u64::from(attach + lease + load + many)
}

fn sample(measure: &str, path: &str, round: u32, value: f64, unit: &str) -> Sample {
    let (measure, path, unit) = (measure.to_owned(), path.to_owned(), unit.to_owned());
    Sample { measure, path, direction: Direction::None, size: None, round, value, unit, void: None }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn attaches(counts: Counts, step: &mut dyn FnMut(&str)) -> Result<Vec<Sample>> {
    let ours = Kind::Tapwire.name();
    let pod = Empty::new("control")?;
    let mut all = Vec::new();
    // The first one reads everything from disk.
    pod.there_and_back()?;
    for round in 0..counts.attach {
        step("attach and detach");
        let (attach, detach) = pod.there_and_back()?;
        all.push(sample(ATTACH, ours, round, milliseconds(attach), "ms"));
        all.push(sample(DETACH, ours, round, milliseconds(detach), "ms"));
    }
    for round in 0..counts.load {
        step("loading the programs");
        all.push(sample(LOAD, ours, round, milliseconds(pod.load()?), "ms"));
    }
    Ok(all)
}

/// tapwire beside a bridge with a server in user space, which stands for the one in `KubeVirt`'s launcher.
fn leases(counts: Counts, step: &mut dyn FnMut(&str)) -> Result<Vec<Sample>> {
    let (ours, bridge) = (Kind::Tapwire.join("lease")?, Kind::Bridge.join("lease")?);
    let mac = bridge.guest.mac.map(|octet| format!("{octet:02x}")).join(":");
    let config = DnsmasqConfig { on_link: false, ..DnsmasqConfig::for_default_pod(BRIDGE, &mac) };
    let _server = Dnsmasq::start(bridge.tap_namespace(), &config)?;
    let paths: [(&str, &Joined); 2] = [(ours.kind.name(), &ours), ("bridge+dnsmasq", &bridge)];
    let mut clients = paths
        .iter()
        .map(|(name, joined)| Ok((*name, Client::new(joined).with_context(|| (*name).to_owned())?)))
        .collect::<Result<Vec<_>>>()?;
    let mut all = Vec::new();
    for round in 0..counts.lease {
        step("leases");
        for (name, client) in &mut clients {
            let times = client.lease().with_context(|| format!("a lease by {name}"))?;
            all.push(sample(OFFER, name, round, times.offer, "µs"));
            all.push(sample(ACK, name, round, times.ack, "µs"));
        }
    }
    for (name, joined) in paths {
        let size = memory::of(joined.tap_namespace(), joined.tapwire())?;
        all.push(sample(MEMORY, name, 0, size, "KiB"));
    }
    Ok(all)
}

fn many(counts: Counts, step: &mut dyn FnMut(&str)) -> Result<Vec<Sample>> {
    let mut node = Node::new()?;
    let mut all = Vec::new();
    for round in 0..counts.many {
        step("many bindings");
        let band = band(round, counts.many);
        all.push(sample(NTH, &band, round, milliseconds(node.add()?), "ms"));
    }
    Ok(all)
}

/// The first bindings, the last ones, and those between.
fn band(at: u32, count: u32) -> String {
    let (first, last) = match at {
        at if at < BAND => (0, BAND),
        at if at >= count - BAND => (count - BAND, count),
        _ => (BAND, count - BAND),
    };
    format!("bindings {} to {last}", first + 1)
}

#[cfg(test)]
mod tests {
    use super::band;

    #[test]
    fn first_and_last_bindings_have_a_band_of_their_own() {
        let bands = [0, 19, 20, 979, 980, 999].map(|at| band(at, 1000));
        let first = "bindings 1 to 20";
        let (middle, last) = ("bindings 21 to 980", "bindings 981 to 1000");
        assert_eq!(bands, [first, first, middle, middle, last, last]);
    }
}
