//! How the pure logic reads a frame, and where the headers lie in one.

use crate::guard::{self, Message, Policy, Upper};

/// Octets of an Ethernet header: two addresses and the EtherType.
pub const ETH_HEADER: usize = 14;

/// Octets that are read from every frame that has them: Ethernet, and an IPv6 header with UDP's. An IPv4 header without
/// options and an ARP packet are shorter.
pub const HEADERS: usize = 62;

/// EtherType of IPv4.
pub const ETH_P_IP: [u8; 2] = [0x08, 0x00];
/// EtherType of ARP.
pub const ETH_P_ARP: [u8; 2] = [0x08, 0x06];
/// EtherType of RARP.
pub const ETH_P_RARP: [u8; 2] = [0x80, 0x35];
/// EtherType of IPv6.
pub const ETH_P_IPV6: [u8; 2] = [0x86, 0xdd];
/// EtherType of LLDP.
pub const ETH_P_LLDP: [u8; 2] = [0x88, 0xcc];
/// EtherTypes of VLAN tags that lie in the frame itself (802.1Q and 802.1ad).
pub const ETH_P_VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// `GSO_BY_FRAGS` of `linux/skbuff.h`: the segments of an SCTP frame are there already, each of its own size.
const GSO_BY_FRAGS: u32 = 0xffff;

/// Protocol number of UDP.
pub(crate) const IPPROTO_UDP: u8 = 17;

/// A frame, beginning with its destination MAC.
///
/// The kernel keeps the outermost VLAN tag beside the frame, not in it; so do we.
pub trait Packet {
    /// Reads `N` octets at an offset that is known when the program is built and lies within [`HEADERS`]: one compare.
    fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Reads `N` octets at any offset: a call of a helper in the kernel.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Copies `len` octets at any offset to the beginning of a buffer. `false`, and nothing is copied, when the packet or
    /// the buffer is too short, or `len` is 0.
    fn copy<const N: usize>(&self, offset: usize, len: usize, to: &mut [u8; N]) -> bool;

    /// Fills a buffer with zeros. It has nothing to do with the packet, but that the programs have no other way to do it at once.
    fn clear<const N: usize>(&self, buffer: &mut [u8; N]) {
        *buffer = [0; N];
    }

    /// [`guard::follow`]. What only odd frames need is a function of its own in the programs, which the verifier follows
    /// once, and not on each way that leads there.
    fn upper(&self, next: u8) -> Option<Upper> {
        guard::follow(self, next)
    }

    /// [`guard::is_true_neighbour`], likewise.
    fn is_true_neighbour(&self, message: Message, policy: &impl Policy) -> bool {
        guard::is_true_neighbour(self, message, policy)
    }
}

impl Packet for [u8] {
    fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load(offset)
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    fn copy<const N: usize>(&self, offset: usize, len: usize, to: &mut [u8; N]) -> bool {
        match (self.get(offset..).and_then(|rest| rest.get(..len)), to.get_mut(..len)) {
            (Some(from), Some(to)) if len > 0 => {
                to.copy_from_slice(from);
                true
            }
            _ => false,
        }
    }
}

/// The EtherType that follows the addresses (the length, in an 802.3 frame).
#[inline(always)]
pub fn ether_type(packet: &(impl Packet + ?Sized)) -> Option<[u8; 2]> {
    packet.header(12)
}

/// A UDP datagram over IPv4, or the first fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Offset of the UDP header in the frame.
    pub offset: usize,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// More fragments follow: the datagram is not whole.
    pub fragment: bool,
}

/// Finds the UDP header of an IPv4 frame. `None` for everything else, fragments after the first included: they carry no
/// ports.
#[inline(always)]
pub fn udp(packet: &(impl Packet + ?Sized)) -> Option<Udp> {
    // RFC 791, 3.1: version and IHL, …, flags and fragment offset at 6, …, protocol at 9.
    if packet.header(23)? != [IPPROTO_UDP] {
        return None;
    }
    let [version_ihl] = packet.header(ETH_HEADER)?;
    let fragment = u16::from_be_bytes(packet.header(20)?);
    if version_ihl >> 4 != 4 || fragment & 0x1fff != 0 {
        return None;
    }
    let ihl = usize::from(version_ihl & 0xf) * 4;
    let offset = ETH_HEADER + ihl;
    let [s0, s1, d0, d1] = match ihl {
        20 => packet.header(ETH_HEADER + 20)?,
        24..=60 => packet.load(offset)?,
        _ => return None,
    };
    Some(Udp {
        offset,
        source: u16::from_be_bytes([s0, s1]),
        destination: u16::from_be_bytes([d0, d1]),
        fragment: fragment & 0x2000 != 0,
    })
}

/// Tags in a frame that are looked behind. No sender stacks tags of VLAN 0; one who does so hides something.
const MAX_TAGS: usize = 4;

/// What lies behind tags of VLAN 0 that are in the frame itself. Receivers take them off, one after the other, and read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The tag is of a VLAN: the frame is that network's.
    Vlan,
    /// A UDP datagram over IPv4 to this port.
    Udp(u16),
    /// Anything else.
    Other,
    /// More tags than are looked behind.
    TooDeep,
}

/// Looks behind the tags of a frame whose EtherType is one of [`ETH_P_VLAN`].
#[inline(always)]
pub fn behind_tags(packet: &(impl Packet + ?Sized)) -> Behind {
    let mut at = ETH_HEADER - 2;
    for _ in 0..=MAX_TAGS {
        let Some([kind @ .., high, low]) = packet.load::<4>(at) else { return Behind::Other };
        if !ETH_P_VLAN.contains(&kind) {
            return if kind == ETH_P_IP { ipv4_behind(packet, at + 2) } else { Behind::Other };
        }
        if u16::from_be_bytes([high, low]) & 0xfff != 0 {
            return Behind::Vlan;
        }
        at += 4;
    }
    Behind::TooDeep
}

#[inline(always)]
fn ipv4_behind(packet: &(impl Packet + ?Sized), at: usize) -> Behind {
    let (Some([version_ihl]), Some([high, low]), Some([protocol])) =
        (packet.load(at), packet.load(at + 6), packet.load(at + 9))
    else {
        return Behind::Other;
    };
    let later_fragment = u16::from_be_bytes([high, low]) & 0x1fff != 0;
    match packet.load(at + usize::from(version_ihl & 0xf) * 4 + 2) {
        Some(port) if protocol == IPPROTO_UDP && !later_fragment => Behind::Udp(u16::from_be_bytes(port)),
        _ => Behind::Other,
    }
}

/// Whether a frame of `len` octets is over what a link of this MTU carries.
///
/// A GSO frame is cut to segments of `gso_size` octets of payload later on, so that size decides: a guest may claim one
/// that, with the smallest headers (IPv4 and UDP, 28 octets), does not fit. A tag that lies in the frame does not count.
#[inline(always)]
pub fn too_big(packet: &(impl Packet + ?Sized), len: u32, gso_size: u32, mtu: u32) -> bool {
    if gso_size == GSO_BY_FRAGS {
        return false;
    }
    if gso_size != 0 {
        return gso_size + 28 > mtu;
    }
    let payload = len.saturating_sub(14);
    if payload <= mtu {
        return false;
    }
    let tagged = ether_type(packet).is_some_and(|kind| ETH_P_VLAN.contains(&kind));
    !tagged || payload.saturating_sub(4) > mtu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4_udp(ihl: u8, flags: u16) -> [u8; 82] {
        let mut frame = [0; 82];
        frame[12..14].copy_from_slice(&ETH_P_IP);
        frame[14] = 0x40 | ihl;
        frame[20..22].copy_from_slice(&flags.to_be_bytes());
        frame[23] = IPPROTO_UDP;
        let at = 14 + usize::from(ihl) * 4;
        frame[at..at + 4].copy_from_slice(&[0, 68, 0, 67]);
        frame
    }

    #[test]
    fn ports_are_found_behind_ip_options() {
        for ihl in 5..=15 {
            let found = udp(&ipv4_udp(ihl, 0)[..]).unwrap();
            assert_eq!((found.source, found.destination), (68, 67));
            assert_eq!(found.offset, 14 + usize::from(ihl) * 4);
        }
    }

    #[test]
    fn a_header_that_is_too_short_to_be_one_has_no_ports() {
        for ihl in 0..5 {
            assert_eq!(udp(&ipv4_udp(ihl, 0)[..]), None);
        }
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        assert!(udp(&ipv4_udp(5, 0x2000)[..]).unwrap().fragment);
        assert!(!udp(&ipv4_udp(5, 0x4000)[..]).unwrap().fragment);
        assert_eq!(udp(&ipv4_udp(5, 0x2001)[..]), None);
    }

    #[test]
    fn a_truncated_frame_has_no_ports_and_does_not_panic() {
        let frame = ipv4_udp(5, 0);
        for len in 0..38 {
            assert_eq!(udp(&frame[..len]), None, "{len}");
        }
    }

    #[test]
    fn tags_of_vlan_0_hide_nothing() {
        let mut frame = [0; 120];
        for tags in 0..=6 {
            for tag in 0..tags {
                frame[12 + tag * 4..16 + tag * 4].copy_from_slice(&[0x81, 0, 0xe0, 0]);
            }
            let plain = ipv4_udp(6, 0);
            frame[12 + tags * 4..82 + tags * 4].copy_from_slice(&plain[12..]);
            let expected = if tags > MAX_TAGS { Behind::TooDeep } else { Behind::Udp(67) };
            assert_eq!(behind_tags(&frame[..]), expected, "{tags}");
        }
        frame[12..16].copy_from_slice(&[0x88, 0xa8, 0, 5]);
        assert_eq!(behind_tags(&frame[..]), Behind::Vlan);
        for len in 0..40 {
            assert_eq!(behind_tags(&frame[..len.min(14)]), Behind::Other, "{len}");
        }
    }

    #[test]
    fn the_mtu_bounds_what_follows_the_ethernet_header() {
        let frame = ipv4_udp(5, 0);
        assert!(!too_big(&frame[..], 1514, 0, 1500));
        assert!(too_big(&frame[..], 1515, 0, 1500));
        let mut tagged = frame;
        tagged[12..14].copy_from_slice(&[0x81, 0x00]);
        assert!(!too_big(&tagged[..], 1518, 0, 1500));
        assert!(too_big(&tagged[..], 1519, 0, 1500));
    }

    #[test]
    fn a_gso_frame_is_judged_by_its_segments() {
        let frame = ipv4_udp(5, 0);
        assert!(!too_big(&frame[..], 65549, 1448, 1500));
        assert!(too_big(&frame[..], 65549, 1473, 1500));
        assert!(!too_big(&frame[..], 65549, 0xffff, 1500), "SCTP has its segments in the frame");
    }
}
