//! Frames that a guest leaves to be cut: they pass the MTU, because no link ever sees them whole.

use lab::{Offloads, Pod, RawPort, tap::VnetHeader};

use crate::{GUEST, HOST, SOON, WIRES, Wire};

/// Ethernet, IPv4 and TCP without options.
const HEADERS: usize = 54;
const TCP_V4: u8 = 1;

fn sum(octets: &[u8]) -> u32 {
    octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from)).sum()
}

fn folded(mut sum: u32) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    [high, low]
}

fn complement([high, low]: [u8; 2]) -> [u8; 2] {
    [!high, !low]
}

/// A TCP segment of `len` octets in all, as a virtio guest hands it over: with the sum of the pseudo header alone.
fn segment(len: usize) -> Vec<u8> {
    let mut frame = crate::frame(HOST, GUEST, [8, 0], len);
    frame[14..54].fill(0);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&u16::try_from(len - 14).unwrap().to_be_bytes());
    frame[20..24].copy_from_slice(&[0x40, 0, 64, 6]);
    frame[26..34].copy_from_slice(&[10, 244, 1, 5, 10, 244, 1, 1]);
    let check = complement(folded(sum(&frame[14..34])));
    frame[24..26].copy_from_slice(&check);
    frame[34..38].copy_from_slice(&[0x9c, 0x40, 0, 9]);
    frame[46..50].copy_from_slice(&[0x50, 0x10, 0xff, 0xff]);
    let pseudo = folded(sum(&frame[26..34]) + 6 + u32::try_from(len - 34).unwrap());
    frame[50..52].copy_from_slice(&pseudo);
    frame
}

fn header(gso_size: u16) -> VnetHeader {
    VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: TCP_V4,
        hdr_len: 54,
        gso_size,
        csum_start: 34,
        csum_offset: 16,
    }
}

/// Collects TCP payload on the host side until it has all of it: the kernel may cut a frame of the largest size itself.
fn payload(host: &RawPort, len: usize) -> (Vec<u8>, usize) {
    let (mut all, mut longest) = (vec![None; len], 0);
    while all.contains(&None) {
        let ours = |frame: &[u8]| frame.len() > HEADERS && frame[12..14] == [8, 0] && frame[23] == 6;
        let seen = host.expect("a segment", SOON, |seen| !seen.outgoing && ours(&seen.data)).unwrap();
        let end = 14 + usize::from(u16::from_be_bytes([seen.data[16], seen.data[17]]));
        let at = u32::from_be_bytes([seen.data[38], seen.data[39], seen.data[40], seen.data[41]]) as usize;
        for (place, octet) in all[at..].iter_mut().zip(&seen.data[HEADERS..end]) {
            *place = Some(*octet);
        }
        longest = longest.max(seen.data.len());
    }
    (all.into_iter().flatten().collect(), longest)
}

fn segments_pass(options: &[&str]) {
    let wire = Wire::new(Pod::new("gso").unwrap(), options, Offloads::Virtio);
    for len in [1515, 2960, 9000, 40_000, 65_000, 65_549] {
        let frame = segment(len);
        wire.tap.send_with(header(1446), &frame).unwrap();
        let (arrived, longest) = payload(&wire.host, len - HEADERS);
        assert!(arrived == frame[HEADERS..], "{len} octets came changed");
        assert!(longest == len || len > 65_535, "{len} octets were cut to {longest}");
    }
    assert_eq!(wire.dropped("too-big"), 0);
    // Segments that no link would take are as bad as a frame that is too long.
    wire.tap.send_with(header(1600), &segment(9000)).unwrap();
    assert_eq!(wire.dropped("too-big"), 1);
}

#[test]
fn a_frame_to_be_cut_passes_by_peer() {
    lab::require_root!();
    segments_pass(WIRES[0]);
}

#[test]
fn a_frame_to_be_cut_passes_by_redirect() {
    lab::require_root!();
    segments_pass(WIRES[1]);
}

#[test]
fn a_frame_to_be_cut_passes_on_clsact() {
    lab::require_root!();
    segments_pass(WIRES[2]);
}
