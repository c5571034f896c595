//! The MAC fix-up, frame by frame. Which frames the kernel holds to be for this host, only real devices show: that is in
//! `macs.rs`.

use binding_common::{MacAddr, packet};
use binding_user::{datapath::Constants, guest_mac::GuestMac};

use crate::{Binding, GATEWAY, LEASE, OTHER, TC_ACT_REDIRECT, arp_request, ethernet, lease, udp, wire};

const NETWORK: MacAddr = crate::GUEST;
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x77]);

fn with(guest_mac: GuestMac) -> Binding {
    let lease = binding_user::lease::Lease { mac: guest_mac.expected(NETWORK), ..lease(Some(GATEWAY)) };
    Binding::of(&lease, &Constants { guest_mac, ..wire() })
}

/// The same frame from another MAC.
fn from(mac: MacAddr, mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac.0);
    frame
}

fn put(mut frame: Vec<u8>, at: usize, mac: MacAddr) -> Vec<u8> {
    frame[at..at + 6].copy_from_slice(&mac.0);
    frame
}

/// A message of `ICMPv6` with a right checksum; the addresses are of no matter.
fn icmpv6(message: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(packet::ETH_P_IPV6, 54);
    frame[14] = 0x60;
    frame[18..20].copy_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
    frame[20..22].copy_from_slice(&[58, 255]);
    frame[22..54].copy_from_slice(&[0xfe; 32]);
    frame.extend(message);
    let sum = !checksum(&frame);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The folded sum over pseudo header and message: 0xffff where the checksum in it is right.
fn checksum(frame: &[u8]) -> u16 {
    let length = u16::try_from(frame.len() - 54).unwrap();
    let words = |octets: &[u8]| -> u32 {
        octets.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]))).sum()
    };
    let mut sum = words(&frame[22..]) + u32::from(length) + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

#[test]
fn the_network_sees_the_nics_mac_in_frames_arp_and_rarp() {
    lab::require_root!();
    let mut binding = with(GuestMac::Fixed(OWN));
    let data = udp(OTHER, (5000, 53), &[1; 64]);
    assert_eq!(binding.guest_sends(&from(OWN, data.clone())), (TC_ACT_REDIRECT, data));
    // A request leaves the target's MAC open; an announcement names the guest there, too.
    for (kind, operation, target) in [
        (packet::ETH_P_ARP, 1, MacAddr::ZERO),
        (packet::ETH_P_ARP, 2, OWN),
        (packet::ETH_P_RARP, 3, OWN),
        (packet::ETH_P_ARP, 2, MacAddr([2, 0, 0, 0, 0, 5])),
    ] {
        let mut arp = arp_request(OTHER);
        arp[12..14].copy_from_slice(&kind);
        arp[21] = operation;
        let arp = put(arp, 32, target);
        let sent = put(from(OWN, arp.clone()), 22, OWN);
        let expected = if target == OWN { put(arp, 32, NETWORK) } else { arp };
        assert_eq!(binding.guest_sends(&sent), (TC_ACT_REDIRECT, expected), "{kind:?} {operation}");
    }
}

#[test]
fn neighbour_discovery_names_the_nics_mac_with_a_right_checksum() {
    lab::require_root!();
    let mut binding = with(GuestMac::Fixed(OWN));
    for (kind, before, option) in [(133, 8, 1), (134, 16, 1), (135, 24, 1), (136, 24, 2)] {
        for nonce in [&[][..], &[14, 1, 9, 8, 7, 6, 5, 4]] {
            let message = |mac: MacAddr| {
                let mut message = vec![0; before];
                message[0] = kind;
                [message.as_slice(), nonce, &[option, 1], &mac.0].concat()
            };
            let expected = icmpv6(&message(NETWORK));
            assert_eq!(checksum(&expected), 0xffff);
            let sent = from(OWN, icmpv6(&message(OWN)));
            assert_eq!(binding.guest_sends(&sent), (TC_ACT_REDIRECT, expected), "{kind}");
        }
    }
    let echo = icmpv6(&[&[128, 0, 0, 0, 0, 1, 0, 1][..], &[1, 1], &OWN.0].concat());
    assert_eq!(binding.guest_sends(&from(OWN, echo.clone())), (TC_ACT_REDIRECT, echo), "only its source");
}

#[test]
fn the_guest_is_reached_at_its_own_mac_and_finds_itself_in_arp() {
    lab::require_root!();
    for learnt in [false, true] {
        let mut binding = with(if learnt { GuestMac::Learn } else { GuestMac::Fixed(OWN) });
        let data = put(udp(LEASE, (53, 5000), &[1; 64]), 0, NETWORK);
        if learnt {
            assert_eq!(binding.run("tapwire_nic_in", &data), (TC_ACT_REDIRECT, data.clone()), "nothing is known yet");
            binding.guest_sends(&from(MacAddr([1, 0, 0x5e, 0, 0, 1]), data.clone()));
            binding.guest_sends(&from(OWN, data.clone()));
            binding.guest_sends(&from(MacAddr([2, 0, 0, 0, 0, 5]), data.clone()));
        }
        let reaches_it = put(data.clone(), 0, OWN);
        assert_eq!(binding.run("tapwire_nic_in", &data), (TC_ACT_REDIRECT, reaches_it.clone()));
        assert_eq!(binding.run("tapwire_nic_in", &reaches_it), (TC_ACT_REDIRECT, reaches_it.clone()));
        let mut reply = put(arp_request(LEASE), 0, NETWORK);
        reply[21] = 2;
        reply[28..32].copy_from_slice(&GATEWAY);
        let reply = put(reply, 32, NETWORK);
        let expected = put(put(reply.clone(), 0, OWN), 32, OWN);
        assert_eq!(binding.run("tapwire_nic_in", &reply), (TC_ACT_REDIRECT, expected));
    }
}

#[test]
fn what_is_for_all_or_for_many_is_not_edited() {
    lab::require_root!();
    for guest_mac in [GuestMac::Nic, GuestMac::Fixed(OWN)] {
        let mut binding = with(guest_mac);
        for to in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr([0x33, 0x33, 0, 0, 0, 1])] {
            let frame = put(udp(OTHER, (53, 5000), &[1; 64]), 0, to);
            assert_eq!(binding.run("tapwire_nic_in", &frame), (TC_ACT_REDIRECT, frame));
        }
    }
}
