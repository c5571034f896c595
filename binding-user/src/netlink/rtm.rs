//! The numbers and fixed headers of rtnetlink(7) that we read and write as bytes.
//!
//! They are the kernel's ABI (`linux/rtnetlink.h` and what it includes); the crates have
//! them too, but not in public.

use super::raw::{RawMessage, u32_of};

/// IPv4.
pub(crate) const AF_INET: u8 = 2;
/// IPv6.
pub(crate) const AF_INET6: u8 = 10;

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_GETNEIGH: u16 = 30;
#[cfg(test)]
pub(crate) const RTM_NEWRULE: u16 = 32;
pub(crate) const RTM_GETRULE: u16 = 34;
pub(crate) const RTM_NEWQDISC: u16 = 36;
pub(crate) const RTM_DELQDISC: u16 = 37;
pub(crate) const RTM_GETQDISC: u16 = 38;
pub(crate) const RTM_GETTFILTER: u16 = 46;
pub(crate) const RTM_GETNSID: u16 = 90;

/// `struct ifinfomsg`: family, pad, type u16, index i32, flags u32, change u32.
pub(crate) const LINK_HEADER: usize = 16;
/// `struct ifaddrmsg`: family, prefix length, flags, scope, index u32.
pub(crate) const ADDRESS_HEADER: usize = 8;
/// `struct rtmsg`: family, dst length, src length, tos, table, protocol, scope, type, flags u32.
pub(crate) const ROUTE_HEADER: usize = 12;
/// `struct rtnexthop`: length u16, flags, hops, index i32.
pub(crate) const NEXTHOP_HEADER: usize = 8;
/// `struct ndmsg`: family, pad, pad u16, index i32, state u16, flags, type.
pub(crate) const NEIGHBOUR_HEADER: usize = 12;
/// `struct fib_rule_hdr`: family, dst length, src length, tos, table, pad, pad, action, flags u32.
pub(crate) const RULE_HEADER: usize = 12;
/// `struct tcmsg`: family, pad, pad u16, index i32, handle u32, parent u32, info u32.
pub(crate) const TC_HEADER: usize = 20;
/// `struct rtgenmsg`, padded.
pub(crate) const NSID_HEADER: usize = 4;

pub(crate) const IFA_ADDRESS: u16 = 1;
pub(crate) const IFA_LOCAL: u16 = 2;
pub(crate) const IFA_LABEL: u16 = 3;
pub(crate) const IFA_CACHEINFO: u16 = 6;
pub(crate) const IFA_FLAGS: u16 = 8;

pub(crate) const IFA_F_TENTATIVE: u32 = 0x40;

pub(crate) const RTA_DST: u16 = 1;
pub(crate) const RTA_OIF: u16 = 4;
pub(crate) const RTA_GATEWAY: u16 = 5;
pub(crate) const RTA_PRIORITY: u16 = 6;
pub(crate) const RTA_PREFSRC: u16 = 7;
pub(crate) const RTA_METRICS: u16 = 8;
pub(crate) const RTA_MULTIPATH: u16 = 9;
pub(crate) const RTA_CACHEINFO: u16 = 12;
pub(crate) const RTA_TABLE: u16 = 15;
pub(crate) const RTA_VIA: u16 = 18;
pub(crate) const RTA_ENCAP: u16 = 22;
pub(crate) const RTA_EXPIRES: u16 = 23;
pub(crate) const RTA_NH_ID: u16 = 30;
pub(crate) const RTAX_MTU: u16 = 2;

/// The table of the kernel's own local and broadcast routes; it follows the addresses and is never touched.
pub(crate) const RT_TABLE_LOCAL: u32 = 255;
/// The table that a lease is read from.
pub(crate) const RT_TABLE_MAIN: u32 = 254;

/// The table that is looked up after `main`; nobody puts anything there.
pub(crate) const RT_TABLE_DEFAULT: u32 = 253;

/// The path is of no use: its link is down, or has no carrier where that is a reason.
pub(crate) const RTNH_F_DEAD: u32 = 1;
pub(crate) const RTNH_F_PERVASIVE: u32 = 2;
pub(crate) const RTNH_F_ONLINK: u32 = 4;
const RTM_F_CLONED: u32 = 0x200;

pub(crate) const FRA_SRC: u16 = 2;
pub(crate) const FRA_IIFNAME: u16 = 3;
pub(crate) const FRA_GOTO: u16 = 4;
pub(crate) const FRA_PRIORITY: u16 = 6;
#[cfg(test)]
pub(crate) const FRA_FWMARK: u16 = 10;
pub(crate) const FRA_FLOW: u16 = 11;
pub(crate) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(crate) const FRA_TABLE: u16 = 15;
pub(crate) const FRA_OIFNAME: u16 = 17;
pub(crate) const FRA_PAD: u16 = 18;
pub(crate) const FRA_L3MDEV: u16 = 19;
pub(crate) const FRA_PROTOCOL: u16 = 21;
pub(crate) const FIB_RULE_INVERT: u32 = 2;

pub(crate) const NDA_DST: u16 = 1;
pub(crate) const NDA_LLADDR: u16 = 2;
pub(crate) const NDA_CACHEINFO: u16 = 3;
pub(crate) const NDA_PROBES: u16 = 4;
const NUD_PERMANENT: u16 = 0x80;

pub(crate) const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_LINK: u16 = 5;
pub(crate) const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_NET_NS_FD: u16 = 28;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_DATA: u16 = 2;
pub(crate) const IFLA_MACVLAN_MODE: u16 = 1;
pub(crate) const MACVLAN_MODE_SOURCE: u32 = 16;
pub(crate) const IFF_NOARP: u32 = 1 << 7;
const IFLA_EXT_MASK: u16 = 29;
/// Leaves the statistics, two thirds of a link's message, out.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// Asks for a link by index or name, or, as a dump, for all.
pub(crate) fn get_link(ifindex: u32, name: Option<&str>) -> RawMessage {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let message = RawMessage::new(RTM_GETLINK, &header).with(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    match name {
        Some(name) => message.with(IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat()),
        None => message,
    }
}

/// Asks for the addresses of both families.
pub(crate) fn get_addresses() -> RawMessage {
    RawMessage::new(RTM_GETADDR, &[0; ADDRESS_HEADER])
}

/// Asks for all routes of one family.
pub(crate) fn get_routes(family: u8) -> RawMessage {
    let mut header = [0; ROUTE_HEADER];
    header[0] = family;
    RawMessage::new(RTM_GETROUTE, &header)
}

/// Asks for all routing rules of one family.
pub(crate) fn get_rules(family: u8) -> RawMessage {
    let mut header = [0; RULE_HEADER];
    header[0] = family;
    RawMessage::new(RTM_GETRULE, &header)
}

/// Asks for all neighbours of one family.
pub(crate) fn get_neighbours(family: u8) -> RawMessage {
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = family;
    RawMessage::new(RTM_GETNEIGH, &header)
}

/// Asks for the id of the namespace behind an open file.
pub(crate) fn get_nsid(fd: i32) -> RawMessage {
    RawMessage::new(RTM_GETNSID, &[0; NSID_HEADER]).with(NETNSA_FD, &fd.to_ne_bytes())
}

/// `ifa_index`.
pub(crate) fn address_ifindex(message: &RawMessage) -> u32 {
    let [.., a, b, c, d] = message.header::<ADDRESS_HEADER>();
    u32::from_ne_bytes([a, b, c, d])
}

/// The flags of an address: `IFA_FLAGS`, of which the header has the first eight bits.
pub(crate) fn address_flags(message: &RawMessage) -> u32 {
    message
        .attribute(ADDRESS_HEADER, IFA_FLAGS)
        .and_then(u32_of)
        .unwrap_or_else(|| u32::from(message.header::<ADDRESS_HEADER>()[2]))
}

/// The table of a route: `RTA_TABLE`, of which the header has the first eight bits.
pub(crate) fn route_table(message: &RawMessage) -> u32 {
    message
        .attribute(ROUTE_HEADER, RTA_TABLE)
        .and_then(u32_of)
        .unwrap_or_else(|| u32::from(message.header::<ROUTE_HEADER>()[4]))
}

/// `rtm_tos`: the route holds for this type of service alone; zero is for all that has none better.
pub(crate) fn route_tos(message: &RawMessage) -> u8 {
    message.header::<4>()[3]
}

/// `rtm_flags`.
pub(crate) fn route_flags(message: &RawMessage) -> u32 {
    let [.., a, b, c, d] = message.header::<ROUTE_HEADER>();
    u32::from_ne_bytes([a, b, c, d])
}

/// Whether it is a cached copy that the kernel made of another route.
pub(crate) fn route_is_cloned(message: &RawMessage) -> bool {
    route_flags(message) & RTM_F_CLONED != 0
}

/// Whether the route uses the link, alone or as one of several.
pub(crate) fn route_leaves_by(message: &RawMessage, ifindex: u32) -> bool {
    message.attributes(ROUTE_HEADER).any(|(kind, value)| match kind {
        RTA_OIF => u32_of(value) == Some(ifindex),
        RTA_MULTIPATH => Nexthops::new(value).any(|hop| hop.ifindex == ifindex),
        _ => false,
    })
}

/// One path of a multipath route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nexthop<'a> {
    /// `rtnh_flags`.
    pub(crate) flags: u8,
    /// `rtnh_hops`: the weight, less one.
    pub(crate) hops: u8,
    /// `rtnh_ifindex`.
    pub(crate) ifindex: u32,
    /// Its attributes (`RTA_GATEWAY`, `RTA_VIA`, …).
    pub(crate) attributes: &'a [u8],
}

/// Walks the value of `RTA_MULTIPATH`.
#[derive(Clone, Debug)]
pub(crate) struct Nexthops<'a> {
    rest: &'a [u8],
}

impl<'a> Nexthops<'a> {
    /// `value` is that of `RTA_MULTIPATH`.
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Nexthops<'a> {
    type Item = Nexthop<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, flags, hops, i0, i1, i2, i3] = *self.rest.first_chunk::<NEXTHOP_HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let attributes = self.rest.get(NEXTHOP_HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Nexthop { flags, hops, ifindex: u32::from_ne_bytes([i0, i1, i2, i3]), attributes })
    }
}

/// Whether the neighbour is a permanent one of that link.
pub(crate) fn is_permanent_neighbour(message: &RawMessage, ifindex: u32) -> bool {
    let [_, _, _, _, _, _, _, _, s0, s1, _, _] = message.header::<NEIGHBOUR_HEADER>();
    neighbour_ifindex(message) == ifindex && u16::from_ne_bytes([s0, s1]) & NUD_PERMANENT != 0
}

/// The link that a neighbour is reached by.
pub(crate) fn neighbour_ifindex(message: &RawMessage) -> u32 {
    let [_, _, _, _, i0, i1, i2, i3, ..] = message.header::<NEIGHBOUR_HEADER>();
    u32::from_ne_bytes([i0, i1, i2, i3])
}
