//! What else might make tapwire quicker: each knob is turned on a path of its own, beside one where nothing is turned.
//!
//! What helps belongs into the product, what does not is written down with its figure. The floor is there with the knob
//! that it has too, since what helps both is no gain of the binding.

use std::time::Duration;

use anyhow::Result;

use super::{
    frame::Size,
    lane::{Effort, Lane, Timed, on_one_cpu},
    path::{Joined, Kind, TAP},
    sample::{Direction, Run, Sample},
    session::{Measure, Session},
    stats::{Summary, table},
};

/// This measure.
pub const MEASURE: Measure = Measure { name: NAME, about: "knobs", takes, run, table: tables };

const NAME: &str = "tuning";
/// Rounds of a full run.
const ROUNDS: u32 = 11;
/// About how long one sample takes.
const SAMPLE: Duration = Duration::from_millis(100);
/// About how long a path takes to be made and taken away.
const JOIN: Duration = Duration::from_secs(1);
/// The ways of a frame.
const WAYS: [Direction; 2] = [Direction::ToNetwork, Direction::ToGuest];
/// The sizes: a knob that moves the second but not the first works on octets.
const SIZES: [Size; 2] = [Size::Small, Size::Gso];

/// Something that can be turned on a path that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// Nothing.
    Plain,
    /// No queue before the tap's own ring: `tc qdisc replace dev tap0 root noqueue`.
    Noqueue,
    /// A ring of 4096 frames in place of 1000: `ip link set tap0 txqueuelen 4096`.
    Ring,
    /// GRO on the pod NIC, which gives a veth a poll of its own: `ethtool -K eth0 gro on`.
    Gro,
}

impl Knob {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Noqueue => "noqueue",
            Self::Ring => "ring 4096",
            Self::Gro => "GRO on the pod NIC",
        }
    }

    /// Turns it.
    pub fn turn(self, path: &Joined) -> Result<()> {
        let inside = path.tap_namespace();
        match self {
            Self::Plain => Ok(()),
            Self::Noqueue => inside.exec(&["tc", "qdisc", "replace", "dev", TAP, "root", "noqueue"]).map(drop),
            Self::Ring => inside.ip(&["link", "set", TAP, "txqueuelen", "4096"]).map(drop),
            Self::Gro => match path.pod() {
                Some(pod) => inside.exec(&["ethtool", "-K", &pod.nic, "gro", "on"]).map(drop),
                None => Ok(()),
            },
        }
    }
}

/// What is compared.
const TURNED: [(Kind, Knob); 8] = [
    (Kind::Floor, Knob::Plain),
    (Kind::Floor, Knob::Noqueue),
    (Kind::Bridge, Knob::Plain),
    (Kind::Bridge, Knob::Noqueue),
    (Kind::Tapwire, Knob::Plain),
    (Kind::Tapwire, Knob::Noqueue),
    (Kind::Tapwire, Knob::Ring),
    (Kind::TapwirePeer, Knob::Gro),
];

fn turned(session: &Session) -> impl Iterator<Item = (Kind, Knob)> + use<> {
    let kinds = session.kinds();
    TURNED.into_iter().filter(move |(kind, _)| kinds.contains(kind))
}

fn takes(session: &Session) -> Duration {
    let paths = u32::try_from(turned(session).count()).unwrap_or(u32::MAX);
    let sample = if session.quick() { SAMPLE / 2 } else { SAMPLE };
    JOIN * paths + sample * session.rounds(ROUNDS) * paths * 4
}

fn run(session: &mut Session) -> Result<()> {
    on_one_cpu(|| measure(session))
}

fn measure(session: &mut Session) -> Result<()> {
    let mut lanes = Vec::new();
    for (kind, knob) in turned(session) {
        let path = kind.join("knob")?;
        knob.turn(&path)?;
        lanes.push((format!("{kind}, {}", knob.name()), Lane::open(path)?));
        session.worked(JOIN);
    }
    let quick = session.quick();
    let share = if quick { SAMPLE / 2 } else { SAMPLE };
    for round in 0..session.rounds(ROUNDS) {
        for size in SIZES {
            let effort = Effort::of(size, quick);
            for (name, lane) in &lanes {
                for direction in WAYS {
                    let timed = if direction == Direction::ToNetwork {
                        lane.to_network(size, effort)?
                    } else {
                        lane.to_guest(size, effort)?
                    };
                    session.worked(share);
                    session.record(made(name, direction, size, round, timed)?);
                }
            }
        }
    }
    Ok(())
}

fn made(path: &str, direction: Direction, size: Size, round: u32, timed: Timed) -> Result<Sample> {
    Ok(Sample {
        measure: NAME.to_owned(),
        path: path.to_owned(),
        direction,
        size: Some(u32::try_from(size.octets())?),
        round,
        value: timed.nanos,
        unit: "ns/frame".to_owned(),
        void: timed.void,
    })
}

fn tables(run: &Run) -> String {
    let mut rows = Vec::new();
    for path in run.paths_of(NAME) {
        let mut row = vec![path.to_owned()];
        for direction in WAYS {
            for size in SIZES {
                let values = run.values(NAME, path, direction, u32::try_from(size.octets()).ok());
                let cell = |Summary { lower, median, upper, .. }| format!("{median:.0} ({lower:.0}..{upper:.0})");
                row.push(Summary::of(values).map_or_else(|| "-".to_owned(), cell));
            }
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return String::new();
    }
    let heads = WAYS.map(|direction| SIZES.map(|size| format!("{}, {}", direction.name(), size.name()))).concat();
    let heads: Vec<&str> = ["path, knob"].into_iter().chain(heads.iter().map(String::as_str)).collect();
    format!("{NAME}: ns/frame, with quartiles\n{}", table(&heads, &rows))
}
