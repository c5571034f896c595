//! What the project wants to reach, and whether a run reached it.

use super::{
    figures::{Figure, Figures},
    measures::{ACK, ATTACH, AWAKE_P50, AWAKE_P99, HOP, MEMORY, NTH, OFFER, P50, P99, PEER_CNI, TCP_1, TCP_8},
};
use crate::bench::sample::Direction::{self, Both, ToGuest, ToNetwork};

/// The path that all others are set against.
pub const FLOOR: &str = "floor";
/// `KubeVirt`'s bridge binding.
pub const BRIDGE: &str = "bridge";
/// Kata's tcfilter.
pub const TCFILTER: &str = "tcfilter";
/// tapwire with its defaults.
pub const TAPWIRE: &str = "tapwire";
/// tapwire without the portal.
pub const WITHOUT_PORTAL: &str = "tapwire-peer";

/// The size that hop-cost targets are about.
const SMALL: Option<u32> = Some(64);

/// What a value must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// No more than that.
    AtMost(f64),
    /// Less than that.
    Below(f64),
    /// No less than that.
    AtLeast(f64),
}

impl Limit {
    fn holds(self, seen: f64) -> bool {
        match self {
            Self::AtMost(limit) => seen <= limit,
            Self::Below(limit) => seen < limit,
            Self::AtLeast(limit) => seen >= limit,
        }
    }

    /// The figure that must be kept to.
    pub fn value(self) -> f64 {
        let (Self::AtMost(limit) | Self::Below(limit) | Self::AtLeast(limit)) = self;
        limit
    }
}

/// A target, and what came of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is asked.
    pub what: String,
    /// Unit of limit and value; empty for a ratio.
    pub unit: &'static str,
    /// What it must keep to.
    pub limit: Limit,
    /// What was measured; nothing where this run did not measure it.
    pub seen: Option<f64>,
}

impl Verdict {
    /// Whether it was met; nothing where it was not measured.
    pub fn met(&self) -> Option<bool> {
        self.seen.map(|seen| self.limit.holds(seen))
    }
}

/// Every target of the project.
pub fn verdicts(figures: &Figures) -> Vec<Verdict> {
    let mut all = hop(figures);
    all.extend(flows(figures));
    all.extend(control(figures));
    all
}

fn ratio(what: &str, limit: Limit, seen: Option<f64>) -> Verdict {
    Verdict { what: what.to_owned(), unit: "", limit, seen }
}

fn hop(figures: &Figures) -> Vec<Verdict> {
    let of = |measure, path, to, way| Some(above(figures, measure, path, way)? / above(figures, measure, to, way)?);
    let hop = |path, to, way| of(HOP, path, to, way);
    let peer = |to| of(PEER_CNI, TAPWIRE, to, ToGuest);
    let at_most = Limit::AtMost;
    [
        ("to-network, 64 octets, above the floor, of bridge's", 0.2, hop(TAPWIRE, BRIDGE, ToNetwork)),
        ("to-network, 64 octets, above the floor, of tcfilter's", 0.5, hop(TAPWIRE, TCFILTER, ToNetwork)),
        ("to-guest, 64 octets, above the floor, of bridge's", 0.25, hop(TAPWIRE, BRIDGE, ToGuest)),
        ("to-guest, 64 octets, above the floor, of tcfilter's", 0.5, hop(TAPWIRE, TCFILTER, ToGuest)),
        ("to-guest without the portal, above the floor, of bridge's", 0.55, hop(WITHOUT_PORTAL, BRIDGE, ToGuest)),
        ("to-guest without the portal, above the floor, of tcfilter's", 1.0, hop(WITHOUT_PORTAL, TCFILTER, ToGuest)),
        ("to-guest behind a CNI that delivers by peer, above the floor, of bridge's", 1.0 / 3.0, peer(BRIDGE)),
    ]
    .map(|(what, limit, seen)| ratio(what, at_most(limit), seen))
    .to_vec()
}

/// What a path costs above the floor. The peer-capable CNI has no floor of its own: it is the usual one's.
fn above(figures: &Figures, measure: &str, path: &str, direction: Direction) -> Option<f64> {
    let floor =
        figures.find(measure, FLOOR, direction, SMALL).or_else(|| figures.find(HOP, FLOOR, direction, SMALL))?.median();
    Some(figures.find(measure, path, direction, SMALL)?.median() - floor)
}

fn flows(figures: &Figures) -> Vec<Verdict> {
    let of = |measure, to, way| Some(any(figures, measure, TAPWIRE, way)? / any(figures, measure, to, way)?);
    let mut all = vec![
        ratio("request-response p50, of the floor's", Limit::AtMost(1.03), of(P50, FLOOR, Both)),
        ratio("request-response p99, of bridge's", Limit::Below(1.0), of(P99, BRIDGE, Both)),
        ratio("request-response p99, of tcfilter's", Limit::Below(1.0), of(P99, TCFILTER, Both)),
        ratio("request-response p50 with CPUs awake, of the floor's", Limit::AtMost(1.03), of(AWAKE_P50, FLOOR, Both)),
        ratio("request-response p99 with CPUs awake, of bridge's", Limit::Below(1.0), of(AWAKE_P99, BRIDGE, Both)),
        ratio("request-response p99 with CPUs awake, of tcfilter's", Limit::Below(1.0), of(AWAKE_P99, TCFILTER, Both)),
    ];
    for (measure, name) in [(TCP_1, "one connection"), (TCP_8, "eight connections")] {
        for way in [ToNetwork, ToGuest] {
            let what = format!("TCP {}, {name}, of the floor's throughput", way.name());
            all.push(ratio(&what, Limit::AtLeast(0.95), of(measure, FLOOR, way)));
        }
    }
    all
}

fn any(figures: &Figures, measure: &str, path: &str, direction: Direction) -> Option<f64> {
    figures.find(measure, path, direction, None).map(Figure::median)
}

fn control(figures: &Figures) -> Vec<Verdict> {
    let find = |measure, path| figures.find(measure, path, Direction::None, None);
    let median = |measure, path| find(measure, path).map(Figure::median);
    let attach = find(ATTACH, TAPWIRE).map(|figure| figure.quantile(0.99));
    let bands = figures.paths(NTH);
    let grown = || Some(median(NTH, bands.last()?)? / median(NTH, bands.first()?)?);
    let many = bands.last().copied().unwrap_or("bindings 981 to 1000");
    let row = |what: &str, unit, limit, seen| Verdict { what: what.to_owned(), unit, limit, seen };
    vec![
        row("attach with the tap present, p99", "ms", Limit::Below(15.0), attach),
        ratio(&format!("attach of {many}, of the first ones'"), Limit::AtMost(1.5), grown()),
        row("DISCOVER to OFFER, median", "µs", Limit::Below(50.0), median(OFFER, TAPWIRE)),
        row("REQUEST to ACK, median", "µs", Limit::Below(50.0), median(ACK, TAPWIRE)),
        row("memory in user space per attached VM", "KiB", Limit::AtMost(0.0), median(MEMORY, TAPWIRE)),
    ]
}
