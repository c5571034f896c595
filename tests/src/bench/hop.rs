//! The cost of a hop: what a frame costs on each path, both ways, and how much of it is the binding's.
//!
//! To the network a frame is written into the tap and dropped on arrival at the far end; to the guest it is sent out of
//! the far end and read from the tap. On the floor there is nothing between, so what a path costs above the floor is its
//! own. The drop is a program of a few instructions, the same on every path and on the floor.

use std::time::Duration;

use anyhow::Result;

use super::{
    frame::Size,
    lane::{Effort, Lane, Timed, empty_call, empty_loop, on_one_cpu},
    path::Kind,
    sample::{Direction, Run, Sample},
    session::{Measure, Session},
    stats::{Summary, table},
};

/// This measure.
pub const MEASURE: Measure = Measure { name: NAME, about: "hop cost", in_quick: true, takes, run, table: tables };

const NAME: &str = "hop";
/// The name under which the loop itself is measured, around a call that is none of the system.
pub const LOOP: &str = "loop";
/// The name under which the cheapest system call is measured.
pub const CALL: &str = "call";
/// Rounds of a full run.
const ROUNDS: u32 = 11;
/// About how long one sample takes.
const SAMPLE: Duration = Duration::from_millis(100);
/// About how long a path takes to be made and taken away.
const JOIN: Duration = Duration::from_secs(1);
/// The ways of a frame.
const WAYS: [Direction; 2] = [Direction::ToNetwork, Direction::ToGuest];

/// The paths that have a hop.
fn kinds(session: &Session) -> Vec<Kind> {
    session.kinds().into_iter().filter(|kind| kind.carries_frames()).collect()
}

fn takes(session: &Session) -> Duration {
    let kinds = u32::try_from(kinds(session).len()).unwrap_or(u32::MAX);
    let samples = session.rounds(ROUNDS) * kinds * 6;
    let sample = if session.quick() { SAMPLE / 2 } else { SAMPLE };
    JOIN * kinds + sample * samples
}

fn run(session: &mut Session) -> Result<()> {
    on_one_cpu(|| measure(session))
}

fn measure(session: &mut Session) -> Result<()> {
    let mut lanes = Vec::new();
    for kind in kinds(session) {
        let path = session.join(kind, "hop")?;
        lanes.push(Lane::open(path)?);
        session.worked(JOIN);
    }
    let quick = session.quick();
    let sample = if quick { SAMPLE / 2 } else { SAMPLE };
    for round in 0..session.rounds(ROUNDS) {
        for size in Size::ALL {
            let effort = Effort::of(size, quick);
            for (name, timed) in [(LOOP, empty_loop(size, effort)?), (CALL, empty_call(size, effort)?)] {
                session.record(made(name, Direction::ToNetwork, size, round, timed)?);
            }
            for lane in &lanes {
                let path = lane.path.kind.name();
                let there = lane.to_network(size, effort)?;
                session.record(made(path, Direction::ToNetwork, size, round, there)?);
                session.worked(sample);
                let back = lane.to_guest(size, effort)?;
                session.record(made(path, Direction::ToGuest, size, round, back)?);
                session.worked(sample);
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
    let mut text = String::new();
    for direction in WAYS {
        for size in Size::ALL {
            let title = format!("{NAME}: {}, {}", direction.name(), size.name());
            text.push_str(&costs(run, NAME, &title, direction, size));
        }
    }
    text
}

/// One table: what each path costs, what of it is above the floor, and how that compares.
pub(super) fn costs(run: &Run, measure: &str, title: &str, direction: Direction, size: Size) -> String {
    let octets = u32::try_from(size.octets()).ok();
    let summary = |path: &str| Summary::of(run.values(measure, path, direction, octets));
    let floor = summary(Kind::Floor.name()).map(|floor| floor.median);
    let own = |path: &str| Some(summary(path)?.median - floor?).filter(|own| *own > 0.0);
    let [bridge, tcfilter] = [Kind::Bridge, Kind::Tcfilter].map(|kind| own(kind.name()));
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    let ratio = |path: &str, other: Option<f64>| match (own(path), other) {
        (Some(own), Some(other)) => format!("{:.2}", own / other),
        _ => "-".to_owned(),
    };
    let mut rows = Vec::new();
    for path in run.paths_of(measure) {
        let Some(Summary { median, lower, upper, .. }) = summary(path) else { continue };
        rows.push(vec![
            path.to_owned(),
            number(Some(median)),
            format!("{lower:.0}..{upper:.0}"),
            number(own(path)),
            ratio(path, bridge),
            ratio(path, tcfilter),
        ]);
    }
    if rows.is_empty() {
        return String::new();
    }
    let head = ["path", "ns/frame", "quartiles", "above floor", "of bridge", "of tcfilter"];
    format!("{title}\n{}", table(&head, &rows))
}
