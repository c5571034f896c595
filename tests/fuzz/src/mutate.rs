//! Changes to frames that know what a frame is: an address where an address lies, a tag where a tag may be, a header in a
//! chain of headers. A flipped bit alone would rarely get past the first compare.

use crate::{
    bindings::{GATEWAY, GUEST, LEASE, OTHER, OTHER_MAC},
    guard::{OWN6, ROUTER6},
    rng::Rng,
};

const MACS: [[u8; 6]; 9] = [
    GUEST.0,
    OTHER_MAC.0,
    [0x0a, 0x58, 0x0a, 0xf4, 1, 1],
    [0xff; 6],
    [0; 6],
    [1, 0, 0x5e, 0, 0, 1],
    [0x33, 0x33, 0, 0, 0, 1],
    [1, 0x80, 0xc2, 0, 0, 0],
    [2, 0x74, 0x77, 0, 0, 1],
];
const ADDRESSES: [[u8; 4]; 9] =
    [LEASE, GATEWAY, OTHER, [0; 4], [255; 4], [169, 254, 75, 10], [224, 0, 0, 1], [10, 244, 1, 255], [169, 254, 1, 1]];
const PORTS: [u16; 7] = [67, 68, 546, 547, 53, 0, 0xffff];
const TYPES: [u16; 14] =
    [0x0800, 0x0806, 0x8035, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x88cc, 0x8808, 0x8863, 0x88b5, 0x0026, 0x05dc, 0x0600];
const PROTOCOLS: [u8; 20] = [0, 1, 2, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 112, 132, 135, 139, 255];
const ODD: [u8; 12] = [0, 1, 2, 3, 4, 5, 0x0f, 0x20, 0x40, 0x7f, 0x80, 0xff];
const ADDRESSES6: [[u8; 16]; 5] =
    [OWN6, ROUTER6, [0; 16], [0xfd; 16], [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x08, 0x58, 0x0a, 0xff, 0xfe, 0xf4, 1, 5]];
/// Options whose octets decide of an answer.
const OPTIONS: [u8; 14] = [50, 51, 52, 53, 54, 55, 57, 60, 61, 80, 82, 121, 0, 255];
const ICMP: [u8; 14] = [5, 8, 9, 128, 130, 131, 133, 134, 135, 136, 137, 143, 17, 34];

/// Changes a frame a few times. `others` are frames to take parts of.
pub fn frame(frame: &mut Vec<u8>, rng: &mut Rng, others: &[Vec<u8>], longest: usize) {
    // Most findings are one or two changes away from a real frame.
    let changes = 1 + rng.below(4) * rng.below(2);
    for _ in 0..changes {
        change(frame, rng, others);
    }
    frame.truncate(longest);
}

/// Changes octets of any sort. `others` are some to take parts of.
pub fn octets(octets: &mut Vec<u8>, rng: &mut Rng, others: &[Vec<u8>]) {
    for _ in 0..=rng.below(3) {
        let at = rng.below(octets.len() + 1);
        match rng.below(5) {
            0 => octets.truncate(at),
            1 => octets.insert(at, rng.octet()),
            2 => splice(octets, rng, others),
            3 => flip(octets, rng),
            _ => odd_octet(octets, rng),
        }
    }
}

fn change(frame: &mut Vec<u8>, rng: &mut Rng, others: &[Vec<u8>]) {
    match rng.below(20) {
        0 | 1 => flip(frame, rng),
        2 | 3 => odd_octet(frame, rng),
        4 => put(frame, rng.below(2) * 6, rng.pick(&MACS)),
        5 => put(frame, 12, &rng.pick(&TYPES).to_be_bytes()),
        6 => tag(frame, rng),
        7 => address(frame, rng),
        8 => ports(frame, rng),
        9 => ip_header(frame, rng),
        10 => ip_options(frame, rng),
        11 => extension(frame, rng),
        12 | 13 => dhcp_option(frame, rng),
        14 => dhcp_field(frame, rng),
        15 => arp(frame, rng),
        16 => icmp(frame, rng),
        17 => cut(frame, rng),
        18 => grow(frame, rng),
        _ => splice(frame, rng, others),
    }
}

fn put<const N: usize>(frame: &mut [u8], at: usize, octets: &[u8; N]) {
    if let Some(place) = frame.get_mut(at..at + N) {
        place.copy_from_slice(octets);
    }
}

/// The headers are where decisions are made; what follows them is but carried.
fn place(frame: &[u8], rng: &mut Rng) -> usize {
    let end = if rng.one_in(4) { frame.len() } else { frame.len().min(86) };
    rng.below(end)
}

fn flip(frame: &mut [u8], rng: &mut Rng) {
    let at = place(frame, rng);
    if let Some(octet) = frame.get_mut(at) {
        *octet ^= 1 << rng.below(8);
    }
}

fn odd_octet(frame: &mut [u8], rng: &mut Rng) {
    let at = place(frame, rng);
    let octet = if rng.one_in(3) { rng.octet() } else { *rng.pick(&ODD) };
    put(frame, at, &[octet]);
}

fn tag(frame: &mut Vec<u8>, rng: &mut Rng) {
    if frame.len() < 14 {
        return;
    }
    if rng.one_in(3) && frame.len() >= 18 {
        frame.drain(12..16);
        return;
    }
    for _ in 0..=rng.below(5) * rng.below(2) {
        let kind = *rng.pick(&[[0x81, 0], [0x88, 0xa8]]);
        let tci = *rng.pick(&[[0, 0], [0xe0, 0], [0, 7], [0x0f, 0xff]]);
        frame.splice(12..12, [kind, tci].concat());
    }
}

fn address(frame: &mut [u8], rng: &mut Rng) {
    if rng.one_in(2) && frame.get(12..14) == Some(&[0x86, 0xdd]) {
        // Source, destination, and the target of neighbour discovery.
        put(frame, *rng.pick(&[22, 22, 38, 62]), rng.pick(&ADDRESSES6));
        return;
    }
    let at = *rng.pick(&[26, 30, 28, 38, 54, 58, 66]);
    put(frame, at, rng.pick(&ADDRESSES));
}

/// Where the header of IPv4 says that the next one is.
fn behind_ipv4(frame: &[u8]) -> usize {
    14 + usize::from(frame.get(14).copied().unwrap_or(0x45) & 0xf) * 4
}

fn ports(frame: &mut [u8], rng: &mut Rng) {
    let at = if rng.one_in(4) { 54 } else { behind_ipv4(frame) };
    put(frame, at + 2 * rng.below(2), &rng.pick(&PORTS).to_be_bytes());
}

fn ip_header(frame: &mut [u8], rng: &mut Rng) {
    match rng.below(6) {
        0 => put(frame, 14, &[0x40 | (rng.octet() & 0xf)]),
        1 => put(frame, 14, &[rng.octet()]),
        2 => put(frame, 20, rng.pick(&[[0x20, 0], [0, 0], [0x40, 0], [0, 1], [0x20, 1], [0, 8]])),
        3 => put(frame, 16, &[rng.octet() & 7, rng.octet()]),
        4 => put(frame, 20, &[*rng.pick(&PROTOCOLS)]),
        _ => put(frame, 23, &[*rng.pick(&PROTOCOLS)]),
    }
}

fn ip_options(frame: &mut Vec<u8>, rng: &mut Rng) {
    let Some(first) = frame.get(14).copied() else { return };
    let room = 15 - (first & 0xf).min(15);
    let words = u8::try_from(rng.below(usize::from(room) + 1)).unwrap_or(0);
    if frame.len() >= 34 {
        frame[14] = first + words;
        frame.splice(34..34, vec![*rng.pick(&[0u8, 1, 0x94]); usize::from(words) * 4]);
    }
}

/// Puts a header into the chain of an IPv6 packet, or takes the first one of eight octets out of it.
fn extension(frame: &mut Vec<u8>, rng: &mut Rng) {
    if frame.len() < 62 || frame[12..14] != [0x86, 0xdd] {
        return;
    }
    if rng.one_in(4) {
        frame[20] = frame[54];
        frame.drain(54..62);
        return;
    }
    for _ in 0..=rng.below(9) * rng.below(2) {
        let kind = *rng.pick(&[0, 43, 44, 51, 60, 135, 139, 140, 253]);
        let offset = if rng.one_in(2) { 0 } else { rng.octet() & 9 };
        let header = match kind {
            44 => [frame[20], 0, 0, offset, 0, 0, 0, 9],
            _ => [frame[20], rng.octet() & u8::from(rng.one_in(3)), 1, 4, 0, 0, 0, 0],
        };
        frame[20] = kind;
        frame.splice(54..54, header);
    }
    if !rng.one_in(4) {
        let length = u16::try_from(frame.len() - 54).unwrap_or(u16::MAX);
        put(frame, 18, &length.to_be_bytes());
    }
}

/// Puts an option before the others, or behind them, and makes the lengths fit.
fn dhcp_option(frame: &mut Vec<u8>, rng: &mut Rng) {
    let begin = behind_ipv4(frame) + 8 + 240;
    if frame.len() < begin {
        return;
    }
    let code = if rng.one_in(6) { rng.octet() } else { *rng.pick(&OPTIONS) };
    let value: Vec<u8> = match code {
        0 => vec![0; rng.below(140)],
        53 => vec![rng.octet() % 10],
        50 | 54 => rng.pick(&ADDRESSES).to_vec(),
        52 => vec![rng.octet() & 3],
        57 => vec![rng.octet() & 7, rng.octet()],
        80 => Vec::new(),
        _ => {
            let len = if rng.one_in(3) { rng.below(256) } else { rng.below(24) };
            (0..len).map(|_| rng.octet()).collect()
        }
    };
    let mut option = vec![code];
    if code != 0 && code != 255 {
        option.push(u8::try_from(value.len()).unwrap_or(0));
    }
    option.extend(value);
    let at = if rng.one_in(2) { begin } else { begin + rng.below(frame.len() - begin + 1) };
    frame.splice(at..at, option);
    let udp = begin - 248;
    let length = u16::try_from(frame.len() - udp).unwrap_or(u16::MAX);
    put(frame, udp + 4, &length.to_be_bytes());
}

fn dhcp_field(frame: &mut [u8], rng: &mut Rng) {
    let at = behind_ipv4(frame) + 8;
    match rng.below(6) {
        0 => put(frame, at, &[*rng.pick(&ODD), *rng.pick(&ODD), *rng.pick(&ODD)]),
        1 => put(frame, at + 10, &[rng.octet(), 0]),
        2 => put(frame, at + 12, rng.pick(&ADDRESSES)),
        3 => put(frame, at + 24, rng.pick(&ADDRESSES)),
        4 => put(frame, at + 28, rng.pick(&MACS)),
        // The length of the datagram.
        _ => put(frame, at - 4, &[rng.octet() & 3, rng.octet()]),
    }
}

fn arp(frame: &mut [u8], rng: &mut Rng) {
    match rng.below(5) {
        0 => put(frame, 20, &[0, rng.octet() & 3]),
        1 => put(frame, 22, rng.pick(&MACS)),
        2 => put(frame, 28, rng.pick(&ADDRESSES)),
        3 => put(frame, 32, rng.pick(&MACS)),
        _ => put(frame, 38, rng.pick(&ADDRESSES)),
    }
}

fn icmp(frame: &mut [u8], rng: &mut Rng) {
    let at = *rng.pick(&[54, 34, 62]);
    put(frame, at, &[*rng.pick(&ICMP)]);
    if rng.one_in(2) {
        // An option of neighbour discovery: kind and length.
        put(frame, *rng.pick(&[62, 70, 78, 86]), &[*rng.pick(&[1, 2, 3, 14]), *rng.pick(&[0, 1, 2])]);
    }
}

fn cut(frame: &mut Vec<u8>, rng: &mut Rng) {
    let len = if rng.one_in(2) { rng.below(90) } else { rng.below(frame.len() + 1) };
    frame.truncate(len.max(14));
}

fn grow(frame: &mut Vec<u8>, rng: &mut Rng) {
    // The usual MTU lies at 1514.
    let len = *rng.pick(&[60, 64, 342, 590, 1513, 1514, 1515, 1518, 1519, 1600, 2000]);
    if frame.len() < len {
        frame.resize(len, rng.octet());
    }
}

fn splice(frame: &mut Vec<u8>, rng: &mut Rng, others: &[Vec<u8>]) {
    if others.is_empty() {
        return;
    }
    let other = rng.pick(others);
    let at = rng.below(frame.len().min(other.len()).min(90) + 1);
    frame.truncate(at);
    frame.extend(&other[at..]);
}
