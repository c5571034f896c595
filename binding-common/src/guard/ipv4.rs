//! IPv4 from the guest.
//!
//! Fragments hide nothing here: the first one carries at least eight octets behind the header (RFC 791, 3.2), which are
//! the ports of UDP and the type of ICMP; without it the others are never put together.

use super::{Policy, Rule, ipv6::IPPROTO_PIM};
use crate::{
    counters::Reason,
    dhcp::CLIENT_PORT,
    packet::{ETH_HEADER, IPPROTO_UDP, Packet},
};

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_IGMP: u8 = 2;
/// Of ICMP (RFC 792).
const REDIRECT: u8 = 5;
/// Of ICMP (RFC 1256).
const ROUTER_ADVERTISEMENT: u8 = 9;
/// Of IGMP: queries of any version (RFC 3376, 4), DVMRP and PIM of version 1, and advertisement and termination of a
/// multicast router (RFC 4286).
const ROUTER_MESSAGES: [u8; 5] = [0x11, 0x13, 0x14, 0x30, 0x32];

#[inline(always)]
pub(super) fn judge(packet: &(impl Packet + ?Sized), policy: &impl Policy) -> Result<(), Reason> {
    let rules = policy.rules();
    // At once: of several reads the verifier would try the ways where one fails and a later one does not.
    let Some([version_ihl, _, _, _, _, _, high, low, _, protocol, _, _, source @ .., _, _, _, _]) =
        packet.header::<20>(ETH_HEADER)
    else {
        return rules.forbid(Rule::HiddenHeader);
    };
    if !(0x45..=0x4f).contains(&version_ihl) {
        return rules.forbid(Rule::HiddenHeader);
    }
    if source != policy.lease() {
        rules.forbid_if(!policy.allows_ipv4(source), Rule::SpoofedIpv4)?;
    }
    if u16::from_be_bytes([high, low]) & 0x1fff != 0 {
        return Ok(());
    }
    let at = ETH_HEADER + usize::from(version_ihl & 0xf) * 4;
    match protocol {
        IPPROTO_UDP => match destination(packet, at) {
            None => rules.forbid(Rule::HiddenHeader),
            Some(port) => rules.forbid_if(port == CLIENT_PORT, Rule::RogueDhcp),
        },
        IPPROTO_ICMP | IPPROTO_IGMP => match (packet.load(at), protocol) {
            (None, _) => rules.forbid(Rule::HiddenHeader),
            (Some([REDIRECT]), IPPROTO_ICMP) => rules.forbid(Rule::IcmpRedirect),
            (Some([ROUTER_ADVERTISEMENT]), IPPROTO_ICMP) => rules.forbid(Rule::RogueRa),
            (Some([kind]), IPPROTO_IGMP) => rules.forbid_if(ROUTER_MESSAGES.contains(&kind), Rule::MulticastQuerier),
            _ => Ok(()),
        },
        IPPROTO_PIM => rules.forbid(Rule::MulticastQuerier),
        _ => Ok(()),
    }
}

/// The destination port of a UDP header.
#[inline(always)]
fn destination(packet: &(impl Packet + ?Sized), at: usize) -> Option<u16> {
    // Behind options it takes a call of a helper; they are rare.
    let port = if at == ETH_HEADER + 20 { packet.header(ETH_HEADER + 22) } else { packet.load(at + 2) };
    port.map(u16::from_be_bytes)
}
