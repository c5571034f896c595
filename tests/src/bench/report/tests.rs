//! Reports of invented samples.

use super::{
    Figures, markdown,
    measures::{ATTACH, HOP, NTH, P50, P99, P999, TCP_1},
    plot, table, targets,
};
use crate::bench::sample::{Direction, Machine, Run, Sample};

const PATHS: [(&str, f64); 5] =
    [("floor", 1200.0), ("bridge", 3200.0), ("tcfilter", 2200.0), ("tapwire-peer", 1500.0), ("tapwire", 1400.0)];

/// A value that is a little off, by the same each time.
fn strayed(value: f64, round: u32) -> f64 {
    value * (1.0 + f64::from(round * 7 % 5) / 100.0)
}

fn sample(measure: &str, path: &str, direction: Direction, size: Option<u32>, value: f64, round: u32) -> Sample {
    let (measure, path, unit) = (measure.to_owned(), path.to_owned(), "unit".to_owned());
    Sample { measure, path, direction, size, round, value: strayed(value, round), unit, void: None }
}

fn run() -> Vec<Sample> {
    let mut all = Vec::new();
    for (path, cost) in PATHS {
        for round in 0..5 {
            for (measure, direction, size, value) in [
                (HOP, Direction::ToNetwork, Some(64), cost),
                (HOP, Direction::ToGuest, Some(64), 2.0 * cost),
                (P50, Direction::Both, None, 80.0 + cost / 100.0),
                (P99, Direction::Both, None, 120.0 + cost / 50.0),
                (P999, Direction::Both, None, 300.0 + cost / 50.0),
                (TCP_1, Direction::ToNetwork, None, 9000.0 - cost),
            ] {
                all.push(sample(measure, path, direction, size, value, round));
            }
        }
    }
    all.extend((0..200).map(|round| sample(ATTACH, "tapwire", Direction::None, None, 11.0, round)));
    let band = |round| if round < 20 { "bindings 1 to 20" } else { "bindings 21 to 100" };
    all.extend((0..100).map(|round| sample(NTH, band(round), Direction::None, None, 11.0, round)));
    all
}

fn whole(samples: Vec<Sample>) -> Run {
    let text = String::new;
    let machine = Machine {
        kernel: text(),
        cpu: text(),
        cpus: 2,
        hypervisor: true,
        mitigations: Vec::new(),
        bpf_jit: text(),
        bpf_jit_harden: text(),
        default_qdisc: text(),
        load: text(),
        tapwire: text(),
        tools: Vec::new(),
    };
    Run { version: 1, machine, quick: true, missing: Vec::new(), paths: Vec::new(), samples }
}

fn verdict(figures: &Figures, what: &str) -> Option<bool> {
    targets::verdicts(figures).iter().find(|verdict| verdict.what.contains(what)).unwrap().met()
}

#[test]
fn a_target_is_met_missed_or_not_measured() {
    let figures = Figures::new(&run());
    assert_eq!(verdict(&figures, "to-network, 64 octets, above the floor, of bridge's"), Some(true));
    assert_eq!(verdict(&figures, "to-guest without the portal, above the floor, of tcfilter's"), Some(true));
    assert_eq!(verdict(&figures, "attach with the tap present"), Some(true));
    assert_eq!(verdict(&figures, "TCP to-network, one connection"), Some(true));
    assert_eq!(verdict(&figures, "TCP to-guest, one connection"), None);
    let slow = run().into_iter().map(|sample| match sample.path.as_str() {
        "tapwire" => Sample { value: sample.value * 2.0, ..sample },
        _ => sample,
    });
    let figures = Figures::new(&slow.collect::<Vec<_>>());
    assert_eq!(verdict(&figures, "to-network, 64 octets, above the floor, of bridge's"), Some(false));
}

#[test]
fn a_void_sample_does_not_count() {
    let mut samples = run();
    let lost = sample(HOP, "tapwire", Direction::ToNetwork, Some(64), 1.0, 9);
    samples.push(Sample { void: Some("frames were lost".to_owned()), ..lost });
    let median = |samples: &[Sample]| {
        Figures::new(samples).find(HOP, "tapwire", Direction::ToNetwork, Some(64)).unwrap().spread()
    };
    assert_eq!(median(&samples), median(&run()));
}

#[test]
fn a_table_shows_what_is_above_the_floor_beside_the_others() {
    let text = table::measures(&whole(run()), &[HOP]);
    // 1.02 × (1400 − 1200) is a tenth of 1.02 × (3200 − 1200), and a fifth of 1.02 × (2200 − 1200).
    assert!(text.contains("204 (0.10, 0.20)"), "{text}");
    assert!(text.contains("1428 (1400–1456)"), "{text}");
}

#[test]
fn a_document_has_every_table_and_links_every_plot() {
    let figures = Figures::new(&run());
    let plots = plot::all(&figures).unwrap();
    let machine = [("kernel".to_owned(), "6.18".to_owned())];
    let parts = markdown::Parts { facts: &machine, plots: &plots, folder: "benchmarks", notes: "Said by a person." };
    let text = markdown::render(&figures, &parts);
    for needle in ["| kernel | 6.18 |", "Said by a person.", "1428 (1400–1456)", "A comparison holds only within a run"]
    {
        assert!(text.contains(needle), "{needle} is not in {text}");
    }
    assert_eq!(plots.len(), 5);
    for plot in &plots {
        assert!(text.contains(&format!("](benchmarks/{})", plot.file)), "{}", plot.file);
    }
}

#[test]
fn a_plot_has_a_dot_for_every_sample() {
    let samples = run();
    for plot in plot::all(&Figures::new(&samples)).unwrap() {
        let due = samples.iter().filter(|sample| plot.measures.contains(&sample.measure.as_str())).count();
        assert_eq!(plot.svg().matches("<circle").count(), due, "{}", plot.file);
        if let Some(folder) = std::env::var_os("TAPWIRE_BENCH_PLOTS") {
            plot.write(std::path::Path::new(&folder)).unwrap();
        }
    }
}
