//! The MAC fix-up: the guest's MAC towards the guest, the pod NIC's own towards the network.
//!
//! The network knows one MAC of the pod, the one that the CNI gave its NIC. A guest with the same one needs no fix-up on
//! its way out. Another one (from the VM's specification, or brought along by a live migration) would be refused by CNIs
//! that check it, and never be reached by those that wrote the NIC's down: so the source of each frame is replaced, and
//! what ARP, RARP and neighbour discovery say of it, or IPv6 dies without a sound.
//!
//! Towards the guest, frames come for the MAC that the network knows; and with CNIs that deliver by `bpf_redirect_peer`
//! for whatever MAC they had before. What such a device holds to be for its host is meant for the guest, whatever it says;
//! of others that says nothing (a macvlan in passthru mode says it of all that it gets). What a bridge has flooded,
//! because it did not know where to send it, is not: a guest that forwards would send it on, and it would arrive twice.

use crate::{
    MacAddr,
    arp::TARGET_MAC,
    packet::{self, ETH_HEADER, ETH_P_ARP, ETH_P_IPV6, ETH_P_RARP, Packet},
};

/// Offset of the source MAC.
pub const SOURCE: usize = 6;
/// Offset of a message of `ICMPv6` that follows the IPv6 header at once.
const ICMPV6: usize = ETH_HEADER + 40;
/// Offset of its checksum.
pub const ICMPV6_CHECKSUM: usize = ICMPV6 + 2;
/// `IPPROTO_ICMPV6`.
const NEXT_HEADER_ICMPV6: u8 = 58;
/// Options of one message that are looked at. Senders put the link-layer address first, or behind a nonce (RFC 3971).
const MAX_OPTIONS: usize = 4;
/// Source and target link-layer address (RFC 4861, 4.6.1).
const LINK_LAYER_ADDRESS: [u8; 2] = [1, 2];

/// What of a frame to the network is replaced by the NIC's MAC, beside its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToNetwork {
    /// Nothing.
    SourceOnly,
    /// ARP or RARP: the sender's hardware address; and the target's, where it is the guest's own too.
    Arp {
        /// The target's is the guest's: an announcement.
        target: bool,
    },
    /// Neighbour discovery: an option, whose octets are in the checksum at [`ICMPV6_CHECKSUM`].
    Neighbour {
        /// Offset of the MAC in the option.
        at: usize,
        /// The MAC that is there.
        mac: MacAddr,
    },
}

/// Says what is to be replaced in a frame of the guest, whose MAC is `guest`.
#[inline(always)]
pub fn to_network(packet: &(impl Packet + ?Sized), guest: MacAddr) -> ToNetwork {
    match packet::ether_type(packet) {
        Some(ETH_P_ARP | ETH_P_RARP) => ToNetwork::Arp { target: packet.header(TARGET_MAC) == Some(guest.0) },
        Some(ETH_P_IPV6) if packet.header(20) == Some([NEXT_HEADER_ICMPV6]) => {
            neighbour(packet).unwrap_or(ToNetwork::SourceOnly)
        }
        _ => ToNetwork::SourceOnly,
    }
}

/// Finds the link-layer address of a message of neighbour discovery that speaks for its sender. A redirect speaks of
/// others.
#[inline(always)]
fn neighbour(packet: &(impl Packet + ?Sized)) -> Option<ToNetwork> {
    let [kind] = packet.load(ICMPV6)?;
    // Octets before the options (RFC 4861, 4.1 to 4.4).
    let mut at = ICMPV6
        + match kind {
            133 => 8,
            134 => 16,
            135 | 136 => 24,
            _ => return None,
        };
    for _ in 0..MAX_OPTIONS {
        let [kind, words, mac @ ..] = packet.load::<8>(at)?;
        if words == 0 {
            return None;
        }
        if LINK_LAYER_ADDRESS.contains(&kind) && words == 1 {
            return Some(ToNetwork::Neighbour { at: at + 2, mac: MacAddr(mac) });
        }
        at += usize::from(words) * 8;
    }
    None
}

/// What of a frame to the guest is replaced by the guest's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToGuest {
    /// Its destination.
    pub destination: bool,
    /// The target's hardware address of ARP or RARP.
    pub target: bool,
}

/// Says what is to be replaced in a frame to the guest, whose MAC is `guest`, zero as long as it is not known; the network
/// knows it as `network`. `for_this_host`: the pod NIC may be given frames by peer, and holds this one to be for its host.
#[inline(always)]
pub fn to_guest(packet: &(impl Packet + ?Sized), guest: MacAddr, network: MacAddr, for_this_host: bool) -> ToGuest {
    let destination = MacAddr(packet.header(0).unwrap_or(guest.0));
    let meant = destination == network || for_this_host;
    let is_arp = matches!(packet::ether_type(packet), Some(ETH_P_ARP | ETH_P_RARP));
    let known = guest != MacAddr::ZERO;
    ToGuest {
        destination: known && destination != guest && !destination.is_group() && meant,
        target: known && network != guest && is_arp && packet.header(TARGET_MAC) == Some(network.0),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    const GUEST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const NETWORK: MacAddr = MacAddr([10, 0x58, 10, 1, 1, 5]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn frame(to: MacAddr, kind: [u8; 2], len: usize) -> Vec<u8> {
        let mut frame = vec![0; len];
        frame[..6].copy_from_slice(&to.0);
        frame[6..12].copy_from_slice(&GUEST.0);
        frame[12..14].copy_from_slice(&kind);
        frame
    }

    fn message(kind: u8, before: usize, options: &[u8]) -> Vec<u8> {
        let mut frame = frame(MacAddr::BROADCAST, ETH_P_IPV6, ICMPV6 + before);
        frame[20] = NEXT_HEADER_ICMPV6;
        frame[ICMPV6] = kind;
        frame.extend(options);
        frame
    }

    #[test]
    fn each_message_of_neighbour_discovery_speaks_for_its_sender() {
        for (kind, before) in [(133, 8), (134, 16), (135, 24), (136, 24)] {
            for option in LINK_LAYER_ADDRESS {
                let options = [&[option, 1][..], &GUEST.0].concat();
                let found = ToNetwork::Neighbour { at: ICMPV6 + before + 2, mac: GUEST };
                assert_eq!(to_network(&message(kind, before, &options)[..], GUEST), found, "{kind}");
                let behind_a_nonce = [&[14, 1, 0, 0, 0, 0, 0, 0][..], &options].concat();
                let found = ToNetwork::Neighbour { at: ICMPV6 + before + 10, mac: GUEST };
                assert_eq!(to_network(&message(kind, before, &behind_a_nonce)[..], GUEST), found, "{kind}");
            }
        }
    }

    #[test]
    fn what_is_no_such_message_or_cut_short_has_its_source_replaced_and_nothing_else() {
        let option = [&[1, 1][..], &GUEST.0].concat();
        let cases = [
            message(137, 40, &option),
            message(135, 24, &[]),
            message(135, 24, &option[..7]),
            message(135, 24, &[&[14, 0, 0, 0, 0, 0, 0, 0][..], &option].concat()),
            message(128, 8, &option),
            frame(OTHER, packet::ETH_P_IP, 60),
            frame(OTHER, ETH_P_IPV6, 16),
        ];
        for case in cases {
            assert_eq!(to_network(&case[..], GUEST), ToNetwork::SourceOnly);
        }
    }

    #[test]
    fn an_announcement_by_arp_or_rarp_names_the_guest_twice() {
        for kind in [ETH_P_ARP, ETH_P_RARP] {
            let mut arp = frame(MacAddr::BROADCAST, kind, 42);
            assert_eq!(to_network(&arp[..], GUEST), ToNetwork::Arp { target: false });
            arp[TARGET_MAC..TARGET_MAC + 6].copy_from_slice(&GUEST.0);
            assert_eq!(to_network(&arp[..], GUEST), ToNetwork::Arp { target: true });
        }
    }

    #[test]
    fn frames_for_the_pod_become_the_guests_and_flooded_ones_do_not() {
        let destination = |to, for_this_host| {
            to_guest(&frame(to, packet::ETH_P_IP, 60)[..], GUEST, NETWORK, for_this_host).destination
        };
        assert!(destination(NETWORK, false));
        assert!(destination(OTHER, true));
        assert!(!destination(OTHER, false));
        for for_this_host in [false, true] {
            assert!(!destination(GUEST, for_this_host));
            assert!(!destination(MacAddr::BROADCAST, for_this_host));
            assert!(!destination(MacAddr([1, 0, 0x5e, 0, 0, 1]), for_this_host));
        }
    }

    #[test]
    fn an_arp_reply_names_the_guest_as_the_guest_knows_itself() {
        let mut arp = frame(NETWORK, ETH_P_ARP, 42);
        arp[TARGET_MAC..TARGET_MAC + 6].copy_from_slice(&NETWORK.0);
        assert_eq!(to_guest(&arp[..], GUEST, NETWORK, false), ToGuest { destination: true, target: true });
        assert!(!to_guest(&arp[..], NETWORK, NETWORK, false).target);
        let nothing = ToGuest { destination: false, target: false };
        assert_eq!(to_guest(&arp[..], MacAddr::ZERO, NETWORK, true), nothing, "not known yet");
    }
}
