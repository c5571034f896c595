//! Addresses, routes and neighbours without what is the kernel's own.
//!
//! A dump says more than the kernel accepts: states, timers, flags that follow from other things. Here a message becomes
//! what may be *sent back*, with every attribute that someone configured, known here or not; and what may be *compared*,
//! without what differs between two equal configurations.

use crate::netlink::{
    raw::{Attributes, RawMessage, TYPE_MASK, push_attribute, u32_of},
    rtm::{self, Nexthops},
};

/// `IFA_F_…` that a user can give to an address: nodad, home, mngtmpaddr, noprefixroute, autojoin.
const ADDRESS_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_PERMANENT: u32 = 0x80;
/// `RTNH_F_…` that a user can give to a route; the rest is state (dead, linkdown, offloaded).
const ROUTE_FLAGS: u32 = rtm::RTNH_F_ONLINK | rtm::RTNH_F_PERVASIVE;
/// `USER_HZ`: the unit of `rta_expires`, fixed in the ABI.
const USER_HZ: u32 = 100;

/// What becomes of an attribute.
enum Fate {
    Keep,
    Drop,
    Become(Vec<u8>),
}

/// The same message with other attributes.
fn rebuild(message: &RawMessage, header: usize, mut fate: impl FnMut(u16, &[u8]) -> Fate) -> RawMessage {
    let mut payload = message.payload.get(..header).unwrap_or(&message.payload).to_vec();
    let mut attributes = message.attributes(header);
    while let Some((kind, value)) = attributes.next_flagged() {
        match fate(kind & TYPE_MASK, value) {
            Fate::Keep => push_attribute(&mut payload, kind, value),
            Fate::Drop => {}
            Fate::Become(value) => push_attribute(&mut payload, kind, &value),
        }
    }
    RawMessage { kind: message.kind, payload }
}

/// Overwrites a number in a fixed header.
fn put(message: &mut RawMessage, at: usize, bytes: &[u8]) {
    if let Some(to) = message.payload.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

fn address_with_flags(message: &RawMessage, mask: u32, lifetimes: impl Fn(&[u8]) -> Vec<u8>) -> RawMessage {
    let flags = rtm::address_flags(message) & mask;
    let mut made = rebuild(message, rtm::ADDRESS_HEADER, |kind, value| match kind {
        rtm::IFA_FLAGS => Fate::Become(flags.to_ne_bytes().to_vec()),
        rtm::IFA_CACHEINFO => Fate::Become(lifetimes(value)),
        _ => Fate::Keep,
    });
    // The header has the lower eight bits.
    put(&mut made, 2, &[flags.to_le_bytes()[0]]);
    made
}

/// The address as it may be added, with the lifetimes that it had.
pub fn address_to_send(message: &RawMessage) -> RawMessage {
    let is_deprecated = rtm::address_flags(message) & IFA_F_DEPRECATED != 0;
    address_with_flags(message, ADDRESS_FLAGS, |value| {
        let mut value = value.to_vec();
        // Of a permanent IPv4 address a dump says that it is preferred for ever, also when it is not at all.
        if let (true, Some(preferred)) = (is_deprecated, value.first_chunk_mut::<4>()) {
            *preferred = [0; 4];
        }
        value
    })
}

/// The address for comparing: of its lifetimes (`struct ifa_cacheinfo`: preferred, valid, two time stamps) it matters
/// whether there are any, not how much is left.
pub fn address_to_compare(message: &RawMessage) -> RawMessage {
    // In IPv6 the same bit marks the kernel's temporary addresses, which come back as ordinary ones.
    let secondary = if message.header::<1>() == [rtm::AF_INET] { IFA_F_SECONDARY } else { 0 };
    let mask = ADDRESS_FLAGS | IFA_F_PERMANENT | IFA_F_DEPRECATED | secondary;
    address_with_flags(message, mask, |value| {
        let class = |at| match value.get(at..).and_then(u32_of) {
            Some(u32::MAX) => 2,
            Some(0) | None => 0,
            Some(_) => 1,
        };
        vec![class(0), class(4)]
    })
}

fn route(message: &RawMessage) -> RawMessage {
    let mut made = rebuild(message, rtm::ROUTE_HEADER, |kind, value| match kind {
        rtm::RTA_CACHEINFO | rtm::RTA_EXPIRES => Fate::Drop,
        rtm::RTA_MULTIPATH => Fate::Become(nexthops(value)),
        _ => Fate::Keep,
    });
    put(&mut made, 8, &(rtm::route_flags(message) & ROUTE_FLAGS).to_ne_bytes());
    made
}

/// The route as it may be added or deleted.
pub fn route_to_send(message: &RawMessage) -> RawMessage {
    let made = route(message);
    // How long it lives is in the third field of struct rta_cacheinfo; it is set by another attribute, in seconds.
    let cache = message.attribute(rtm::ROUTE_HEADER, rtm::RTA_CACHEINFO);
    match cache.and_then(|value| value.get(8..)).and_then(u32_of).map(u32::cast_signed) {
        Some(expires) if expires > 0 && message.header::<1>() == [rtm::AF_INET6] => {
            let seconds = (expires.unsigned_abs() / USER_HZ).max(1);
            made.with(rtm::RTA_EXPIRES, &seconds.to_ne_bytes())
        }
        _ => made,
    }
}

/// The route for comparing.
pub fn route_to_compare(message: &RawMessage) -> RawMessage {
    route(message)
}

/// The paths of a multipath route without their state.
fn nexthops(value: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(value.len());
    for hop in Nexthops::new(value) {
        let length = u16::try_from(rtm::NEXTHOP_HEADER + hop.attributes.len()).unwrap_or(u16::MAX);
        let flags = (u32::from(hop.flags) & ROUTE_FLAGS).to_le_bytes()[0];
        made.extend_from_slice(&length.to_ne_bytes());
        made.extend_from_slice(&[flags, hop.hops]);
        made.extend_from_slice(&hop.ifindex.to_ne_bytes());
        made.extend_from_slice(hop.attributes);
        made.resize(made.len().next_multiple_of(4), 0);
    }
    made
}

/// The neighbour as it may be added or deleted, and for comparing.
pub fn neighbour(message: &RawMessage) -> RawMessage {
    rebuild(message, rtm::NEIGHBOUR_HEADER, |kind, _| match kind {
        rtm::NDA_CACHEINFO | rtm::NDA_PROBES => Fate::Drop,
        _ => Fate::Keep,
    })
}

/// Whether the route has a gateway, in itself or in one of its paths: such routes come after those that lead to the
/// gateways.
pub fn has_gateway(message: &RawMessage) -> bool {
    message
        .attributes(rtm::ROUTE_HEADER)
        .any(|(kind, _)| matches!(kind, rtm::RTA_GATEWAY | rtm::RTA_VIA | rtm::RTA_MULTIPATH))
}

/// Whether the route is made of a nexthop object (`ip nexthop`).
pub fn nexthop_object(message: &RawMessage) -> Option<u32> {
    message.attribute(rtm::ROUTE_HEADER, rtm::RTA_NH_ID).and_then(u32_of)
}

/// Whether the route says by which link it leaves. One of a nexthop object need not
/// (`net.ipv4.nexthop_compat_mode=0`).
pub fn names_a_link(message: &RawMessage) -> bool {
    Attributes::new(message.payload.get(rtm::ROUTE_HEADER..).unwrap_or_default())
        .any(|(kind, _)| matches!(kind, rtm::RTA_OIF | rtm::RTA_MULTIPATH))
}

/// What is in `found` and not in `wanted`, by their comparable forms. Both may hold a thing twice.
pub fn surplus<'a>(
    found: &'a [RawMessage],
    wanted: &[RawMessage],
    comparable: fn(&RawMessage) -> RawMessage,
) -> Vec<&'a RawMessage> {
    let mut wanted: Vec<_> = wanted.iter().map(comparable).collect();
    let is_surplus = |message: &&RawMessage| {
        let message = comparable(message);
        match wanted.iter().position(|candidate| *candidate == message) {
            Some(at) => {
                wanted.swap_remove(at);
                false
            }
            None => true,
        }
    };
    found.iter().filter(is_surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::rtm::{RTM_NEWADDR, RTM_NEWROUTE};

    fn address(flags: u32, valid: u32) -> RawMessage {
        let [low, ..] = flags.to_le_bytes();
        let lifetimes = [valid.to_ne_bytes(), valid.to_ne_bytes(), [1; 4], [2; 4]].concat();
        RawMessage::new(RTM_NEWADDR, &[10, 64, low, 0, 3, 0, 0, 0])
            .with(rtm::IFA_CACHEINFO, &lifetimes)
            .with(rtm::IFA_FLAGS, &flags.to_ne_bytes())
            .with(0x7777 & TYPE_MASK, b"unknown")
    }

    fn route_message(flags: u32) -> RawMessage {
        let mut header = [0; rtm::ROUTE_HEADER];
        header[0] = rtm::AF_INET6;
        header[8..].copy_from_slice(&flags.to_ne_bytes());
        RawMessage::new(RTM_NEWROUTE, &header)
    }

    #[test]
    fn an_address_keeps_its_lifetimes_and_unknown_attributes_and_loses_its_state() {
        let sent = address_to_send(&address(0x40 | 0x80 | 0x200 | 0x800, 4000));
        assert_eq!(rtm::address_flags(&sent), 0x200);
        assert_eq!(sent.header::<8>()[2], 0);
        assert_eq!(sent.attribute(8, rtm::IFA_CACHEINFO).and_then(u32_of), Some(4000));
        assert_eq!(sent.attribute(8, 0x7777 & TYPE_MASK), Some(&b"unknown"[..]));
    }

    #[test]
    fn addresses_are_equal_whatever_is_left_of_their_lives() {
        let equal = |a: &RawMessage, b: &RawMessage| address_to_compare(a) == address_to_compare(b);
        assert!(equal(&address(0x40, 4000), &address(0, 17)), "tentative, and time went by");
        assert!(!equal(&address(0x80, u32::MAX), &address(0, 17)), "one never ends");
        assert!(!equal(&address(0x200, 17), &address(0, 17)), "one makes no route");
    }

    #[test]
    fn a_route_loses_its_state_and_keeps_its_life() {
        let mut cache = [0; 28];
        cache[8..12].copy_from_slice(&(1800 * USER_HZ).to_ne_bytes());
        let found = route_message(0x10 | 0x1 | rtm::RTNH_F_ONLINK).with(rtm::RTA_CACHEINFO, &cache);
        let sent = route_to_send(&found);
        assert_eq!(rtm::route_flags(&sent), rtm::RTNH_F_ONLINK);
        assert_eq!(sent.attribute(rtm::ROUTE_HEADER, rtm::RTA_CACHEINFO), None);
        assert_eq!(sent.attribute(rtm::ROUTE_HEADER, rtm::RTA_EXPIRES).and_then(u32_of), Some(1800));
        assert_eq!(route_to_compare(&found), route_message(rtm::RTNH_F_ONLINK));
    }

    #[test]
    fn the_paths_of_a_multipath_route_lose_their_state() {
        let gateway = RawMessage::new(0, &[]).with(rtm::RTA_GATEWAY, &[10, 0, 0, 1]).payload;
        let hop = |flags: u8| [&[16, 0, flags, 4, 7, 0, 0, 0], gateway.as_slice()].concat();
        let found = route_message(0).with(rtm::RTA_MULTIPATH, &[hop(0x11), hop(0x04)].concat());
        let sent = route_to_send(&found);
        let value = sent.attribute(rtm::ROUTE_HEADER, rtm::RTA_MULTIPATH).unwrap();
        let flags: Vec<_> = Nexthops::new(value).map(|hop| (hop.flags, hop.hops, hop.ifindex)).collect();
        assert_eq!(flags, [(0, 4, 7), (4, 4, 7)]);
        assert!(has_gateway(&sent));
    }

    #[test]
    fn the_nested_flag_survives() {
        let found = route_message(0).with(0x8000 | rtm::RTA_METRICS, &[8, 0, 2, 0, 0, 5, 0, 0]);
        assert_eq!(route_to_send(&found), found);
    }

    #[test]
    fn a_neighbour_loses_its_timers() {
        let bare = RawMessage::new(28, &[0; rtm::NEIGHBOUR_HEADER]).with(rtm::NDA_DST, &[1; 4]);
        assert_eq!(neighbour(&bare.clone().with(rtm::NDA_CACHEINFO, &[0; 16]).with(rtm::NDA_PROBES, &[0; 4])), bare);
    }

    #[test]
    fn surplus_counts_what_is_there_twice() {
        let (one, two) = (route_message(0), route_message(rtm::RTNH_F_ONLINK));
        let found = [one.clone(), two.clone(), one.clone()];
        assert_eq!(surplus(&found, std::slice::from_ref(&one), route_to_compare), [&two, &one]);
        assert_eq!(surplus(&found, &found, route_to_compare).len(), 0);
        assert_eq!(surplus(&[], &found, route_to_compare).len(), 0);
    }
}
