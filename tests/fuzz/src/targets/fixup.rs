//! The MAC fix-up: what leaves has the network's MAC wherever the guest speaks of itself, a checksum that was right is
//! right after it, and no other octet has changed.

use binding_common::{
    MacAddr,
    arp::{SENDER_MAC, TARGET_MAC},
    checksum,
    fixup::{self, ICMPV6_CHECKSUM, SOURCE, ToNetwork},
};

use crate::{bindings, oracle};

const GUEST: MacAddr = bindings::OTHER_MAC;
const NETWORK: MacAddr = bindings::GUEST;

/// The first octet says whether the frame is for this host.
pub(super) fn run(bytes: &[u8]) {
    let Some((first, frame)) = bytes.split_first() else { return };
    if frame.len() >= 14 {
        to_network(frame);
        to_guest(frame, first & 1 != 0);
    }
}

/// Does what the program does with a decision. `None` is a drop, because the frame ends too soon.
fn apply(frame: &[u8], fix: ToNetwork) -> Option<Vec<u8>> {
    let mut out = frame.to_vec();
    let mut put =
        |at: usize, octets: &[u8]| out.get_mut(at..at + octets.len()).map(|place| place.copy_from_slice(octets));
    put(SOURCE, &NETWORK.0)?;
    match fix {
        ToNetwork::SourceOnly => {}
        ToNetwork::Arp { target } => {
            put(SENDER_MAC, &NETWORK.0)?;
            if target {
                put(TARGET_MAC, &NETWORK.0)?;
            }
        }
        ToNetwork::Neighbour { at, mac } => {
            put(at, &NETWORK.0)?;
            // RFC 1624, 3: HC' = ~(~HC + ~m + m').
            let old = u16::from_be_bytes([frame[ICMPV6_CHECKSUM], frame[ICMPV6_CHECKSUM + 1]]);
            let inverted = mac.0.map(|octet| !octet);
            let sum = checksum::add(checksum::add(u32::from(!old), &inverted), &NETWORK.0);
            put(ICMPV6_CHECKSUM, &checksum::finish(sum))?;
        }
    }
    Some(out)
}

fn to_network(frame: &[u8]) {
    let fix = fixup::to_network(frame, GUEST);
    let Some(out) = apply(frame, fix) else {
        assert!(matches!(fix, ToNetwork::Arp { .. }), "a decision that cannot be carried out: {fix:?}");
        return;
    };
    let mut expected = frame.to_vec();
    expected[6..12].copy_from_slice(&NETWORK.0);
    match u16::from_be_bytes([frame[12], frame[13]]) {
        0x0806 | 0x8035 => {
            expected[22..28].copy_from_slice(&NETWORK.0);
            if frame.get(32..38) == Some(&GUEST.0) {
                expected[32..38].copy_from_slice(&NETWORK.0);
            }
        }
        0x86dd => {
            if let Some(at) = link_layer_address(&frame[14..]) {
                expected[14 + at..20 + at].copy_from_slice(&NETWORK.0);
                expected[56..58].copy_from_slice(&out[56..58]);
                if oracle::icmpv6_sum_is_right(&frame[14..]) {
                    assert!(oracle::icmpv6_sum_is_right(&out[14..]), "a right checksum became wrong");
                }
            }
        }
        _ => {}
    }
    assert_eq!(out, expected);
}

/// Where in an IPv6 packet the MAC lies that a message of neighbour discovery gives as its sender's.
fn link_layer_address(packet: &[u8]) -> Option<usize> {
    if *packet.get(6)? != 58 {
        return None;
    }
    let mut at = match packet.get(40)? {
        133 => 48,
        134 => 56,
        135 | 136 => 64,
        _ => return None,
    };
    // Four options are looked at.
    for _ in 0..4 {
        let (kind, words) = (*packet.get(at)?, usize::from(*packet.get(at + 1)?));
        packet.get(at + 7)?;
        if words == 0 {
            return None;
        }
        if (kind == 1 || kind == 2) && words == 1 {
            return Some(at + 2);
        }
        at += words * 8;
    }
    None
}

fn to_guest(frame: &[u8], for_this_host: bool) {
    for guest in [GUEST, NETWORK, MacAddr::ZERO] {
        let fix = fixup::to_guest(frame, guest, NETWORK, for_this_host);
        let to = MacAddr([frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]]);
        let known = guest != MacAddr::ZERO;
        let meant = to == NETWORK || for_this_host;
        assert_eq!(fix.destination, known && to != guest && to.0[0] & 1 == 0 && meant);
        let arp = matches!(frame[12..14], [0x08, 0x06] | [0x80, 0x35]);
        assert_eq!(fix.target, known && guest != NETWORK && arp && frame.get(32..38) == Some(&NETWORK.0));
    }
}
