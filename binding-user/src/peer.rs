//! The host side of a pod NIC: the other end of its veth, in the node's namespace.
//!
//! The kernel tells of a veth's other end by index and by an id of its namespace that is meaningful only in the NIC's own
//! namespace. An index alone proves nothing, since every namespace counts from 1, so what is found is checked both ways.

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    datapath::{
        hook::{NODE_PRIORITY, is_in_node_place},
        tcx,
    },
    netlink::{Netlink, tc::Filter},
    netns::Netns,
    nic::Nic,
    portal::HOST_OUT,
};

/// What is known of the host side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostSide {
    /// It is in the node's namespace.
    Seen {
        /// The other end.
        nic: Nic,
        /// It has classic tc filters, on either side. That of a portal at its egress is ours, and does not count.
        tc_programs: bool,
        /// It has TCX programs, on either side.
        tcx_programs: bool,
        /// It has an XDP program.
        xdp: bool,
        /// Its root qdisc; a device that is down may have none.
        root: Option<String>,
        /// `clsact` or `ingress`, if it has either.
        hook_qdisc: Option<String>,
        /// Somebody else's filter is where ours would be, or has its priority.
        occupied: bool,
    },
    /// The pod NIC is no veth, and has no host side.
    NotVeth,
    /// It is not in the namespace that was said to be the node's.
    NotFound {
        /// For the operator.
        why: String,
    },
    /// Both ends are in one namespace.
    SameNamespace,
}

/// Finds the host side of `nic`, which is in `pod`, in `node`.
pub async fn find_host_side(nic: &Nic, pod: &Netns, node: &Netns) -> Result<HostSide> {
    if nic.kind != "veth" {
        return Ok(HostSide::NotVeth);
    }
    let (Some(peer), Some(nsid)) = (nic.link, nic.link_netnsid) else {
        // The kernel leaves the id out when both ends are in one namespace.
        return Ok(if nic.link.is_some() { HostSide::SameNamespace } else { not_found("the kernel does not name it") });
    };
    if pod.same(node) {
        return Ok(not_found("the node's namespace that was given is the pod's own"));
    }
    if Netlink::open(pod)?.nsid(node).await? != Some(nsid) {
        return Ok(not_found("the other end of the veth is in a third namespace"));
    }
    let netlink = Netlink::open(node)?;
    let Some(found) = netlink.nic_by_index(peer).await? else {
        return Ok(not_found(&format!("the node has no interface of index {peer}")));
    };
    let points_back = found.kind == "veth" && found.link == Some(nic.ifindex);
    if !points_back || found.link_netnsid.is_none() || found.link_netnsid != netlink.nsid(pod).await? {
        return Ok(not_found(&format!("the node's interface {} does not lead back to the pod", found.name)));
    }
    let tc = netlink.tc(found.ifindex).await?;
    let is_ours = |filter: &&Filter| is_in_node_place(filter) && filter.bpf_name.as_deref() == Some(HOST_OUT);
    let mut others = tc.egress.iter().filter(|filter| !is_ours(filter));
    Ok(HostSide::Seen {
        // Of filters of one priority the newest is asked first, and ours is to be asked last.
        occupied: others.clone().any(|filter| filter.priority == NODE_PRIORITY),
        tc_programs: !tc.ingress.is_empty() || others.next().is_some(),
        root: tc.root.map(|root| root.kind),
        hook_qdisc: tc.hook_qdisc,
        tcx_programs: !node.run(|| tcx::programs_on(&found.name))?.is_empty(),
        xdp: found.xdp,
        nic: found,
    })
}

fn not_found(why: &str) -> HostSide {
    HostSide::NotFound { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{HOST_SIDE, Lab, Namespace};

    async fn nic(lab: &Lab, name: &str) -> Nic {
        lab.netlink().nic(name).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn the_host_side_is_seen_with_what_is_on_it() {
        let Some(lab) = Lab::new() else { return };
        let (pod, node) = (lab.pod.open(), lab.node.open());
        let found = find_host_side(&nic(&lab, "eth0").await, &pod, &node).await.unwrap();
        let HostSide::Seen { nic: host, tc_programs, tcx_programs, xdp, .. } = found else { panic!("{found:?}") };
        assert_eq!(host.name, HOST_SIDE);
        assert!(!tc_programs && !tcx_programs && !xdp);
        lab.node.exec(&format!("tc qdisc add dev {HOST_SIDE} clsact"));
        lab.node.exec(&format!("tc filter add dev {HOST_SIDE} ingress protocol all u32 match u32 0 0"));
        let found = find_host_side(&nic(&lab, "eth0").await, &pod, &node).await.unwrap();
        let HostSide::Seen { tc_programs, .. } = found else { panic!("{found:?}") };
        assert!(tc_programs);
    }

    #[tokio::test]
    async fn it_is_not_found_where_it_is_not() {
        let Some(lab) = Lab::new() else { return };
        let pod = lab.pod.open();
        let eth0 = nic(&lab, "eth0").await;
        let stranger = Namespace::new();
        // The stranger has a veth of the same number, too.
        let peer = eth0.link.unwrap();
        stranger.ip(&format!("link add x index {peer} type veth peer name y index {}", peer + 100));
        for node in [&stranger, &lab.pod] {
            let found = find_host_side(&eth0, &pod, &node.open()).await.unwrap();
            assert!(matches!(found, HostSide::NotFound { .. }), "{found:?}");
        }
    }

    #[tokio::test]
    async fn other_kinds_and_pairs_in_one_namespace_have_none() {
        let Some(lab) = Lab::new() else { return };
        let (pod, node) = (lab.pod.open(), lab.node.open());
        lab.pod.ip("link add br0 type bridge");
        lab.pod.ip("link add one type veth peer name two");
        let found = find_host_side(&nic(&lab, "br0").await, &pod, &node).await.unwrap();
        assert_eq!(found, HostSide::NotVeth);
        let found = find_host_side(&nic(&lab, "one").await, &pod, &node).await.unwrap();
        assert_eq!(found, HostSide::SameNamespace);
    }
}
