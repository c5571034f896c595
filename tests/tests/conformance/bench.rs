//! Where rows are tried: a pod with tapwire attached, its tap in a monitor's hands, and a look at the host side.
//!
//! No row waits for silence. Behind each request goes one that is always answered, and a plain frame that always reaches
//! the host side: what has not come before these does not come.

use std::{collections::BTreeMap, mem};

use lab::{
    BINDING, Offloads, Pod, RawPort, TapPort, Tapwire,
    tap::VnetHeader,
    wait::{wait_for, wait_until},
};
use serde_json::Value;

use crate::{
    SOON,
    answer::{Answer, Outcome},
    capture,
    request::{GATEWAY_MAC, GUEST, OTHER, Request, reboot},
};

/// EtherType for experiments (IEEE 802): no kernel does anything with it.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// The transaction of the request that is always answered: one for an address that is not the lease's, since a NAK has
/// no options that could find no room.
const LAST: [u8; 4] = *b"last";

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What it says.
    name: String,
    /// Where it comes from.
    source: &'static str,
    /// Requests that are sent without a pause, each with what becomes of it.
    exchanges: Vec<(Request, Outcome)>,
}

/// A rule about one request.
pub(crate) fn row(name: impl Into<String>, source: &'static str, request: Request, outcome: Outcome) -> Row {
    Row { name: name.into(), source, exchanges: vec![(request, outcome)] }
}

impl Row {
    /// Another request behind it.
    pub(crate) fn then(mut self, request: Request, outcome: Outcome) -> Self {
        self.exchanges.push((request, outcome));
        self
    }
}

/// A reply that came, for the decoder of somebody else.
pub(crate) struct Captured {
    pub(crate) row: String,
    pub(crate) answer: Answer,
    pub(crate) frame: Vec<u8>,
}

/// An attached pod, whose tap nobody holds.
struct Site {
    host: RawPort,
    // After the port, and before the pod that it is about.
    tapwire: Tapwire,
    pod: Pod,
    mtu: usize,
}

/// What was seen so far.
#[derive(Default)]
struct Findings {
    xid: u32,
    captured: Vec<Captured>,
    faults: Vec<String>,
}

/// A site with its tap in a monitor's hands.
struct Bench<'a> {
    site: &'a Site,
    tap: &'a TapPort,
    /// Whether checksums of requests are left to the host.
    partial: bool,
    /// How the guest and its monitor hand frames over, for what is printed.
    way: String,
    /// The counters, after the last row.
    counters: BTreeMap<String, u64>,
    found: &'a mut Findings,
}

/// Tries all rows in each way, and fails with everything that was otherwise.
pub(crate) fn check(pod: Pod, options: &[&str], mtu: usize, rows: &[Row]) {
    let tapwire = Tapwire::new().unwrap();
    // For the plain frame that tells the end of what left, and for rows about VLANs, which are the responder's to leave alone.
    let options = [&["--allow-ethertype", "0x88b5", "--guard", "-vlan"], options].concat();
    tapwire.attach(&pod, BINDING, &options).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let site = Site { host, tapwire, pod, mtu };
    let mut found = Findings::default();
    for offloads in [Offloads::Virtio, Offloads::None] {
        let tap = open_tap(&site.pod, offloads);
        for partial in [false, true] {
            let way = format!("{offloads:?}, {}", if partial { "partial checksums" } else { "whole checksums" });
            let mut bench =
                Bench { site: &site, tap: &tap, partial, way, counters: site.counters(), found: &mut found };
            for row in rows {
                bench.run(row);
            }
        }
    }
    let Findings { captured, mut faults, .. } = found;
    faults.extend(capture::faults(&captured));
    assert!(!captured.is_empty(), "no row is about a reply");
    assert!(faults.is_empty(), "{} faults, {} rows in 4 ways:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

fn open_tap(pod: &Pod, offloads: Offloads) -> TapPort {
    // A process that another test is starting holds what was just closed, until it is another program.
    let open = || Ok(TapPort::open(&pod.namespace, "tap0", offloads).ok());
    let tap = wait_for("the tap to be free", SOON, open).unwrap();
    wait_until("carrier on tap0", SOON, || {
        Ok(pod.namespace.ip(&["-br", "link", "show", "dev", "tap0"])?.contains("LOWER_UP"))
    })
    .unwrap();
    lab::portal::wait_for(pod, "tap0").unwrap();
    tap
}

impl Site {
    /// All counters, by their paths.
    fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        flatten(&self.tapwire.show(BINDING).unwrap()["counters"], "", &mut all);
        all
    }
}

impl Bench<'_> {
    fn run(&mut self, row: &Row) {
        let mut requests = Vec::new();
        for (request, outcome) in &row.exchanges {
            self.found.xid += 1;
            let xid = self.found.xid.to_be_bytes();
            let request = request.clone().with(|request| request.xid = xid);
            let (header, frame) = request.frame(self.partial);
            self.tap.send_with(header, &frame).unwrap();
            requests.push((request, frame, outcome));
        }
        let came = self.everything_that_came();
        let reached = self.everything_that_left();
        let mut faults = self.compare_answers(row, &requests, &came);
        let passing = requests.iter().filter(|(.., outcome)| matches!(outcome, Outcome::Passes));
        let passing: Vec<&[u8]> = passing.map(|(_, frame, _)| frame.as_slice()).collect();
        if reached != passing {
            faults.push(format!("on the host side: {reached:02x?}"));
        }
        // A look at the counters is a process, and what is counted has nothing to do with a checksum.
        if !self.partial {
            let before = mem::replace(&mut self.counters, self.site.counters());
            faults.extend(compare_counters(row, &before, &self.counters));
        }
        let way = &self.way;
        let faults = faults.into_iter();
        self.found.faults.extend(faults.map(|fault| format!("{way}: {} ({}): {fault}", row.name, row.source)));
    }

    /// What the guest was sent before the answer to the last request.
    fn everything_that_came(&self) -> Vec<(VnetHeader, Vec<u8>)> {
        let (header, frame) = reboot(OTHER).with(|request| request.xid = LAST).frame(self.partial);
        self.tap.send_with(header, &frame).unwrap();
        let mut came = Vec::new();
        loop {
            let (header, frame) = self.tap.receive(SOON).unwrap().expect("the last request has an answer");
            if frame.get(46..50) == Some(&LAST) {
                return came;
            }
            // The node's own kernel may speak: neighbour discovery, ARP.
            if frame.get(6..12) != Some(&GATEWAY_MAC) {
                came.push((header, frame));
            }
        }
    }

    /// What the host side received before the plain frame.
    fn everything_that_left(&self) -> Vec<Vec<u8>> {
        let mut plain = [GATEWAY_MAC.as_slice(), &GUEST, &EXPERIMENT].concat();
        plain.resize(60, 0);
        self.tap.send(&plain).unwrap();
        let mut reached = Vec::new();
        loop {
            let seen = self.site.host.receive(SOON).unwrap().expect("a plain frame reaches the host side");
            if seen.data == plain {
                return reached;
            }
            if !seen.outgoing {
                reached.push(seen.data);
            }
        }
    }

    fn compare_answers(
        &mut self,
        row: &Row,
        requests: &[(Request, Vec<u8>, &Outcome)],
        came: &[(VnetHeader, Vec<u8>)],
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let wanted = requests.iter().filter_map(|(request, _, outcome)| match outcome {
            Outcome::Reply(answer) => Some((request, answer)),
            _ => None,
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.len() != came.len() {
            faults.push(format!("{} answers, not {}: {came:02x?}", came.len(), wanted.len()));
        }
        for ((request, answer), (header, frame)) in wanted.iter().zip(came) {
            faults.extend(answer.faults(request, self.site.mtu, frame));
            // A reply is whole: nothing is left to the guest, nor to whoever reads it from the tap.
            if header.flags & VnetHeader::NEEDS_CSUM != 0 || header.gso_type != 0 {
                faults.push(format!("left to the guest: {header:?}"));
            }
            let row = format!("{}: {}", self.way, row.name);
            self.found.captured.push(Captured { row, answer: (*answer).clone(), frame: frame.clone() });
        }
        faults
    }
}

fn flatten(value: &Value, path: &str, all: &mut BTreeMap<String, u64>) {
    if let Some(count) = value.as_u64() {
        all.insert(path.trim_start_matches('.').to_owned(), count);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        flatten(value, &format!("{path}.{key}"), all);
    }
}

/// What a row adds to the counters, that of the two last frames included; messages that are received are counted by
/// whoever sends them, and only named by the rows that are about nothing else.
fn compare_counters(row: &Row, before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let mut wanted = BTreeMap::from([("dhcp.nak".to_owned(), 1), ("to_network.frames".to_owned(), 1)]);
    let mut add = |path: String| *wanted.entry(path).or_insert(0) += 1;
    for (_, outcome) in &row.exchanges {
        match outcome {
            Outcome::Reply(answer) => {
                add(answer.kind.counter().to_owned());
                if answer.trimmed {
                    add("dhcp.trimmed".to_owned());
                }
            }
            Outcome::Dropped(reason) => add(format!("dropped.{reason}")),
            Outcome::Noted(message) => add(format!("dhcp.{message}")),
            Outcome::Passes => add("to_network.frames".to_owned()),
        }
    }
    let of_requests = ["dhcp.discover", "dhcp.request", "dhcp.inform", "dhcp.release", "dhcp.decline"];
    let others = |path: &str| path == "to_network.bytes" || path.starts_with("to_guest") || of_requests.contains(&path);
    let counted = |path: &String| wanted.contains_key(path) || !others(path);
    let rose = after.iter().map(|(path, count)| (path, count - before.get(path).copied().unwrap_or(0)));
    let rose: BTreeMap<String, u64> =
        rose.filter(|(path, rise)| counted(path) && *rise > 0).map(|(path, rise)| (path.clone(), rise)).collect();
    if rose == wanted { Vec::new() } else { vec![format!("counted {rose:?}, not {wanted:?}")] }
}
