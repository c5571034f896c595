//! The ways that are compared, each set up as its own project sets it up.
//!
//! All are laid out alike, so that one loop measures them: a guest's end, which is opened as a VM monitor opens it, and
//! a far end, a link with an address in the node's namespace. What differs is only what lies between. On all of them the
//! tap has the qdisc that this kernel gives it, and IPv6 is off, which would send frames that nobody counts.

mod bridge;
mod floor;
mod macvtap;
mod masquerade;
pub mod passt;
pub mod tapwire;
mod tcfilter;

use std::{fmt, net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{
    bridge::BridgeBinding,
    netns::Namespace,
    pod::{HOST_MAC, POD_MAC, Pod},
    port::FramePort,
    tap::{Offloads, TapFile},
    tapwire::Tapwire,
    wait::wait_until,
};

/// The tap's name on every path.
pub const TAP: &str = "tap0";
/// The pod's address, as the network knows it.
pub const POD_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
/// The node's address, on the far end.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);

/// A way to join a VM to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The tap is in the node's namespace: no pod at all. What is above it is what a binding costs.
    Floor,
    /// `KubeVirt`'s bridge binding.
    Bridge,
    /// Kata's tcfilter.
    Tcfilter,
    /// `KubeVirt`'s masquerade binding.
    Masquerade,
    /// Kata's macvtap on the pod NIC.
    Macvtap,
    /// A process that ends connections. It carries no frames as they are, so there is no hop to measure.
    Passt,
    /// tapwire with `--to-network redirect --to-guest redirect`.
    TapwireRedirect,
    /// tapwire with `--to-guest redirect`.
    TapwirePeer,
    /// tapwire with its defaults: guard, counters and responders on.
    Tapwire,
}

impl Kind {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 9] = [
        Self::Floor,
        Self::Bridge,
        Self::Tcfilter,
        Self::Masquerade,
        Self::Macvtap,
        Self::Passt,
        Self::TapwireRedirect,
        Self::TapwirePeer,
        Self::Tapwire,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Bridge => "bridge",
            Self::Tcfilter => "tcfilter",
            Self::Masquerade => "masquerade",
            Self::Macvtap => "macvtap",
            Self::Passt => "passt",
            Self::TapwireRedirect => "tapwire-redirect",
            Self::TapwirePeer => "tapwire-peer",
            Self::Tapwire => "tapwire",
        }
    }

    /// Why the path cannot be made on this machine, if it cannot.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Floor | Self::Bridge | Self::Tcfilter => None,
            Self::Masquerade => masquerade::missing(),
            Self::Macvtap => macvtap::missing(),
            Self::Passt => passt::missing(),
            Self::TapwireRedirect | Self::TapwirePeer | Self::Tapwire => tapwire::missing(),
        }
    }

    /// Whether frames pass as they are. What is not so has no hop, only connections.
    pub const fn carries_frames(self) -> bool {
        !matches!(self, Self::Passt)
    }

    /// What a guest can leave to this path: virtio-net's offloads, where it has the header for them.
    pub const fn offloads(self) -> Offloads {
        if self.carries_frames() { Offloads::Virtio } else { Offloads::None }
    }

    /// Makes the path, in namespaces of its own that bear `label`.
    pub fn join(self, label: &str) -> Result<Joined> {
        let label = format!("{label}-{}", self.name());
        let joined = match self {
            Self::Floor => floor::join(&label),
            Self::Bridge => bridge::join(&label),
            Self::Tcfilter => tcfilter::join(&label),
            Self::Masquerade => masquerade::join(&label),
            Self::Macvtap => macvtap::join(&label),
            Self::Passt => passt::join(&label),
            Self::TapwireRedirect => tapwire::join(self, &label, &["redirect", "redirect"]),
            Self::TapwirePeer => tapwire::join(self, &label, &["peer", "redirect"]),
            Self::Tapwire => tapwire::join(self, &label, &[]),
        };
        joined.with_context(|| format!("making the path {self}"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One who sends and is sent frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// MAC, in the order in which it is sent.
    pub mac: [u8; 6],
    /// Address.
    pub address: Ipv4Addr,
}

/// A path that is there. Dropping it removes it whole.
#[derive(Debug)]
pub struct Joined {
    /// Which one.
    pub kind: Kind,
    /// What the guest has.
    pub guest: End,
    /// Length of the guest's prefix.
    pub prefix: u8,
    /// What the path's own DHCP server has the guest take.
    pub mtu: u16,
    /// To whom the guest sends what is not of its prefix, and on a path with NAT all that it sends.
    pub gateway: End,
    /// The far end: the node, on the link [`far_link`](Self::far_link).
    pub far: End,
    /// To whom the far end sends what is for the guest.
    pub seen: End,
    /// The far end's link in [`far_namespace`](Self::far_namespace).
    pub far_link: String,
    /// What the path is made of, in words.
    pub facts: String,
    // In the order in which they must go.
    /// What made the path and takes it away.
    maker: Maker,
    place: Place,
}

/// What holds a path together.
#[derive(Debug)]
enum Maker {
    /// Nothing but its namespaces.
    Namespaces,
    Bridge(#[expect(dead_code, reason = "held, not used")] BridgeBinding),
    /// The folder with the file of the device.
    Macvtap(TempDir),
    Passt(passt::Passt),
    Tapwire(Tapwire),
}

/// Where a path lies.
#[derive(Debug)]
enum Place {
    Node(Namespace),
    Pod(Pod),
}

impl Joined {
    /// The common case: the guest has what the pod had.
    fn in_pod(kind: Kind, pod: Pod, maker: Maker, facts: String) -> Result<Self> {
        let [guest, far] = ends()?;
        let far_link = pod.host_side.clone();
        let place = Place::Pod(pod);
        Ok(Self { kind, guest, prefix: 24, mtu: 1500, gateway: far, far, seen: guest, far_link, facts, maker, place })
    }

    /// Where the tap is.
    pub fn tap_namespace(&self) -> &Namespace {
        match &self.place {
            Place::Node(node) => node,
            Place::Pod(pod) => &pod.namespace,
        }
    }

    /// Where the far end is.
    pub fn far_namespace(&self) -> &Namespace {
        match &self.place {
            Place::Node(node) => node,
            Place::Pod(pod) => &pod.node,
        }
    }

    /// The pod, on paths that have one.
    pub fn pod(&self) -> Option<&Pod> {
        match &self.place {
            Place::Node(_) => None,
            Place::Pod(pod) => Some(pod),
        }
    }

    /// tapwire, on the paths that are its own. Its one binding has the name [`tapwire::BINDING`](crate::BINDING).
    pub fn tapwire(&self) -> Option<&Tapwire> {
        match &self.maker {
            Maker::Tapwire(tapwire) => Some(tapwire),
            Maker::Namespaces | Maker::Bridge(_) | Maker::Macvtap(_) | Maker::Passt(_) => None,
        }
    }

    /// Opens the guest's end as a VM monitor does, and waits until the kernel has told everybody of its carrier.
    pub fn open(&self, offloads: Offloads) -> Result<TapFile> {
        let namespace = self.tap_namespace();
        let tap = match &self.maker {
            Maker::Macvtap(folder) => TapFile::open_node(&folder.path().join(TAP), offloads)?,
            Maker::Passt(_) => bail!("{} has no tap", self.kind),
            Maker::Namespaces | Maker::Bridge(_) | Maker::Tapwire(_) => TapFile::open(namespace, TAP, offloads)?,
        };
        // The carrier is there at once, but bridges and queues throw frames away until they have been told.
        wait_until(&format!("carrier on {TAP} of {}", self.kind), Duration::from_secs(5), || {
            Ok(namespace.ip(&["-br", "link", "show", "dev", TAP])?.split_whitespace().nth(1) == Some("UP"))
        })?;
        Ok(tap)
    }

    /// The guest's end, whatever it is: with the offloads of [`Kind::offloads`].
    pub fn port(&self) -> Result<Box<dyn FramePort>> {
        match &self.maker {
            Maker::Passt(passt) => Ok(Box::new(passt.connect()?)),
            _ => Ok(Box::new(self.open(self.kind.offloads())?)),
        }
    }
}

/// The guest and the node of the lab's usual pod.
fn ends() -> Result<[End; 2]> {
    Ok([End { mac: octets(POD_MAC)?, address: POD_ADDRESS }, End { mac: octets(HOST_MAC)?, address: NODE_ADDRESS }])
}

/// The octets of a MAC.
fn octets(mac: &str) -> Result<[u8; 6]> {
    let octets: Vec<u8> = mac.split(':').map_while(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    let Ok(octets) = octets.try_into() else { bail!("{mac} is no MAC") };
    Ok(octets)
}

/// The lab's usual pod, in silence.
fn quiet_pod(label: &str) -> Result<Pod> {
    let pod = Pod::new(label)?;
    quiet(&pod.node)?;
    quiet(&pod.namespace)?;
    Ok(pod)
}

/// Turns IPv6 off, which sends by itself.
fn quiet(namespace: &Namespace) -> Result<()> {
    for link in ["default", "all"] {
        namespace.set_sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1")?;
    }
    Ok(())
}
