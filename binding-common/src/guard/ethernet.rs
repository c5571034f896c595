//! MACs, tags and `EtherType`s.

use super::{Policy, Rule};
use crate::{
    MacAddr,
    counters::Reason,
    fixup::SOURCE,
    packet::{ETH_HEADER, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, ETH_P_LLDP, ETH_P_RARP, Packet},
};

/// `EtherType`s of tags: 802.1Q, 802.1ad, and what was used for it before that.
const TAGS: [[u8; 2]; 4] = [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00], [0x92, 0x00]];

/// From here on a type, below it the length of an 802.3 frame with LLC (IEEE 802.3-2018, 3.2.6).
const FIRST_TYPE: u16 = 0x0600;

/// Whether what a frame carries is of the guest's own network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It is, and of this `EtherType`; the other rules hold for it.
    Own([u8; 2]),
    /// It is of a VLAN, whose addresses are its own.
    Anothers,
}

/// Judges the source MAC of a frame of the guest.
///
/// Asked before the responders: what a stranger's client asks for, through this guest, is not ours to answer.
#[inline(always)]
pub fn source(packet: &(impl Packet + ?Sized), policy: &impl Policy) -> Result<(), Reason> {
    if !policy.rules().has(Rule::SpoofedMac) {
        return Ok(());
    }
    let source = MacAddr(packet.header(SOURCE).unwrap_or_default());
    if source == policy.guest() || policy.allows_mac(source) { Ok(()) } else { Err(Reason::SpoofedMac) }
}

/// Judges what is before the payload.
#[inline(always)]
pub(super) fn judge(
    packet: &(impl Packet + ?Sized),
    tag: Option<u16>,
    policy: &impl Policy,
) -> Result<Content, Reason> {
    let rules = policy.rules();
    // At once: of several reads the verifier would try the ways where one fails and a later one does not.
    let Some([destination @ .., _, _, _, _, _, _, high, low]) = packet.header::<ETH_HEADER>(0) else {
        return rules.forbid(Rule::Llc).map(|()| Content::Anothers);
    };
    let kind = [high, low];
    // The addresses that a bridge must keep to itself (IEEE 802.1Q-2018, table 8-1).
    if let [0x01, 0x80, 0xc2, 0, 0, last] = destination
        && last < 0x10
        && !(kind == ETH_P_LLDP && policy.exceptions().has_lldp())
    {
        rules.forbid(Rule::ReservedMulticast)?;
    }
    if let Some(vlan) = tag {
        rules.forbid_if(!policy.exceptions().has_vlan(vlan), Rule::Vlan)?;
        // VLAN 0 is no VLAN: it only carries a priority, and receivers take the frame for an untagged one.
        if vlan != 0 {
            return Ok(Content::Anothers);
        }
    }
    match kind {
        ETH_P_IP | ETH_P_IPV6 | ETH_P_ARP | ETH_P_RARP => Ok(Content::Own(kind)),
        // A second tag; the first one is beside the frame.
        kind if TAGS.contains(&kind) => rules.forbid(Rule::Vlan).map(|()| Content::Anothers),
        kind if u16::from_be_bytes(kind) < FIRST_TYPE => rules.forbid(Rule::Llc).map(|()| Content::Anothers),
        ETH_P_LLDP if policy.exceptions().has_lldp() => Ok(Content::Anothers),
        kind => {
            rules.forbid_if(!policy.allows_ether_type(kind), Rule::EtherType)?;
            Ok(Content::Anothers)
        }
    }
}
