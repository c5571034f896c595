//! The frames that are sent: a datagram of a given size, and a TCP segment that is still to be cut (GSO).
//!
//! They are the same on every path but for the addresses, which are those of its ends.

use anyhow::{Result, ensure};

use super::path::{End, Joined};
use crate::tap::VnetHeader;

/// Octets of Ethernet, IPv4 and UDP.
const DATAGRAM_HEADERS: usize = 42;
/// Octets of Ethernet, IPv4, and TCP with a timestamp.
const SEGMENT_HEADERS: usize = 66;
/// Payload of one segment at an MTU of 1500 with timestamps.
const SEGMENT: usize = 1448;
/// Segments in the largest frame: one more would not fit in the length of an IPv4 packet.
const SEGMENTS: usize = 45;

/// How large a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// The smallest that Ethernet has, here without its checksum: 64 octets.
    Small,
    /// 1448 octets.
    Large,
    /// As many segments of TCP as a frame holds, as one.
    Gso,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Gso];

    /// Octets, from the destination MAC on.
    pub const fn octets(self) -> usize {
        match self {
            Self::Small => 64,
            Self::Large => 1448,
            Self::Gso => SEGMENT_HEADERS + SEGMENTS * SEGMENT,
        }
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "64 octets",
            Self::Large => "1448 octets",
            Self::Gso => "64 KiB GSO",
        }
    }
}

/// A frame with the header that a tap or a packet socket takes before it.
#[derive(Clone, Debug)]
pub struct Framed {
    /// Header and frame.
    pub octets: Vec<u8>,
    /// Octets of the frame alone.
    pub len: usize,
}

/// What the guest of a path sends to the far end.
pub fn to_network(path: &Joined, size: Size) -> Result<Framed> {
    let first_hop = if shares_network(path) { path.far.mac } else { path.gateway.mac };
    frame(path.guest, End { mac: first_hop, ..path.far }, size, [7001, 7002])
}

/// What the far end of a path sends to the guest.
pub fn to_guest(path: &Joined, size: Size) -> Result<Framed> {
    frame(path.far, path.seen, size, [7003, 7004])
}

/// Whether guest and far end are in one prefix.
fn shares_network(path: &Joined) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(path.prefix)).unwrap_or(0);
    (path.guest.address.to_bits() ^ path.far.address.to_bits()) & mask == 0
}

fn frame(from: End, to: End, size: Size, ports: [u16; 2]) -> Result<Framed> {
    let len = size.octets();
    let (transport, header) = match size {
        Size::Small | Size::Large => (datagram(ports, len - DATAGRAM_HEADERS)?, VnetHeader::default()),
        Size::Gso => (segment(from, to, ports, len - SEGMENT_HEADERS)?, gso_header()?),
    };
    let protocol = if size == Size::Gso { 6 } else { 17 };
    let mut octets = header.to_bytes().to_vec();
    let before = octets.len();
    octets.extend_from_slice(&to.mac);
    octets.extend_from_slice(&from.mac);
    octets.extend_from_slice(&[8, 0]);
    octets.extend_from_slice(&ipv4(from, to, protocol, transport.len())?);
    octets.extend_from_slice(&transport);
    ensure!(octets.len() - before == len, "a frame of {} octets in place of {len}", octets.len() - before);
    Ok(Framed { octets, len })
}

fn ipv4(from: End, to: End, protocol: u8, payload: usize) -> Result<[u8; 20]> {
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&u16::try_from(20 + payload)?.to_be_bytes());
    header[12..16].copy_from_slice(&from.address.octets());
    header[16..20].copy_from_slice(&to.address.octets());
    let sum = !sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(header)
}

/// UDP without a checksum, and zeros.
fn datagram([from, to]: [u16; 2], payload: usize) -> Result<Vec<u8>> {
    let len = u16::try_from(8 + payload)?;
    let mut octets = [from, to, len, 0].map(u16::to_be_bytes).concat();
    octets.resize(8 + payload, 0);
    Ok(octets)
}

/// TCP in the middle of a stream, with a timestamp; of its checksum only the part that is not in the segment.
fn segment(from: End, to: End, ports: [u16; 2], payload: usize) -> Result<Vec<u8>> {
    let mut octets = ports.map(u16::to_be_bytes).concat();
    // Sequence number, acknowledgement, length of the header with ACK, window, checksum, urgent pointer.
    octets.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    octets.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]);
    octets.resize(32 + payload, 0);
    let len = u16::try_from(octets.len())?.to_be_bytes();
    let pseudo = [&from.address.octets()[..], &to.address.octets(), &[0, 6], &len].concat();
    octets[16..18].copy_from_slice(&sum(&pseudo).to_be_bytes());
    Ok(octets)
}

fn gso_header() -> Result<VnetHeader> {
    Ok(VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: 1,
        hdr_len: u16::try_from(SEGMENT_HEADERS)?,
        gso_size: u16::try_from(SEGMENT)?,
        csum_start: 34,
        csum_offset: 16,
    })
}

/// The sum of RFC 1071, not inverted.
fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Cannot fail: the sum was folded.
    u16::try_from(sum).unwrap_or(0)
}
