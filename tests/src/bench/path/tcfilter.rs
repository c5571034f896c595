//! Kata's tcfilter: an `ingress` qdisc on tap and pod NIC, and on each a u32 filter that matches all and redirects to the
//! other. The pod NIC keeps its MAC and its addresses, and the guest has the same (`setupTCFiltering`,
//! `addRedirectTCFilter` in Kata's `network_linux.go`; the two calls are those of awslabs' tc-redirect-tap too).

use anyhow::Result;

use super::{Joined, Kind, Maker, TAP, quiet_pod};

pub(super) fn join(label: &str) -> Result<Joined> {
    let pod = quiet_pod(label)?;
    pod.add_tap(TAP)?;
    let nic = pod.nic.as_str();
    for (from, to) in [(TAP, nic), (nic, TAP)] {
        pod.namespace.exec(&["tc", "qdisc", "add", "dev", from, "ingress"])?;
        let filter = format!("tc filter add dev {from} parent ffff: protocol all u32 match u8 0 0");
        let action = format!("action mirred egress redirect dev {to}");
        let words: Vec<&str> = filter.split(' ').chain(action.split(' ')).collect();
        pod.namespace.exec(&words)?;
    }
    let facts = "ingress qdiscs, u32 that matches all, mirred redirect".to_owned();
    Joined::in_pod(Kind::Tcfilter, pod, Maker::Namespaces, facts)
}
