//! Flows through a pump: what programs in a guest see of each path.
//!
//! All paths are there at once. The paths are the innermost loop, and each round begins with another one, so that what
//! disturbs the machine disturbs all, and none is always the one after the busiest.

mod awake;
pub mod bed;
mod connects;
mod cpu;
pub mod iperf;
mod latency;

use std::time::Duration;

use anyhow::Result;

use self::{awake::Awake, bed::Bed, iperf::Load};
use super::{
    report::{
        self,
        measures::{AWAKE_P50, AWAKE_P99, CONNECTS, CPU, P50, P99, P999, TCP_1, TCP_8, UDP_64, UDP_1400},
    },
    sample::{
        Direction::{self, Both, ToGuest, ToNetwork},
        Run, Sample,
    },
    session::{Measure, Session},
};

/// This measure.
pub const MEASURE: Measure =
    Measure { name: "flow", about: "flows through the pump", in_quick: true, takes, run, table };

/// Rounds of a full run.
const ROUNDS: u32 = 5;
/// Rounds of a quick run.
const QUICK_ROUNDS: u32 = 2;
/// About how long one measurement takes.
const STEP: Duration = Duration::from_millis(1300);
/// The same in a quick run.
const QUICK_STEP: Duration = Duration::from_millis(350);
/// About how long a path with its guest takes to be made and taken away.
const BED: Duration = Duration::from_secs(1);

/// Data of a datagram in a frame of 64 octets: without the headers of Ethernet, IPv4 and UDP.
pub(super) const SMALL: u32 = 64 - 14 - 20 - 8;
/// Requests of a round.
const REQUESTS: usize = 20_000;
/// The same in a quick run.
const QUICK_REQUESTS: usize = 4000;
/// Connections of a round.
const CONNECTIONS: u32 = 3000;
/// The same in a quick run.
const QUICK_CONNECTIONS: u32 = 1000;

/// In a quick run fewer than others do: a flow takes long.
fn rounds(session: &Session) -> u32 {
    if session.quick() { QUICK_ROUNDS } else { ROUNDS }
}

fn step(session: &Session) -> Duration {
    if session.quick() { QUICK_STEP } else { STEP }
}

fn takes(session: &Session) -> Duration {
    let beds = u32::try_from(session.kinds().len()).unwrap_or(u32::MAX);
    let flows = u32::try_from(Flow::of_run(session.quick()).len()).unwrap_or(u32::MAX);
    beds * (BED + step(session) * flows * rounds(session))
}

fn run(session: &mut Session) -> Result<()> {
    let mut beds = Vec::new();
    for kind in session.kinds() {
        let joined = session.join(kind, "flow")?;
        match Bed::of(kind.name(), joined) {
            Ok(bed) => beds.push(bed),
            Err(error) => session.leave_out(kind, format!("flows: {error:#}")),
        }
        session.worked(BED);
    }
    let quick = session.quick();
    for round in 0..rounds(session) {
        for flow in Flow::of_run(quick) {
            for bed in turned(&beds, round) {
                flow.sample(bed, round, quick).into_iter().for_each(|sample| session.record(sample));
                session.worked(step(session));
            }
        }
    }
    Ok(())
}

fn table(run: &Run) -> String {
    report::table::measures(run, &[TCP_1, TCP_8, UDP_64, UDP_1400, P50, P99, P999, AWAKE_P50, AWAKE_P99, CONNECTS, CPU])
}

/// One measurement on one path, which may give several figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// iperf3.
    Iperf(Load, Direction),
    /// Request-response, with CPUs that sleep when they may.
    Latency,
    /// Request-response, with CPUs that are kept awake.
    AwakeLatency,
    /// Connections per second.
    Connects,
}

/// All of a full run. Request-response comes twice: of all measures it depends most on what the machine does beside.
const FULL: [Flow; 15] = [
    Flow::Latency,
    Flow::AwakeLatency,
    Flow::Iperf(Load::Tcp(1), ToNetwork),
    Flow::Iperf(Load::Tcp(1), ToGuest),
    Flow::Iperf(Load::Tcp(1), Both),
    Flow::Iperf(Load::Tcp(8), ToNetwork),
    Flow::Iperf(Load::Tcp(8), ToGuest),
    Flow::Iperf(Load::Tcp(8), Both),
    Flow::Iperf(Load::Udp(SMALL), ToNetwork),
    Flow::Iperf(Load::Udp(SMALL), ToGuest),
    Flow::Iperf(Load::Udp(1400), ToNetwork),
    Flow::Iperf(Load::Udp(1400), ToGuest),
    Flow::Latency,
    Flow::AwakeLatency,
    Flow::Connects,
];

/// Those of a quick run: without the ones that say least.
const QUICK: [Flow; 5] = [
    Flow::Iperf(Load::Tcp(1), ToNetwork),
    Flow::Iperf(Load::Tcp(1), ToGuest),
    Flow::Latency,
    Flow::AwakeLatency,
    Flow::Connects,
];

impl Flow {
    /// What a run measures.
    pub fn of_run(quick: bool) -> &'static [Self] {
        if quick { &QUICK } else { &FULL }
    }

    /// Name of its first measure.
    pub fn measure(self) -> &'static str {
        match self {
            Self::Iperf(Load::Tcp(1), _) => TCP_1,
            Self::Iperf(Load::Tcp(_), _) => TCP_8,
            Self::Iperf(Load::Udp(SMALL), _) => UDP_64,
            Self::Iperf(Load::Udp(_), _) => UDP_1400,
            Self::Latency => P50,
            Self::AwakeLatency => AWAKE_P50,
            Self::Connects => CONNECTS,
        }
    }

    /// Which way the frames go.
    pub fn direction(self) -> Direction {
        match self {
            Self::Iperf(_, direction) => direction,
            Self::Latency | Self::AwakeLatency => Both,
            Self::Connects => ToNetwork,
        }
    }

    /// Measures once. What fails is a sample that does not count, with the reason: the other paths go on.
    pub fn sample(self, bed: &Bed, round: u32, quick: bool) -> Vec<Sample> {
        let sample = |(measure, value, unit): (&str, f64, &str), void| Sample {
            measure: measure.to_owned(),
            path: bed.name().to_owned(),
            direction: self.direction(),
            size: None,
            round,
            value,
            unit: unit.to_owned(),
            void,
        };
        match self.readings(bed, quick) {
            Ok(readings) => readings.into_iter().map(|reading| sample(reading, None)).collect(),
            Err(error) => vec![sample((self.measure(), 0.0, ""), Some(format!("{error:#}")))],
        }
    }

    fn readings(self, bed: &Bed, quick: bool) -> Result<Vec<(&'static str, f64, &'static str)>> {
        let measure = self.measure();
        let (requests, connections) = if quick { (QUICK_REQUESTS, QUICK_CONNECTIONS) } else { (REQUESTS, CONNECTIONS) };
        Ok(match self {
            Self::Iperf(load, direction) => {
                let moved = iperf::run(bed, load, direction, quick)?;
                match load {
                    Load::Tcp(1) => {
                        let cpu = moved.cpu / (moved.bytes / 1e9);
                        vec![(measure, moved.megabits, "Mbit/s"), (CPU, cpu, "s/GB")]
                    }
                    Load::Udp(SMALL) => vec![(measure, moved.datagrams, "datagrams/s")],
                    Load::Tcp(_) | Load::Udp(_) => vec![(measure, moved.megabits, "Mbit/s")],
                }
            }
            Self::Latency => {
                let seen = latency::run(bed, requests)?;
                vec![(P50, seen.p50, "µs"), (P99, seen.p99, "µs"), (P999, seen.p999, "µs")]
            }
            Self::AwakeLatency => {
                let seen = awake(|| latency::run(bed, requests))?;
                vec![(AWAKE_P50, seen.p50, "µs"), (AWAKE_P99, seen.p99, "µs")]
            }
            Self::Connects => {
                let rate = awake(|| connects::run(bed, connections))?;
                vec![(measure, rate, "connections/s")]
            }
        })
    }
}

/// Measures while no CPU idles.
fn awake<T>(measure: impl FnOnce() -> Result<T>) -> Result<T> {
    let awake = Awake::start()?;
    let measured = measure();
    awake.end().and(measured)
}

/// Paths in the order of a round: each begins with another one.
pub fn turned<T>(all: &[T], round: u32) -> impl Iterator<Item = &T> {
    let at = usize::try_from(round).unwrap_or_default() % all.len().max(1);
    all[at..].iter().chain(&all[..at])
}

#[cfg(test)]
mod tests {
    use super::turned;

    #[test]
    fn every_round_has_each_path_once_and_another_one_first() {
        let rounds = [0, 1, 3].map(|round| turned(&["a", "b", "c"], round).copied().collect::<String>());
        assert_eq!(rounds, ["abc", "bca", "abc"]);
        assert_eq!(turned::<u8>(&[], 4).count(), 0);
    }
}
