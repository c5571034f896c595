//! The table, run over a bridge and over tapwire.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use lab::{ClientKind, DhcpClient};

use crate::{
    field::{Field, Outcome},
    row::{Count, OnBridge, Row},
    rows,
};

/// Where the table is kept, from this package's folder.
const DOCUMENT: &str = "../docs/attacks.md";
const HEAD: &str = "| attack | with | direction | a bridge lets through | tapwire lets through | dropped as |\n\
                    |---|---|---|---|---|---|\n";

/// A line of the document: what does not change from run to run.
fn line(row: &Row) -> String {
    let Row { name, tool, way, count, reason, bridge, .. } = row;
    let through = match (bridge, count) {
        (OnBridge::Keeps(why), _) => format!("none: {why}"),
        (OnBridge::Passes, Count::Exactly(count)) => format!("all {count}"),
        (OnBridge::Passes, Count::Some) => "all".to_owned(),
    };
    let tool = if *tool == "frames" { (*tool).to_owned() } else { format!("`{tool}`") };
    format!("| {name} | {tool} | {} | {through} | none | `{reason}` |\n", way.name())
}

/// Says what is wrong with an outcome over a bridge: an attack of which nothing arrives there would prove nothing.
fn fault_of_bridge(row: &Row, outcome: &Outcome) -> Option<String> {
    let arrived = outcome.arrived as u64;
    let is_right = match (row.bridge, row.count) {
        (OnBridge::Keeps(_), _) => arrived == 0,
        (OnBridge::Passes, Count::Exactly(count)) => arrived == count,
        (OnBridge::Passes, Count::Some) => arrived > 0,
    };
    (!is_right).then(|| format!("{}: a bridge let {arrived} through, not {:?}", row.name, row.count))
}

fn fault_of_tapwire(row: &Row, outcome: &Outcome) -> Option<String> {
    let is_counted = match row.count {
        Count::Exactly(count) => outcome.dropped == count,
        Count::Some => outcome.dropped > 0,
    };
    let is_right = outcome.arrived == 0 && is_counted;
    let Outcome { arrived, dropped } = outcome;
    (!is_right).then(|| format!("{}: {arrived} got through, {dropped} counted as {}", row.name, row.reason))
}

/// Runs every row and gives what came of it, and what is wrong.
fn run(field: &Field, rows: &[Row], fault: fn(&Row, &Outcome) -> Option<String>) -> (Vec<Outcome>, Vec<String>) {
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    for row in rows {
        let outcome = match field.run(row) {
            Ok(outcome) => outcome,
            Err(error) => {
                faults.push(format!("{error:#}"));
                Outcome { arrived: 0, dropped: 0 }
            }
        };
        faults.extend(fault(row, &outcome));
        if !field.is_bridge() {
            // Whatever was tried, the guest's own traffic goes on.
            if let Err(error) = field.is_honest() {
                faults.push(format!("{}: afterwards, {error:#}", row.name));
            }
        }
        outcomes.push(outcome);
    }
    (outcomes, faults)
}

#[test]
fn of_what_a_bridge_lets_through_tapwire_lets_through_nothing() {
    lab::require_root!();
    let rows = rows::all();
    let (bridge, mut faults) = run(&Field::of_bridge().unwrap(), &rows, fault_of_bridge);
    let tapwire = Field::of_tapwire(&[]).unwrap();
    let (guarded, more) = run(&tapwire, &rows, fault_of_tapwire);
    faults.extend(more);
    // And it gets its lease as ever.
    DhcpClient::acquire_on(tapwire.guest(), ClientKind::Udhcpc).unwrap();
    println!("{:<55} {:>8} {:>8} {:>8}  reason", "attack", "bridge", "tapwire", "dropped");
    for ((row, bridge), guarded) in rows.iter().zip(&bridge).zip(&guarded) {
        let (bridge, through, dropped) = (bridge.arrived, guarded.arrived, guarded.dropped);
        println!("{:<55} {bridge:>8} {through:>8} {dropped:>8}  {}", row.name, row.reason);
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_document_has_the_table_that_is_tested() {
    let rows = rows::all();
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
    let mut table = HEAD.to_owned();
    for row in &rows {
        table.write_str(&line(row)).unwrap();
    }
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT)).unwrap_or_default();
    assert!(document.contains(&table), "the table of {DOCUMENT} is to be:\n{table}");
}
