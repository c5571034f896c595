//! The plots of a report, as SVG. Each shows every sample as a dot, so that a reader sees the spread before the median.

mod draw;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{
    figures::{Case, Figures},
    measures::{
        self, ACK, ATTACH, AWAKE_P50, AWAKE_P99, CONNECTS, CPU, DETACH, HOP, MEMORY, NTH, OFFER, P50, P99, P999,
        PEER_CNI, TCP_1, TCP_8, TUNING_HOP, TUNING_LATENCY, TUNING_TCP, TUNING_UDP, UDP_64, UDP_1400, VM_POD, VM_VM,
    },
    targets::{TAPWIRE, WITHOUT_PORTAL},
};

/// A drawing with what it is of.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Name of its file.
    pub file: String,
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The measures it shows.
    pub measures: Vec<&'static str>,
    svg: String,
}

impl Plot {
    /// The drawing itself.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// Writes it into a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.file);
        fs::write(&path, &self.svg).with_context(|| format!("writing {}", path.display()))
    }
}

/// One axis of values with a row for each path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    title: String,
    unit: String,
    rows: Vec<Row>,
}

/// The samples of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    path: String,
    values: Vec<f64>,
    median: f64,
}

/// File, title and measures of the plots in which each path has a row.
const STRIPS: [(&str, &str, &[&str]); 10] = [
    ("hop", "Hop cost per frame", &[HOP]),
    ("peer-cni", "To-guest behind a CNI that delivers by peer", &[PEER_CNI]),
    ("tcp", "TCP through the pump", &[TCP_1, TCP_8]),
    ("udp", "UDP through the pump", &[UDP_64, UDP_1400]),
    ("latency", "Request-response time, percentiles of each round", &[P50, P99, P999]),
    ("latency-awake", "Request-response time with CPUs that are kept awake", &[AWAKE_P50, AWAKE_P99]),
    ("connects", "TCP connections, and the CPU time of a gigabyte", &[CONNECTS, CPU]),
    ("vm", "iperf3 in real VMs", &[VM_POD, VM_VM]),
    ("tuning", "Experiments, each beside tapwire as it is", &[TUNING_HOP, TUNING_TCP, TUNING_UDP, TUNING_LATENCY]),
    ("control", "Attach, detach, DHCP and memory", &[ATTACH, DETACH, OFFER, ACK, MEMORY]),
];

/// All plots for which there are samples.
pub fn all(figures: &Figures) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for (file, title, measures) in STRIPS {
        let panels: Vec<Panel> = measures.iter().flat_map(|measure| panels(figures, measure)).collect();
        if !panels.is_empty() {
            let svg = draw::strips(title, &panels).with_context(|| format!("drawing {file}"))?;
            plots.push(plot(file, title, measures, svg));
        }
    }
    let of_case = |case| figures.paths(NTH).into_iter().filter_map(move |path| row(figures, case, path));
    let bands: Vec<Row> = figures.cases(NTH).into_iter().flat_map(of_case).collect();
    if !bands.is_empty() {
        let title = "Time of each attach on a node with many bindings";
        plots.push(plot("attach-nth", title, &[NTH], draw::growth(title, &bands).context("drawing attach-nth")?));
    }
    Ok(plots)
}

fn plot(file: &str, title: &str, measures: &[&'static str], svg: String) -> Plot {
    Plot { file: format!("{file}.svg"), title: title.to_owned(), measures: measures.to_vec(), svg }
}

/// One panel for each case of a measure.
fn panels(figures: &Figures, measure: &str) -> Vec<Panel> {
    let name = measures::known(measure).map_or(measure, |known| known.title);
    let panel = |case: &Case| {
        let paths = figures.paths(measure);
        let rows: Vec<Row> = paths.iter().filter_map(|path| row(figures, case, path)).collect();
        let unit = paths.iter().find_map(|path| figures.get(case, path))?.unit().to_owned();
        let title = if case.head().is_empty() { name.to_owned() } else { format!("{name}: {}", case.head()) };
        Some(Panel { title, unit, rows })
    };
    figures.cases(measure).into_iter().filter_map(panel).collect()
}

fn row(figures: &Figures, case: &Case, path: &str) -> Option<Row> {
    let figure = figures.get(case, path)?;
    Some(Row { path: path.to_owned(), values: figure.rounds().to_vec(), median: figure.median() })
}

/// The colour of a path, told apart by those who see few colours too: ours are blue, the floor is grey.
fn colour(path: &str) -> (u8, u8, u8) {
    match path {
        TAPWIRE => (0x00, 0x4e, 0x98),
        WITHOUT_PORTAL => (0x3a, 0x8f, 0xd0),
        "floor" => (0x70, 0x70, 0x70),
        "bridge" => (0xd5, 0x5e, 0x00),
        "tcfilter" => (0xb8, 0x86, 0x00),
        "masquerade" => (0x8e, 0x3b, 0x8e),
        "macvtap" => (0x00, 0x7a, 0x5a),
        "passt" => (0xc2, 0x2f, 0x6e),
        other if other.starts_with(TAPWIRE) => (0x6f, 0xb1, 0xe4),
        _ => (0x50, 0x50, 0x50),
    }
}
