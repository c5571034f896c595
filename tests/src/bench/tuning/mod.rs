//! Experiments: whether tapwire would be quicker with this or that turned on. Each has a path of its own, and is measured
//! in turn with one that is as tapwire leaves it.

mod knob;

use std::time::Duration;

use anyhow::{Context as _, Result};

use self::knob::{Held, Knob};
use super::{
    flow::{Flow, bed::Bed, iperf::Load, turned},
    frame::Size,
    lane::{Effort, Lane, on_one_cpu},
    report::{
        self,
        measures::{TUNING_HOP, TUNING_LATENCY, TUNING_TCP, TUNING_UDP},
    },
    sample::{
        Direction::{self, ToGuest, ToNetwork},
        Run, Sample,
    },
    session::{Measure, Session},
};

/// This measure.
pub const MEASURE: Measure = Measure { name: "tuning", about: "experiments", in_quick: false, takes, run, table };

/// The trial that all others are set against.
pub const DEFAULT: &str = "default";
/// Rounds of a full run.
const ROUNDS: u32 = 9;
/// About how long all measurements of a knob take in one round.
const ROUND: Duration = Duration::from_millis(5500);
/// The same in a quick run.
const QUICK_ROUND: Duration = Duration::from_millis(2500);
/// What is measured through a guest, and under which names: 64 octets in datagrams fill the ring, TCP does in segments.
const FLOWS: [(Flow, &[(&str, &str)]); 4] = [
    (Flow::Iperf(Load::Tcp(1), ToNetwork), &[(report::measures::TCP_1, TUNING_TCP)]),
    (Flow::Iperf(Load::Tcp(1), ToGuest), &[(report::measures::TCP_1, TUNING_TCP)]),
    (Flow::Iperf(Load::Udp(super::flow::SMALL), ToGuest), &[(report::measures::UDP_64, TUNING_UDP)]),
    (Flow::Latency, &[(report::measures::P50, TUNING_LATENCY)]),
];

fn takes(session: &Session) -> Duration {
    let knobs = u32::try_from(Knob::ALL.len()).unwrap_or(u32::MAX);
    knobs * round(session) * session.rounds(ROUNDS)
}

fn round(session: &Session) -> Duration {
    if session.quick() { QUICK_ROUND } else { ROUND }
}

fn run(session: &mut Session) -> Result<()> {
    on_one_cpu(|| hops(session)).context("hop cost")?;
    flows(session).context("flows")
}

fn hops(session: &mut Session) -> Result<()> {
    let mut lanes: Vec<(Knob, Lane, Held)> = Vec::new();
    for knob in Knob::ALL {
        let lane = Lane::open(knob.join("knob")?)?;
        let held = knob.opened(&lane.path)?;
        lanes.push((knob, lane, held));
    }
    let effort = Effort::of(Size::Small, session.quick());
    for round in 0..session.rounds(ROUNDS) {
        for (knob, lane, _) in turned(&lanes, round) {
            session.record(hop(*knob, ToNetwork, round, lane.to_network(Size::Small, effort)?));
            // With two queues frames may come out of the one that nobody reads.
            if knob.has_one_queue() {
                session.record(hop(*knob, ToGuest, round, lane.to_guest(Size::Small, effort)?));
            }
        }
    }
    Ok(())
}

fn hop(knob: Knob, direction: Direction, round: u32, timed: super::lane::Timed) -> Sample {
    Sample {
        measure: TUNING_HOP.to_owned(),
        path: knob.name().to_owned(),
        direction,
        size: Some(64),
        round,
        value: timed.nanos,
        unit: "ns/frame".to_owned(),
        void: timed.void,
    }
}

fn flows(session: &mut Session) -> Result<()> {
    let mut beds = Vec::new();
    for knob in Knob::ALL.into_iter().filter(|knob| knob.has_one_queue()) {
        beds.push(Bed::of(knob.name(), knob.join("knob")?)?);
    }
    let quick = session.quick();
    for number in 0..session.rounds(ROUNDS) {
        for (flow, names) in FLOWS {
            for bed in turned(&beds, number) {
                for sample in flow.sample(bed, number, quick) {
                    let ours = names.iter().find(|(theirs, _)| *theirs == sample.measure);
                    if let Some((_, name)) = ours {
                        session.record(Sample { measure: (*name).to_owned(), ..sample });
                    }
                }
            }
        }
        let knobs = u32::try_from(Knob::ALL.len())?;
        session.worked(round(session) * knobs);
    }
    Ok(())
}

fn table(run: &Run) -> String {
    report::table::measures(run, &[TUNING_HOP, TUNING_TCP, TUNING_UDP, TUNING_LATENCY])
}
