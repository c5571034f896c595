//! The host side of a pod NIC: the other end of its veth, in the node's namespace.
//!
//! The kernel tells of a veth's other end by index and by an id of its namespace that is meaningful only in the NIC's own
//! namespace. An index alone proves nothing, since every namespace counts from 1, so what is found is checked both ways.

use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TcAttachType};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    netlink::{Netlink, tc::Tc},
    netns::Netns,
    nic::Nic,
};

/// What is known of the host side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostSide {
    /// It is in the node's namespace.
    Seen {
        /// The other end.
        nic: Nic,
        /// It has classic tc filters, on either side.
        tc_programs: bool,
        /// It has TCX programs, on either side. They, like all filters, may be our own.
        tcx_programs: bool,
        /// It has an XDP program.
        xdp: bool,
        /// Its qdiscs and filters.
        tc: Tc,
        /// Ids of its TCX programs.
        tcx: TcxPrograms,
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

/// Ids of the TCX programs of a link, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcxPrograms {
    /// On what arrives at the link.
    pub ingress: Vec<u32>,
    /// On what leaves by the link.
    pub egress: Vec<u32>,
}

impl TcxPrograms {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self.ingress.is_empty() || !self.egress.is_empty()
    }
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
    let tcx = tcx_programs(node, &found.name)?;
    Ok(HostSide::Seen { tc_programs: tc.has_filters(), tcx_programs: tcx.any(), xdp: found.xdp, nic: found, tc, tcx })
}

/// The TCX programs of a link. A kernel that does not know the question (before 6.6) has none; any other failure is one,
/// for a program that cannot be seen must not count as absent.
pub fn tcx_programs(netns: &Netns, interface: &str) -> Result<TcxPrograms> {
    let ids = |hook| match SchedClassifier::query_tcx(interface, hook) {
        Ok((_, programs)) => Ok(programs.iter().map(ProgramInfo::id).collect()),
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        Err(error) => Err(Error::new(format!("list the TCX programs of {interface}"), error)),
    };
    netns.run(|| Ok(TcxPrograms { ingress: ids(TcAttachType::Ingress)?, egress: ids(TcAttachType::Egress)? }))
}

fn not_found(why: &str) -> HostSide {
    HostSide::NotFound { why: why.to_owned() }
}
