//! IPv6, from the guest and to it.

use super::{
    Policy, Rule, Rules,
    exceptions::{Ipv6, to_numbers},
    neighbour::{self, Message},
};
use crate::{
    counters::Reason,
    packet::{ETH_HEADER, IPPROTO_UDP, Packet},
};

/// Offset of what follows the IPv6 header.
const PAYLOAD: usize = ETH_HEADER + 40;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_ICMPV6: u8 = 58;
/// Routers of multicast among themselves (RFC 7761); a bridge that snoops takes a port that says it for theirs.
pub(super) const IPPROTO_PIM: u8 = 103;
/// The fragment header.
const FRAGMENT: u8 = 44;
/// The authentication header, the one that counts its length otherwise (RFC 4302, 2.2).
const AUTHENTICATION: u8 = 51;
/// Hop-by-hop and destination options, routing, mobility, HIP, Shim6: all of the form of RFC 6564.
const EXTENSIONS: [u8; 6] = [0, 43, 60, 135, 139, 140];
/// The same and the fragment header, a bit for each: a question without a branch for each answer.
const MOVABLE: [u64; 4] = {
    let mut bits = [0; 4];
    let mut place = 0;
    while place < EXTENSIONS.len() {
        bits[EXTENSIONS[place] as usize / 64] |= 1 << (EXTENSIONS[place] % 64);
        place += 1;
    }
    bits[FRAGMENT as usize / 64] |= 1 << (FRAGMENT % 64);
    bits
};
/// Extension headers that are followed. RFC 8200, 4.1, has six to a packet; more hide something.
const MAX_EXTENSIONS: usize = 8;
/// Where a `DHCPv6` client listens (RFC 8415, 7.2).
const DHCPV6_CLIENT_PORT: u16 = 546;

/// Of `ICMPv6`: queries and reports of multicast listeners (RFC 2710, RFC 3810).
const LISTENER_QUERY: u8 = 130;
const LISTENER_REPORTS: [u8; 2] = [131, 143];
/// Advertisement and termination of a multicast router (RFC 4286).
const MULTICAST_ROUTER: [u8; 2] = [151, 153];
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;

/// What is behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    protocol: u8,
    at: usize,
    /// There was a fragment header.
    fragment: bool,
    /// It said that this is not the first fragment: what is at `at` is no header.
    later: bool,
}

/// As one number, since a function of the programs can return no more.
impl Upper {
    /// What stands for `None`: no header is at 0.
    pub const NONE: u64 = 0;

    /// Makes it one.
    #[inline(always)]
    pub fn to_bits(self) -> u64 {
        let Self { protocol, at, fragment, later } = self;
        (at as u64) << 32 | u64::from(protocol) << 16 | u64::from(fragment) << 1 | u64::from(later)
    }

    /// Takes it apart.
    #[inline(always)]
    pub fn from_bits(bits: u64) -> Option<Self> {
        if bits == Self::NONE {
            return None;
        }
        let [.., protocol, _, flags] = bits.to_be_bytes();
        Some(Self { protocol, at: (bits >> 32) as usize, fragment: flags & 2 != 0, later: flags & 1 != 0 })
    }
}

/// Judges a frame of the guest.
#[inline(always)]
pub(super) fn judge(packet: &(impl Packet + ?Sized), policy: &impl Policy) -> Result<(), Reason> {
    let rules = policy.rules();
    // At once: of several reads the verifier would try the ways where one fails and a later one does not.
    let Some([version, _, _, _, _, _, next, _, source @ ..]) = packet.header::<24>(ETH_HEADER) else {
        return rules.forbid(Rule::HiddenHeader);
    };
    if version >> 4 != 6 {
        return rules.forbid(Rule::HiddenHeader);
    }
    let source = to_numbers(source);
    // Who has no address yet may ask for what is on the link and nothing else.
    let nobody = source == [0, 0];
    if !nobody && !is_own(source, policy) {
        rules.forbid(Rule::SpoofedIpv6)?;
    }
    let Some(upper) = upper(packet, next) else { return rules.forbid(Rule::HiddenHeader) };
    if upper.later {
        return rules.forbid_if(nobody, Rule::SpoofedIpv6);
    }
    match upper.protocol {
        IPPROTO_ICMPV6 => judge_icmpv6(packet, upper, nobody, policy),
        _ if nobody => rules.forbid(Rule::SpoofedIpv6),
        IPPROTO_UDP => judge_udp(packet, upper, rules, Rule::RogueDhcp),
        IPPROTO_PIM => rules.forbid(Rule::MulticastQuerier),
        _ => Ok(()),
    }
}

/// Judges a frame of the network: nothing of a `DHCPv6` server, in the clear or hidden.
#[inline(always)]
pub(super) fn judge_to_guest(packet: &(impl Packet + ?Sized), rules: Rules) -> Result<(), Reason> {
    let Some([next]) = packet.header(20) else { return Ok(()) };
    match upper(packet, next) {
        Some(upper) if upper.protocol == IPPROTO_UDP && !upper.later => {
            judge_udp(packet, upper, rules, Rule::DhcpServer)
        }
        Some(_) => Ok(()),
        None => rules.forbid(Rule::HiddenHeader),
    }
}

/// Whether an address is one of the guest's. A link-local one is its own choice (RFC 7217 has them random), unless it is
/// known to be another's.
#[inline(always)]
pub(super) fn is_own(address: Ipv6, policy: &impl Policy) -> bool {
    if address[0] >> 54 == 0xfe80 >> 6 {
        return !policy.is_anothers(address);
    }
    policy.allows_ipv6(address)
}

/// Reads an address.
#[inline(always)]
pub(super) fn address(packet: &(impl Packet + ?Sized), at: usize) -> Option<Ipv6> {
    packet.load(at).map(to_numbers)
}

#[inline(always)]
fn judge_udp(packet: &(impl Packet + ?Sized), upper: Upper, rules: Rules, rule: Rule) -> Result<(), Reason> {
    let port = if upper.at == PAYLOAD { packet.header(PAYLOAD + 2) } else { packet.load(upper.at + 2) };
    match port {
        None => rules.forbid(Rule::HiddenHeader),
        Some(port) => rules.forbid_if(u16::from_be_bytes(port) == DHCPV6_CLIENT_PORT, rule),
    }
}

#[inline(always)]
fn judge_icmpv6(
    packet: &(impl Packet + ?Sized),
    upper: Upper,
    nobody: bool,
    policy: &impl Policy,
) -> Result<(), Reason> {
    let rules = policy.rules();
    let Some([kind]) = packet.load(upper.at) else { return rules.forbid(Rule::HiddenHeader) };
    if nobody && kind != neighbour::SOLICITATION && !LISTENER_REPORTS.contains(&kind) && kind != neighbour::ROUTERS {
        rules.forbid(Rule::SpoofedIpv6)?;
    }
    match kind {
        ROUTER_ADVERTISEMENT => rules.forbid(Rule::RogueRa),
        REDIRECT => rules.forbid(Rule::IcmpRedirect),
        kind if kind == LISTENER_QUERY || MULTICAST_ROUTER.contains(&kind) => rules.forbid(Rule::MulticastQuerier),
        neighbour::ROUTERS | neighbour::SOLICITATION | neighbour::ADVERTISEMENT => {
            // Receivers must not take it (RFC 6980, 5), and the options may lie in another fragment.
            rules.forbid_if(upper.fragment, Rule::HiddenHeader)?;
            let is_true = packet.is_true_neighbour(Message { at: upper.at, kind, nobody }, policy);
            rules.forbid_if(!is_true, Rule::SpoofedNd)
        }
        _ => Ok(()),
    }
}

/// Finds what is behind the extension headers. An ordinary packet has none.
#[inline(always)]
fn upper(packet: &(impl Packet + ?Sized), next: u8) -> Option<Upper> {
    if matches!(next, IPPROTO_TCP | IPPROTO_UDP | IPPROTO_ICMPV6) {
        return Some(Upper { protocol: next, at: PAYLOAD, fragment: false, later: false });
    }
    packet.upper(next)
}

/// Follows the extension headers. `None` when they are cut short, do not end, or lie in a fragment.
///
/// Behind a fragment header comes what the rules look at, or nothing is certain: what lies 8 octets further may be the
/// padding of the frame and missing in the packet, or be overwritten by the next fragment (RFC 5722 forbids receivers to
/// take that, and not all know it). The 8 octets themselves are always of a first fragment, and each of those is judged.
/// An authentication header tells the receiver of all that by itself.
#[inline(always)]
pub fn follow(packet: &(impl Packet + ?Sized), next: u8) -> Option<Upper> {
    let mut upper = Upper { protocol: next, at: PAYLOAD, fragment: false, later: false };
    for _ in 0..MAX_EXTENSIONS {
        let is_movable = MOVABLE[usize::from(upper.protocol / 64)] >> (upper.protocol % 64) & 1 != 0;
        if !is_movable && upper.protocol != AUTHENTICATION {
            return Some(upper);
        }
        if is_movable && upper.fragment {
            return None;
        }
        let [next, length, high, low] = packet.load(upper.at)?;
        upper.at += match upper.protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        if upper.protocol == FRAGMENT {
            upper.fragment = true;
            upper.later = u16::from_be_bytes([high, low]) & 0xfff8 != 0;
        }
        upper.protocol = next;
        if upper.later {
            return Some(upper);
        }
    }
    None
}
