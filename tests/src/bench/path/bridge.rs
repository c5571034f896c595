//! `KubeVirt`'s bridge binding: pod NIC and tap are ports of a bridge, which does not learn from the NIC.

use anyhow::Result;

use super::{Joined, Kind, Maker, TAP, quiet_pod};
use crate::bridge::{BridgeBinding, FAKE_ADDRESS};

pub(super) fn join(label: &str) -> Result<Joined> {
    let pod = quiet_pod(label)?;
    let binding = BridgeBinding::wire_only(&pod, TAP)?;
    let facts = format!("bridge with {FAKE_ADDRESS}, learning off on the pod NIC, whose MAC the guest has");
    Joined::in_pod(Kind::Bridge, pod, Maker::Bridge(binding), facts)
}
