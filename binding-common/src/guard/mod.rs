//! The guard: what the guest may not send, and may not be sent.
//!
//! A VM is given to a stranger, and a stranger's frames reach the node's stack and other pods. So a frame passes only
//! if it says nothing that is not the guest's to say: its MAC, its addresses, and nothing of what servers and routers say.
//!
//! The rules are stateless, so there is nothing that a guest could fill. An ordinary frame, which is IPv4 or IPv6 from
//! the guest's own address with TCP or UDP right behind it, is judged by compares with constants: no look-up, no loop.
//! Everything odd is followed to its end, or dropped where that end cannot be found ([`Rule::HiddenHeader`]): what the
//! guard cannot read, another may read otherwise (RFC 7112, RFC 7113).
//!
//! | file | judges |
//! |---|---|
//! | `rules.rs` | which rules there are |
//! | `exceptions.rs` | what the operator allows beside |
//! | `ethernet.rs` | MACs, tags, `EtherType`s |
//! | `arp.rs`, `ipv4.rs`, `ipv6.rs`, `neighbour.rs` | what is said inside |

mod arp;
mod ethernet;
mod exceptions;
mod ipv4;
mod ipv6;
mod neighbour;
mod rules;

#[cfg(test)]
mod tests;

pub use self::{
    ethernet::source,
    exceptions::{Exceptions, Full, Ipv6, MAX_ETHER_TYPES, MAX_MACS, MAX_OTHERS, MAX_PREFIXES},
    ipv6::{Upper, follow},
    neighbour::{Message, is_true as is_true_neighbour},
    rules::{Rule, Rules},
};
use crate::{
    MacAddr,
    counters::Reason,
    packet::{self, Packet},
};

/// What the guard knows of a binding: constants in the programs.
pub trait Policy {
    /// The rules that hold.
    fn rules(&self) -> Rules;
    /// The guest's MAC; zero as long as it is to be learnt.
    fn guest(&self) -> MacAddr;
    /// The MAC by which the network knows the guest.
    fn network(&self) -> MacAddr;
    /// The lease's address.
    fn lease(&self) -> [u8; 4];
    /// What is allowed beside, and the pod's IPv6 addresses.
    fn exceptions(&self) -> &Exceptions;

    // The look-ups in lists, which the programs have functions of their own for, like those of [`Packet`].

    /// Whether a source other than the lease's address is allowed.
    fn allows_ipv4(&self, address: [u8; 4]) -> bool {
        self.exceptions().has_ipv4(address)
    }

    /// Whether a source that is not link-local is allowed.
    fn allows_ipv6(&self, address: Ipv6) -> bool {
        self.exceptions().has_ipv6(address)
    }

    /// Whether a link-local address is known to be somebody else's.
    fn is_anothers(&self, address: Ipv6) -> bool {
        self.exceptions().is_anothers(address)
    }

    /// Whether a MAC other than the guest's is allowed.
    fn allows_mac(&self, mac: MacAddr) -> bool {
        self.exceptions().has_mac(mac)
    }

    /// Whether a further `EtherType` is allowed.
    fn allows_ether_type(&self, kind: [u8; 2]) -> bool {
        self.exceptions().has_ether_type(kind)
    }
}

/// Judges a frame of the guest, whose source MAC [`source`] has judged before. `tag` is the VLAN of a tag beside the frame.
#[inline(always)]
pub fn to_network(packet: &(impl Packet + ?Sized), tag: Option<u16>, policy: &impl Policy) -> Result<(), Reason> {
    let rules = policy.rules();
    if rules == Rules::NONE {
        return Ok(());
    }
    let ethernet::Content::Own(kind) = ethernet::judge(packet, tag, policy)? else { return Ok(()) };
    match kind {
        packet::ETH_P_IP => ipv4::judge(packet, policy),
        packet::ETH_P_IPV6 => ipv6::judge(packet, policy),
        packet::ETH_P_ARP => rules.forbid_if(!arp::is_true(packet, policy), Rule::SpoofedArp),
        packet::ETH_P_RARP => rules.forbid_if(!arp::is_true_reverse(packet, policy), Rule::SpoofedArp),
        _ => Ok(()),
    }
}

/// Judges a frame of the network. `untagged`: it has no tag of a VLAN.
///
/// A frame from the guest itself has come round in a loop, or is somebody's who took its MAC; a bridge in the guest would
/// learn that the guest is outside. What DHCP servers say over IPv4 is looked at where the responder is on
/// ([`crate::to_guest`]); this is that over IPv6.
#[inline(always)]
pub fn to_guest(packet: &(impl Packet + ?Sized), untagged: bool, policy: &impl Policy) -> Result<(), Reason> {
    let rules = policy.rules();
    if rules.has(Rule::Looped) {
        let source = MacAddr(packet.header(crate::fixup::SOURCE).unwrap_or_default());
        if source == policy.guest() || source == policy.network() {
            return Err(Reason::Looped);
        }
    }
    if rules.has(Rule::DhcpServer) && untagged && packet::ether_type(packet) == Some(packet::ETH_P_IPV6) {
        return ipv6::judge_to_guest(packet, rules);
    }
    Ok(())
}
