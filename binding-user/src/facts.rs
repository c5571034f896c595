//! What was found in a pod, as types: addresses, routes and neighbours read from netlink messages.
//!
//! Nothing is interpreted here. Which of it becomes the lease is decided where the lease is made.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use binding_common::MacAddr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    netlink::{
        raw::{Attributes, RawMessage, text_of, u32_of},
        rtm,
    },
    netns::NetnsId,
    nic::Nic,
    resolv::Resolv,
};

/// Everything that a lease is made of, as found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The pod's namespace.
    pub netns: NetnsFacts,
    /// The pod NIC.
    pub nic: Nic,
    /// Its addresses of both families, in the kernel's order.
    pub addresses: Vec<Address>,
    /// Its routes of both families in the table `main`, in the kernel's order.
    pub routes: Vec<Route>,
    /// Its permanent neighbours.
    pub neighbours: Vec<Neighbour>,
    /// The pod's resolv.conf.
    pub resolv: Resolv,
    /// What was found and cannot be told to a guest, each as one line for the operator.
    pub warnings: Vec<String>,
    /// Why the pod's IPv4 default route cannot be told to a guest; `None` where one can, or where there is none.
    #[serde(default)]
    pub lost_default: Option<String>,
}

/// A namespace, for people and for finding it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsFacts {
    /// As the operator named it.
    pub spec: String,
    /// The path that it was opened by.
    pub path: PathBuf,
    /// Its identity.
    pub id: NetnsId,
}

/// How far an address or a route reaches (`RT_SCOPE_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Anywhere.
    Global,
    /// This site (obsolete).
    Site,
    /// This link. An IPv4 route of this scope has no gateway. IPv6 routes are always [`Self::Global`].
    Link,
    /// This host.
    Host,
    /// Nowhere.
    Nowhere,
    /// A number that someone chose.
    Other(u8),
}

impl From<u8> for Scope {
    fn from(scope: u8) -> Self {
        match scope {
            0 => Self::Global,
            200 => Self::Site,
            253 => Self::Link,
            254 => Self::Host,
            255 => Self::Nowhere,
            _ => Self::Other(scope),
        }
    }
}

/// `IFA_F_…` of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressFlag {
    /// Another address of the same prefix comes first (IPv4); made for privacy (IPv6).
    Secondary,
    /// No duplicate address detection.
    Nodad,
    /// May be used before the detection is done.
    Optimistic,
    /// Someone else has it.
    Dadfailed,
    /// Mobile IPv6.
    Home,
    /// Its preferred lifetime is over.
    Deprecated,
    /// The detection is not done.
    Tentative,
    /// It has no lifetime.
    Permanent,
    /// The kernel makes temporary ones from it.
    Mngtmpaddr,
    /// The kernel makes no route to its prefix.
    Noprefixroute,
    /// Multicast groups are joined.
    Autojoin,
    /// Made by RFC 7217.
    StablePrivacy,
}

impl AddressFlag {
    /// In the order of the bits, from 1.
    const ALL: [Self; 12] = [
        Self::Secondary,
        Self::Nodad,
        Self::Optimistic,
        Self::Dadfailed,
        Self::Home,
        Self::Deprecated,
        Self::Tentative,
        Self::Permanent,
        Self::Mngtmpaddr,
        Self::Noprefixroute,
        Self::Autojoin,
        Self::StablePrivacy,
    ];
}

/// An address of the NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address (not its network) and the length of its prefix.
    pub address: IpNet,
    /// The other end, of a point-to-point address.
    pub peer: Option<IpAddr>,
    /// How far it reaches.
    pub scope: Scope,
    /// Its flags.
    pub flags: Vec<AddressFlag>,
    /// `IFA_LABEL`, of IPv4 only.
    pub label: Option<String>,
}

impl Address {
    /// Whether it has the flag.
    pub fn has(&self, flag: AddressFlag) -> bool {
        self.flags.contains(&flag)
    }

    /// Reads `RTM_NEWADDR`; `None` where it makes no sense.
    pub fn parse(message: &RawMessage) -> Option<Self> {
        let [family, prefix, _, scope, ..] = message.header::<{ rtm::ADDRESS_HEADER }>();
        let attribute = |kind| message.attribute(rtm::ADDRESS_HEADER, kind);
        // IPv6, and IPv4 without a peer, may have but one of the two.
        let far = attribute(rtm::IFA_ADDRESS).and_then(|value| ip(family, value));
        let address = attribute(rtm::IFA_LOCAL).and_then(|value| ip(family, value)).or(far)?;
        let flags = rtm::address_flags(message);
        Some(Self {
            address: IpNet::new(address, prefix).ok()?,
            peer: far.filter(|far| *far != address),
            scope: scope.into(),
            flags: AddressFlag::ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| flags >> bit & 1 != 0)
                .map(|(_, f)| f)
                .collect(),
            label: attribute(rtm::IFA_LABEL).map(text_of),
        })
    }
}

/// `RTN_…` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// An ordinary one.
    Unicast,
    /// To this host.
    Local,
    /// To everyone on the link.
    Broadcast,
    /// To the nearest.
    Anycast,
    /// To a group.
    Multicast,
    /// Dropped in silence.
    Blackhole,
    /// Dropped with an ICMP error.
    Unreachable,
    /// Dropped with an ICMP error.
    Prohibit,
    /// Looked up in the next table.
    Throw,
    /// A number that is not known here.
    Other(u8),
}

impl From<u8> for RouteKind {
    fn from(kind: u8) -> Self {
        match kind {
            1 => Self::Unicast,
            2 => Self::Local,
            3 => Self::Broadcast,
            4 => Self::Anycast,
            5 => Self::Multicast,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            _ => Self::Other(kind),
        }
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub dst: IpNet,
    /// The gateway. Of an IPv4 route it may be an IPv6 address (`RTA_VIA`).
    pub via: Option<IpAddr>,
    /// How far it reaches.
    pub scope: Scope,
    /// 254 is `main`.
    pub table: u32,
    /// `RTA_PRIORITY`; lower is preferred, zero if not given.
    pub metric: u32,
    /// The source address for what is sent by it.
    pub prefsrc: Option<IpAddr>,
    /// The gateway is taken to be on the link, whatever its address.
    pub onlink: bool,
    /// `RTPROT_…`: 2 is the kernel, 3 boot (`ip route` without more), 4 static, 9 a router advertisement.
    pub protocol: u8,
    /// In bytes.
    pub mtu: Option<u32>,
    /// What it does.
    pub kind: RouteKind,
    /// It has several paths; `via` is none of them when it is read, and the first of the NIC's in [`Facts::routes`].
    pub multipath: bool,
}

impl Route {
    /// Reads `RTM_NEWROUTE`; `None` where it makes no sense.
    pub fn parse(message: &RawMessage) -> Option<Self> {
        let [family, prefix, _, _, _, protocol, scope, kind, ..] = message.header::<{ rtm::ROUTE_HEADER }>();
        let mut route = Self {
            dst: IpNet::new(unspecified(family)?, prefix).ok()?,
            via: None,
            scope: scope.into(),
            table: rtm::route_table(message),
            metric: 0,
            prefsrc: None,
            onlink: rtm::route_flags(message) & rtm::RTNH_F_ONLINK != 0,
            protocol,
            mtu: None,
            kind: kind.into(),
            multipath: false,
        };
        for (kind, value) in message.attributes(rtm::ROUTE_HEADER) {
            match kind {
                rtm::RTA_DST => route.dst = IpNet::new(ip(family, value)?, prefix).ok()?,
                rtm::RTA_GATEWAY => route.via = ip(family, value),
                rtm::RTA_VIA => route.via = via(value),
                rtm::RTA_PRIORITY => route.metric = u32_of(value)?,
                rtm::RTA_PREFSRC => route.prefsrc = ip(family, value),
                rtm::RTA_METRICS => {
                    let mtu = Attributes::new(value).find(|(kind, _)| *kind == rtm::RTAX_MTU);
                    route.mtu = mtu.and_then(|(_, value)| u32_of(value));
                }
                rtm::RTA_MULTIPATH => route.multipath = true,
                _ => {}
            }
        }
        Some(route)
    }
}

/// The gateway of one path of a multipath route, `None` for a path on the link; `family` is that of the route.
pub(crate) fn gateway_of_path(family: u8, attributes: &[u8]) -> Option<IpAddr> {
    Attributes::new(attributes).find_map(|(kind, value)| match kind {
        rtm::RTA_GATEWAY => ip(family, value),
        rtm::RTA_VIA => via(value),
        _ => None,
    })
}

/// A permanent entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Who it is.
    pub address: IpAddr,
    /// What its MAC is.
    #[serde(with = "crate::mac")]
    pub mac: MacAddr,
}

impl Neighbour {
    /// Reads `RTM_NEWNEIGH`; `None` for one without a MAC.
    pub fn parse(message: &RawMessage) -> Option<Self> {
        let attribute = |kind| message.attribute(rtm::NEIGHBOUR_HEADER, kind);
        let [family] = message.header::<1>();
        Some(Self {
            address: ip(family, attribute(rtm::NDA_DST)?)?,
            mac: MacAddr(attribute(rtm::NDA_LLADDR)?.try_into().ok()?),
        })
    }
}

/// An address as it is in a message: in network byte order.
pub(crate) fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        rtm::AF_INET => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        rtm::AF_INET6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `struct rtvia`: a family and an address of it.
fn via(value: &[u8]) -> Option<IpAddr> {
    let ([low, high], address) = value.split_first_chunk()?;
    ip(u8::try_from(u16::from_ne_bytes([*low, *high])).ok()?, address)
}

fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        rtm::AF_INET => Some(Ipv4Addr::UNSPECIFIED.into()),
        rtm::AF_INET6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}
