//! Frames with headers, in a row; and how they are invented and kept.

use lab::tap::{HEADER, VnetHeader};

use crate::{
    bindings::{GUEST, LEASE, OTHER},
    frames, mutate,
    rng::Rng,
};

/// Octets of the largest frame that a tap takes.
const LARGEST: usize = 65_549;
/// Kinds of segments: none, TCP, UDP, ECN with each; and those that there are not.
const KINDS: [u8; 14] = [0, 0, 1, 1, 3, 4, 4, 5, 0x80, 0x81, 0x83, 0x84, 2, 0xff];
const FLAGS: [u8; 6] = [0, 1, 1, 2, 3, 0xff];

/// One frame, as the tap is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shot {
    /// What the monitor says of it.
    pub header: VnetHeader,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Shot {
    /// A header that is true, for a frame that is whole.
    pub fn honest(frame: Vec<u8>) -> Self {
        Self { header: VnetHeader::default(), frame }
    }

    /// Header and frame in one piece.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.header.to_bytes().as_slice(), &self.frame].concat()
    }

    fn invent(rng: &mut Rng, seeds: &[Vec<u8>]) -> Self {
        let frame = if rng.one_in(3) {
            large(rng)
        } else {
            let mut frame = rng.pick(seeds).clone();
            mutate::frame(&mut frame, rng, seeds, 2048);
            if rng.one_in(16) {
                frame.truncate(rng.below(20));
            }
            frame
        };
        let header = if rng.one_in(4) { VnetHeader::default() } else { hostile(rng, frame.len()) };
        Self { header, frame }
    }
}

/// A frame of TCP or UDP, which may be longer than any link carries.
fn large(rng: &mut Rng) -> Vec<u8> {
    let size = *rng.pick(&[0, 1, 7, 100, 1400, 1446, 1460, 1461, 4000, 4096, 9000, 20_000, 40_000, 65_000, 65_535]);
    let payload = vec![rng.octet(); size];
    let tcp = [&[0x9c, 0x40, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0][..], &payload].concat();
    let udp = [&[0x9c, 0x40, 0, 9, 0, 0, 0, 0][..], &payload].concat();
    let (protocol, datagram) = if rng.one_in(2) { (6, tcp) } else { (17, udp) };
    let six = |last| [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let mut frame = if rng.one_in(2) {
        let packet = frames::ipv4_packet(protocol, LEASE, OTHER, &[], &datagram);
        frames::ethernet([0x0a, 0x58, 0x0a, 0xf4, 1, 1], GUEST.0, 0x0800, &packet)
    } else {
        let packet = frames::ipv6_packet(protocol, six(5), six(1), &datagram);
        frames::ethernet([0x0a, 0x58, 0x0a, 0xf4, 1, 1], GUEST.0, 0x86dd, &packet)
    };
    if rng.one_in(4) {
        frame = frames::tagged(&frame, &[(0x8100, 0)]);
    }
    if rng.one_in(3) {
        mutate::frame(&mut frame, rng, &[], LARGEST);
    }
    frame.truncate(LARGEST);
    frame
}

/// A header of which each part may be a lie.
fn hostile(rng: &mut Rng, len: usize) -> VnetHeader {
    let word = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let places = [
        0,
        1,
        6,
        12,
        13,
        14,
        33,
        34,
        42,
        54,
        74,
        len.saturating_sub(2),
        len.saturating_sub(1),
        len,
        len + 1,
        4096,
        65_535,
    ];
    let sizes = [0, 1, 2, 8, 28, 536, 1446, 1448, 1472, 1473, 9000, len, len + 1, 65_534, 65_535];
    // A header that is nearly true gets further than one that is all lies.
    let nearly = rng.one_in(2);
    VnetHeader {
        flags: if nearly { 1 } else { *rng.pick(&FLAGS) },
        gso_type: *rng.pick(&KINDS),
        hdr_len: word(if nearly { len.min(54) } else { *rng.pick(&places) }),
        gso_size: word(if nearly && rng.one_in(2) { 1446 } else { *rng.pick(&sizes) }),
        csum_start: word(if nearly { *rng.pick(&[34, 34, 54, 38]) } else { *rng.pick(&places) }),
        csum_offset: word(if nearly { *rng.pick(&[6, 16]) } else { *rng.pick(&[0, 2, 6, 16, len, 65_535]) }),
    }
}

/// Frames in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volley(pub Vec<Shot>);

impl Volley {
    /// Invents some.
    pub fn invent(rng: &mut Rng, seeds: &[Vec<u8>], shots: usize) -> Self {
        Self((0..shots).map(|_| Shot::invent(rng, seeds)).collect())
    }

    /// As it is kept: of each frame its octets as a number of four, the header, the frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let one = |shot: &Shot| {
            let bytes = shot.to_bytes();
            [&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..], &bytes].concat()
        };
        self.0.iter().flat_map(one).collect()
    }

    /// Reads what was kept; `None` where it is none.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut shots = Vec::new();
        while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
            let (shot, next) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
            let header = VnetHeader::from_bytes(shot).ok()?;
            shots.push(Shot { header, frame: shot[HEADER..].to_vec() });
            bytes = next;
        }
        bytes.is_empty().then_some(Self(shots))
    }
}
