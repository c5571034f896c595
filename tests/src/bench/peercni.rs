//! To the guest behind a CNI that delivers by `bpf_redirect_peer`, as Cilium and Calico do with eBPF host routing.
//!
//! A program at the ingress of the node's uplink sends the frame to the pod NIC's ingress in the same call chain, so it
//! crosses no veth and no queue of its own, and the host side's egress never sees it. The uplink is a veth, whose other end
//! is the wire; it is on every path alike, and on the floor its program redirects to the tap.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;

use super::{
    frame::Size,
    hop::costs,
    lane::{Effort, Lane, Sender, Timed, on_one_cpu},
    path::{Joined, Kind},
    sample::{Direction, Run, Sample},
    session::{Measure, Session},
};
use crate::bpf::{self, Attached, Program};

/// This measure.
pub const MEASURE: Measure =
    Measure { name: NAME, about: "a peer-capable CNI", in_quick: true, takes, run, table: tables };

const NAME: &str = "peer-cni";
const UPLINK: &str = "uplink0";
const WIRE: &str = "wire0";
/// Rounds of a full run.
const ROUNDS: u32 = 11;
/// About how long one sample takes.
const SAMPLE: Duration = Duration::from_millis(100);
/// About how long a path takes to be made and taken away.
const JOIN: Duration = Duration::from_secs(1);
/// The paths that the figures are about, and the floor. tapwire with its portal is like tapwire without: no frame reaches
/// the egress of the host side.
const KINDS: [Kind; 4] = [Kind::Floor, Kind::Bridge, Kind::Tcfilter, Kind::Tapwire];

fn kinds(session: &Session) -> Vec<Kind> {
    session.kinds().into_iter().filter(|kind| KINDS.contains(kind)).collect()
}

fn takes(session: &Session) -> Duration {
    let kinds = u32::try_from(kinds(session).len()).unwrap_or(u32::MAX);
    let sample = if session.quick() { SAMPLE / 2 } else { SAMPLE };
    JOIN * kinds + sample * session.rounds(ROUNDS) * kinds * 3
}

fn run(session: &mut Session) -> Result<()> {
    on_one_cpu(|| measure(session))
}

/// A path with an uplink in front.
struct Behind {
    // Held, and taken off before the path goes.
    _deliver: Attached,
    sender: Sender,
    lane: Lane,
}

impl Behind {
    fn open(path: Joined) -> Result<Self> {
        let lane = Lane::open(path)?;
        let node = lane.path.far_namespace();
        node.ip(&["link", "add", UPLINK, "type", "veth", "peer", "name", WIRE])?;
        for link in [UPLINK, WIRE] {
            node.ip(&["link", "set", link, "up"])?;
        }
        let to = node.run(|| if_nametoindex(lane.path.far_link.as_str()).context("the far end is gone"))?;
        // Without a pod there is no peer: out of the tap, which is the far end.
        let helper = if lane.path.pod().is_some() { bpf::HELPER_REDIRECT_PEER } else { bpf::HELPER_REDIRECT };
        let deliver = [bpf::set(1, i32::try_from(to)?), bpf::set(2, 0), bpf::call_helper(helper), bpf::EXIT];
        let deliver = Program::load("bench_deliver", &deliver)?.first(node, UPLINK)?;
        let sender = Sender::open(node, WIRE)?;
        Ok(Self { _deliver: deliver, sender, lane })
    }

    fn to_guest(&self, size: Size, effort: Effort) -> Result<Timed> {
        self.lane.to_guest_from(&self.sender, size, effort)
    }
}

fn measure(session: &mut Session) -> Result<()> {
    let mut all = Vec::new();
    for kind in kinds(session) {
        let path = session.join(kind, "cni")?;
        all.push(Behind::open(path)?);
        session.worked(JOIN);
    }
    let quick = session.quick();
    for round in 0..session.rounds(ROUNDS) {
        for size in Size::ALL {
            for behind in &all {
                let timed = behind.to_guest(size, Effort::of(size, quick))?;
                session.worked(if quick { SAMPLE / 2 } else { SAMPLE });
                session.record(Sample {
                    measure: NAME.to_owned(),
                    path: behind.lane.path.kind.name().to_owned(),
                    direction: Direction::ToGuest,
                    size: Some(u32::try_from(size.octets())?),
                    round,
                    value: timed.nanos,
                    unit: "ns/frame".to_owned(),
                    void: timed.void,
                });
            }
        }
    }
    Ok(())
}

fn tables(run: &Run) -> String {
    let title = |size: Size| format!("{NAME}: to-guest by bpf_redirect_peer, {}", size.name());
    Size::ALL.into_iter().map(|size| costs(run, NAME, &title(size), Direction::ToGuest, size)).collect()
}
