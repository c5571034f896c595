//! What traffic control a link has, to know whether anyone else's program is in the way; and its root qdisc.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{
    Netlink,
    raw::{Attributes, NlError, RawMessage, text_of, u32_of},
    rtm::{RTM_DELQDISC, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, TC_HEADER},
};
use crate::{Context as _, Error, Result};

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`; also right for an `ingress` qdisc, which ignores the minor number.
const INGRESS_HOOK: u32 = 0xffff_fff2;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`.
const EGRESS_HOOK: u32 = 0xffff_fff3;

/// Qdiscs and classic filters of a link (TCX programs are not among them).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tc {
    /// The root qdisc. A virtual device without a queue has `noqueue`.
    pub root: Option<Qdisc>,
    /// `clsact` or `ingress`, if there is either.
    pub hook_qdisc: Option<String>,
    /// Filters on what arrives at the link.
    pub ingress: Vec<Filter>,
    /// Filters on what leaves by the link.
    pub egress: Vec<Filter>,
}

impl Tc {
    /// Whether there is any filter on either side.
    pub fn has_filters(&self) -> bool {
        !self.ingress.is_empty() || !self.egress.is_empty()
    }
}

/// A root qdisc.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qdisc {
    /// E.g. `noqueue`, `fq_codel`, `tbf`.
    pub kind: String,
    /// Zero for the one that the kernel chose itself.
    pub handle: u32,
}

/// A classic tc filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// E.g. `bpf`, `u32`, `flower`.
    pub kind: String,
    /// Lower comes first.
    pub priority: u16,
    /// An `ETH_P_…`, in host byte order.
    pub protocol: u16,
    /// Chosen by the one who made it.
    pub handle: u32,
    /// Of a `bpf` filter: the name that it was added with.
    pub bpf_name: Option<String>,
    /// Of a `bpf` filter: the program's id.
    pub bpf_id: Option<u32>,
}

impl Filter {
    /// The name of its program, or the kind that it is.
    pub fn name(&self) -> &str {
        self.bpf_name.as_deref().unwrap_or(&self.kind)
    }
}

impl Netlink {
    /// Qdiscs and filters of a link.
    pub async fn tc(&self, ifindex: u32) -> Result<Tc> {
        let mut tc = Tc::default();
        let what = || format!("list the qdiscs of the link of index {ifindex}");
        for message in self.dump(question(RTM_GETQDISC, ifindex, 0)).await.context(what)? {
            let header = TcHeader::of(&message);
            let kind = message.attribute(TC_HEADER, TCA_KIND).map(text_of).unwrap_or_default();
            match header.parent {
                _ if header.ifindex != ifindex => {}
                TC_H_ROOT => tc.root = Some(Qdisc { kind, handle: header.handle }),
                TC_H_INGRESS => tc.hook_qdisc = Some(kind),
                _ => {}
            }
        }
        // An ingress qdisc has one list, which it shows for whatever minor number is asked.
        if tc.hook_qdisc.is_some() {
            tc.ingress = self.filters(ifindex, INGRESS_HOOK).await?;
        }
        if tc.hook_qdisc.as_deref() == Some("clsact") {
            tc.egress = self.filters(ifindex, EGRESS_HOOK).await?;
        }
        Ok(tc)
    }

    /// Deletes the clsact qdisc of a link, with every filter in it.
    pub async fn delete_clsact(&self, ifindex: u32) -> Result<()> {
        let message = question(RTM_DELQDISC, ifindex, TC_H_INGRESS).with(TCA_KIND, b"clsact\0");
        match self.change(message, 0).await {
            Err(NlError::Kernel(Errno::EINVAL | Errno::ENOENT | Errno::ENODEV)) => Ok(()),
            other => other.context(|| format!("delete the clsact qdisc of the link of index {ifindex}")),
        }
    }

    /// Puts a root qdisc without options on a link, in place of the one that is there.
    pub async fn replace_root(&self, ifindex: u32, kind: &str) -> Result<(), NlError> {
        let message = question(RTM_NEWQDISC, ifindex, TC_H_ROOT).with(TCA_KIND, &[kind.as_bytes(), b"\0"].concat());
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE).await
    }

    /// Deletes the root qdisc of a link, which gets the kernel's own again.
    pub async fn delete_root(&self, ifindex: u32) -> Result<(), NlError> {
        self.change(question(RTM_DELQDISC, ifindex, TC_H_ROOT), 0).await
    }

    async fn filters(&self, ifindex: u32, parent: u32) -> Result<Vec<Filter>> {
        match self.dump(question(RTM_GETTFILTER, ifindex, parent)).await {
            // Each priority also shows a filter without options and with handle 0: its head.
            Ok(found) => Ok(found.iter().filter_map(filter).collect()),
            // The qdisc went away since it was listed.
            Err(NlError::Kernel(Errno::EINVAL | Errno::ENOENT | Errno::ENODEV)) => Ok(Vec::new()),
            Err(error) => Err(Error::new(format!("list the tc filters of the link of index {ifindex}"), error)),
        }
    }
}

/// The fields of `struct tcmsg`.
struct TcHeader {
    ifindex: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

impl TcHeader {
    fn of(message: &RawMessage) -> Self {
        let header = message.header::<TC_HEADER>();
        let field = |at: usize| header.get(at..).and_then(u32_of).unwrap_or(0);
        Self { ifindex: field(4), handle: field(8), parent: field(12), info: field(16) }
    }
}

fn question(kind: u16, ifindex: u32, parent: u32) -> RawMessage {
    let mut header = [0; TC_HEADER];
    header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    RawMessage::new(kind, &header)
}

fn filter(message: &RawMessage) -> Option<Filter> {
    let header = TcHeader::of(message);
    let options = message.attribute(TC_HEADER, TCA_OPTIONS)?;
    let option = |wanted| Attributes::new(options).find_map(|(kind, value)| (kind == wanted).then_some(value));
    let kind = message.attribute(TC_HEADER, TCA_KIND).map(text_of).unwrap_or_default();
    let is_bpf = kind == "bpf";
    Some(Filter {
        priority: u16::try_from(header.info >> 16).unwrap_or(u16::MAX),
        // The protocol is the lower half, itself in network byte order.
        protocol: u16::from_be(u16::try_from(header.info & 0xffff).unwrap_or(0)),
        handle: header.handle,
        bpf_name: option(TCA_BPF_NAME).filter(|_| is_bpf).map(text_of),
        bpf_id: option(TCA_BPF_ID).filter(|_| is_bpf).and_then(u32_of),
        kind,
    })
}
