//! The tap in the record: what it was like, and how it is known.

use serde::{Deserialize, Serialize};

/// What attach did, or will do, with the tap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapRecord {
    /// Name of the device.
    pub name: String,
    /// The name under which attach makes the tap, before it is known by its index; `None` for a tap that was there. A
    /// random one: what is deleted by this name can be nobody else's.
    pub made_as: Option<String>,
    /// What an existing tap was like; `None` when attach makes it, and detach deletes it.
    pub before: Option<TapBefore>,
    /// Interface index, once it is known.
    pub ifindex: Option<u32>,
    /// MTU in octets.
    pub mtu: u32,
    /// More than one queue can be opened.
    pub multi_queue: bool,
}

/// What attach changes on a tap that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapBefore {
    /// The link was up.
    pub up: bool,
    /// ARP was on.
    pub arp: bool,
    /// The sysctl `disable_ipv6`; `None` without IPv6 in the kernel.
    pub disable_ipv6: Option<i32>,
    /// The MTU in octets, if it was changed: only `repair` does that, to a tap that was made in place of another.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The root qdisc was the kernel's own, which attach takes away.
    #[serde(default)]
    pub queued: bool,
}

impl TapRecord {
    /// Whether the queue before the tap is not somebody's choice.
    pub(crate) fn may_lose_queue(&self) -> bool {
        self.before.is_none_or(|before| before.queued)
    }
}
