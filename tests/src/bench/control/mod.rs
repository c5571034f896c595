//! What there is beside frames: attach, detach, leases, memory.

mod attach;
mod dhcp;
mod many;
mod memory;

use std::time::Duration;

use anyhow::{Context as _, Result};

use self::{
    attach::{Empty, Traced},
    dhcp::Client,
    many::Node,
};
use super::{
    path::{Joined, Kind},
    report::{
        self,
        measures::{ACK, ATTACH, DETACH, LINK, LOAD, MEMORY, NTH, OFFER},
    },
    sample::{Direction, Run, Sample},
    session::{Measure, Session},
};
use crate::{
    bridge::BRIDGE,
    dnsmasq::{Dnsmasq, DnsmasqConfig},
};

/// This measure.
pub const MEASURE: Measure =
    Measure { name: "control", about: "attach, leases, memory", in_quick: true, takes, run, table };

/// How attach without TCX is called.
const CLSACT: &str = "tapwire-clsact";

/// About how long an attach takes, with what is around it.
const STEP: Duration = Duration::from_millis(120);
/// What strace adds to that.
const TRACED: Duration = Duration::from_millis(100);
/// About how long all leases take, with the paths that they are taken on.
const LEASES: Duration = Duration::from_secs(2);

/// How often each is done.
#[derive(Clone, Copy, Debug)]
struct Counts {
    attach: u32,
    lease: u32,
    traced: u32,
    many: u32,
}

const FULL: Counts = Counts { attach: 200, lease: 500, traced: 10, many: 1000 };
const QUICK: Counts = Counts { attach: 15, lease: 100, traced: 2, many: 100 };
/// Bindings at either end of the many, of which the medians are compared.
const BAND: u32 = 20;

fn counts(session: &Session) -> Counts {
    if session.quick() { QUICK } else { FULL }
}

fn takes(session: &Session) -> Duration {
    let Counts { attach, traced, many, .. } = counts(session);
    (STEP + TRACED) * traced + STEP * (2 * attach + many) + LEASES
}

fn run(session: &mut Session) -> Result<()> {
    attaches(session).context("attach and detach")?;
    leases(session).context("leases")?;
    many(session).context("many bindings")
}

fn table(run: &Run) -> String {
    report::table::measures(run, &[ATTACH, DETACH, LOAD, LINK, NTH, OFFER, ACK, MEMORY])
}

fn sample(measure: &str, path: &str, round: u32, value: f64, unit: &str) -> Sample {
    let (measure, path, unit) = (measure.to_owned(), path.to_owned(), unit.to_owned());
    Sample { measure, path, direction: Direction::None, size: None, round, value, unit, void: None }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn attaches(session: &mut Session) -> Result<()> {
    let counts = counts(session);
    let ours = Kind::Tapwire.name();
    let pod = Empty::new("control")?;
    // The first one reads everything from disk.
    pod.there_and_back(&[])?;
    for round in 0..counts.attach {
        for (name, options) in [(ours, &[][..]), (CLSACT, &["--hook", "clsact"])] {
            let (attach, detach) = pod.there_and_back(options)?;
            session.record(sample(ATTACH, name, round, milliseconds(attach), "ms"));
            session.record(sample(DETACH, name, round, milliseconds(detach), "ms"));
            session.worked(STEP);
        }
    }
    for round in 0..counts.traced {
        let Traced { load, link } = pod.traced()?;
        session.record(sample(LOAD, ours, round, milliseconds(load), "ms"));
        session.record(sample(LINK, ours, round, milliseconds(link), "ms"));
        session.worked(STEP + TRACED);
    }
    Ok(())
}

/// tapwire beside a bridge with a server in user space, which stands for the one in `KubeVirt`'s launcher.
fn leases(session: &mut Session) -> Result<()> {
    let counts = counts(session);
    let (ours, bridge) = (Kind::Tapwire.join("lease")?, Kind::Bridge.join("lease")?);
    let mac = bridge.guest.mac.map(|octet| format!("{octet:02x}")).join(":");
    let config = DnsmasqConfig { on_link: false, ..DnsmasqConfig::for_default_pod(BRIDGE, &mac) };
    let _server = Dnsmasq::start(bridge.tap_namespace(), &config)?;
    let paths: [(&str, &Joined); 2] = [(ours.kind.name(), &ours), ("bridge+dnsmasq", &bridge)];
    let mut clients = paths
        .iter()
        .map(|(name, joined)| Ok((*name, Client::new(joined).with_context(|| (*name).to_owned())?)))
        .collect::<Result<Vec<_>>>()?;
    for round in 0..counts.lease {
        for (name, client) in &mut clients {
            let times = client.lease().with_context(|| format!("a lease by {name}"))?;
            session.record(sample(OFFER, name, round, times.offer, "µs"));
            session.record(sample(ACK, name, round, times.ack, "µs"));
        }
    }
    for (name, joined) in paths {
        let size = memory::of(joined.tap_namespace(), joined.tapwire())?;
        session.record(sample(MEMORY, name, 0, size, "KiB"));
    }
    Ok(())
}

fn many(session: &mut Session) -> Result<()> {
    let counts = counts(session);
    let mut node = Node::new()?;
    for round in 0..counts.many {
        let band = band(round, counts.many);
        session.record(sample(NTH, &band, round, milliseconds(node.add()?), "ms"));
        session.worked(STEP);
    }
    Ok(())
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
