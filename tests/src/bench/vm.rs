//! Real virtual machines, one at each of two nodes for each path. All are booted before anything is measured, and take
//! turns: an idle guest costs nearly nothing.
//!
//! The two nodes of a path are joined by a veth. Since each of its pods has the lab's usual address, a node hides its own
//! behind another one (NAT), the same on every path.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    flow::{
        iperf::{self, Load},
        turned,
    },
    path::{Joined, Kind, TAP},
    report::{
        self,
        measures::{VM_POD, VM_VM},
    },
    sample::{
        Direction::{self, ToGuest, ToNetwork},
        Run, Sample,
    },
    session::{Measure, Session},
};
use crate::{
    cmd::{self, Running},
    netns::Namespace,
    vm::{Vm, VmConfig},
};

/// This measure.
pub const MEASURE: Measure = Measure { name: "vm", about: "real virtual machines", in_quick: false, takes, run, table };

/// Paths that QEMU opens by the name of a tap and that say something here: under emulation a guest needs far more for a
/// frame than any path does.
const KINDS: [Kind; 4] = [Kind::Floor, Kind::Bridge, Kind::Tcfilter, Kind::Tapwire];
/// Rounds of a full run.
const ROUNDS: u32 = 5;
/// About how long two guests take to boot.
const BOOT: Duration = Duration::from_secs(14);
/// About how long one measurement takes.
const STEP: Duration = Duration::from_secs(2);
/// Longest that a command in a guest may take.
const DEADLINE: Duration = Duration::from_secs(40);
/// The link between two nodes, and the second one's address on it, which stands for its guest.
const CROSS: &str = "cross0";
const BEHIND: &str = "10.99.0.2";

fn kinds(session: &Session) -> Vec<Kind> {
    session.kinds().into_iter().filter(|kind| KINDS.contains(kind)).collect()
}

fn takes(session: &Session) -> Duration {
    let kinds = u32::try_from(kinds(session).len()).unwrap_or(u32::MAX);
    kinds * (BOOT + 3 * STEP * session.rounds(ROUNDS))
}

fn run(session: &mut Session) -> Result<()> {
    let mut pairs = Vec::new();
    for kind in kinds(session) {
        pairs.push(Pair::new(session, kind).with_context(|| format!("booting behind {kind}"))?);
        session.worked(BOOT);
    }
    for round in 0..session.rounds(ROUNDS) {
        for (measure, direction) in [(VM_POD, ToNetwork), (VM_POD, ToGuest), (VM_VM, ToNetwork)] {
            for at in turned(&(0..pairs.len()).collect::<Vec<_>>(), round) {
                let sample = pairs[*at].sample(measure, direction, round);
                session.record(sample);
                session.worked(STEP);
            }
        }
    }
    Ok(())
}

fn table(run: &Run) -> String {
    report::table::measures(run, &[VM_POD, VM_VM])
}

/// Two guests of one path.
struct Pair {
    kind: Kind,
    // In the order in which they must go: QEMU holds the taps.
    first: Vm,
    _second: Vm,
    _server: Running,
    ends: [Joined; 2],
}

impl Pair {
    fn new(session: &mut Session, kind: Kind) -> Result<Self> {
        let ends = [session.join(kind, "vm")?, kind.join("vm")?];
        cross([&ends[0], &ends[1]]).context("joining two nodes")?;
        let far = ends[0].far_namespace();
        let server = far.spawn(cmd::command(&["iperf3", "-s"])?.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let first = boot(&ends[0])?;
        let mut second = boot(&ends[1])?;
        second.run("iperf3 -s -D", DEADLINE)?;
        Ok(Self { kind, first, _second: second, _server: server, ends })
    }

    /// What fails is a sample that does not count, with the reason.
    fn sample(&mut self, measure: &str, direction: Direction, round: u32) -> Sample {
        let moved = self.moved(measure, direction);
        Sample {
            measure: measure.to_owned(),
            path: self.kind.name().to_owned(),
            // The first guest is at one end of both ways.
            direction: if measure == VM_VM { Direction::Both } else { direction },
            size: None,
            round,
            value: *moved.as_ref().unwrap_or(&0.0),
            unit: "Mbit/s".to_owned(),
            void: moved.err().map(|error| format!("{error:#}")),
        }
    }

    fn moved(&mut self, measure: &str, direction: Direction) -> Result<f64> {
        let server = if measure == VM_VM { BEHIND.to_owned() } else { self.ends[0].far.address.to_string() };
        let line = iperf::line(&server, Load::Tcp(1), direction, false).join(" ");
        Ok(iperf::moved(&self.first.run(&line, DEADLINE)?, Load::Tcp(1))?.megabits)
    }
}

/// A guest with the address of the path's pod.
fn boot(joined: &Joined) -> Result<Vm> {
    let mac = joined.guest.mac.map(|octet| format!("{octet:02x}")).join(":");
    let mut vm = Vm::boot(joined.tap_namespace(), &VmConfig::new(TAP, &mac))?;
    let (address, gateway) = (joined.guest.address, joined.gateway.address);
    vm.run(
        &format!(
            "ip link set eth0 up && ip addr add {address}/{} dev eth0 && ip route add default via {gateway} && \
             ping -c 1 -W 5 {}",
            joined.prefix, joined.far.address
        ),
        DEADLINE,
    )?;
    Ok(vm)
}

/// Joins two nodes, so that the first one's guest reaches the second one's by [`BEHIND`].
fn cross([first, second]: [&Joined; 2]) -> Result<()> {
    let (a, b): (&Namespace, &Namespace) = (first.far_namespace(), second.far_namespace());
    a.ip(&["link", "add", CROSS, "type", "veth", "peer", "name", CROSS, "netns", b.name()])?;
    for (node, address) in [(a, "10.99.0.1"), (b, BEHIND)] {
        node.ip(&["addr", "add", &format!("{address}/24"), "dev", CROSS])?;
        node.ip(&["link", "set", CROSS, "up"])?;
        node.set_sysctl("net/ipv4/ip_forward", "1")?;
    }
    nat(a, &format!("postrouting {{ type nat hook postrouting priority 100; oifname {CROSS} masquerade; }}"))?;
    let guest = second.seen.address;
    nat(b, &format!("prerouting {{ type nat hook prerouting priority -100; iifname {CROSS} dnat to {guest}; }}"))
}

fn nat(node: &Namespace, chain: &str) -> Result<()> {
    node.exec(&["nft", &format!("table ip cross {{ chain {chain}; }}")]).map(drop)
}
