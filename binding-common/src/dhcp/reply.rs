//! What a reply is made of: a template from user space, and the fields that a request decides.

use super::{Request, decide::Reply};
use crate::{MacAddr, checksum};

/// Octets of the largest reply: Ethernet's header and its usual MTU.
pub const MAX_FRAME: usize = 14 + 1500;

/// Octets from the destination MAC to the end of `chaddr`: everything that is stamped lies in them.
pub const HEAD: usize = 86;

/// Offset of the IPv4 header's checksum.
const IP_CHECKSUM: usize = 24;
/// Offset of the IPv4 destination.
const IP_DESTINATION: usize = 30;
/// Offset of the UDP destination port.
const UDP_DESTINATION: usize = 36;
/// Offset of the UDP checksum.
const UDP_CHECKSUM: usize = 40;
/// Offset of the BOOTP message, and of its fields (RFC 2131, 2).
pub const BOOTP: usize = 42;
const XID: usize = BOOTP + 4;
const FLAGS: usize = BOOTP + 10;
const CIADDR: usize = BOOTP + 12;
const GIADDR: usize = BOOTP + 24;
const CHADDR: usize = BOOTP + 28;

/// A whole reply frame, as user space laid it out, with zeros where the request decides.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Template {
    /// Octets of `frame` that are sent; 0 when this reply is never given.
    pub len: u32,
    /// Sum of the 16-bit words of the IPv4 header, its checksum and destination left out.
    pub ip_sum: u32,
    /// Sum of the 16-bit words of pseudo header, UDP header and message, as they are in `frame`.
    pub udp_sum: u32,
    /// The frame, from the destination MAC on.
    pub frame: [u8; MAX_FRAME],
    /// The size is a multiple of the alignment without it being undefined.
    pub reserved: [u8; 2],
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Destination MAC.
    pub mac: MacAddr,
    /// Destination address.
    pub address: [u8; 4],
    /// Destination port.
    pub port: u16,
}

/// Puts into the head of a template what the request decides, and completes both checksums.
///
/// The checksums are whole, not offloaded: a client that reads raw frames would see a partial one.
#[inline(always)]
pub fn stamp(head: &mut [u8; HEAD], (ip_sum, udp_sum): (u32, u32), request: &Request, reply: Reply, to: &Destination) {
    // Only an ACK repeats the client's address (RFC 2131, table 3).
    let ciaddr = match reply {
        Reply::Ack | Reply::Inform => request.ciaddr,
        Reply::Offer | Reply::Nak => [0; 4],
    };
    // A relay broadcasts a NAK, whatever the client asked for: its address is what is wrong (RFC 2131, 4.3.2).
    let mut flags = request.flags;
    if reply == Reply::Nak && request.giaddr != [0; 4] {
        flags[0] |= 0x80;
    }
    let port = to.port.to_be_bytes();
    head[0..6].copy_from_slice(&to.mac.0);
    head[IP_DESTINATION..IP_DESTINATION + 4].copy_from_slice(&to.address);
    head[UDP_DESTINATION..UDP_DESTINATION + 2].copy_from_slice(&port);
    head[XID..XID + 4].copy_from_slice(&request.xid);
    head[FLAGS..FLAGS + 2].copy_from_slice(&flags);
    head[CIADDR..CIADDR + 4].copy_from_slice(&ciaddr);
    head[GIADDR..GIADDR + 4].copy_from_slice(&request.giaddr);
    head[CHADDR..CHADDR + 6].copy_from_slice(&request.chaddr.0);

    let destination_sum = checksum::add(0, &to.address);
    let mut sum = checksum::add(udp_sum + destination_sum, &port);
    sum = checksum::add(sum, &request.xid);
    sum = checksum::add(sum, &flags);
    sum = checksum::add(sum, &ciaddr);
    sum = checksum::add(sum, &request.giaddr);
    sum = checksum::add(sum, &request.chaddr.0);
    head[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&checksum::finish(ip_sum + destination_sum));
    head[UDP_CHECKSUM..UDP_CHECKSUM + 2].copy_from_slice(&checksum::finish_udp(sum));
}

impl Template {
    /// A reply that is never given.
    pub const EMPTY: Self = Self { len: 0, ip_sum: 0, udp_sum: 0, frame: [0; MAX_FRAME], reserved: [0; 2] };

    /// Lays out a frame around a BOOTP message in which `xid`, `flags`, `ciaddr`, `giaddr` and `chaddr` are zero.
    /// `None` when the message is longer than [`MAX_FRAME`] allows.
    pub fn new(source_mac: MacAddr, source: [u8; 4], message: &[u8]) -> Option<Self> {
        let mut template = Self::EMPTY;
        let frame = &mut template.frame;
        let len = BOOTP + message.len();
        frame.get_mut(BOOTP..len)?.copy_from_slice(message);
        let udp_len = u16::try_from(8 + message.len()).ok()?.to_be_bytes();
        let ip_len = u16::try_from(28 + message.len()).ok()?.to_be_bytes();

        frame[6..12].copy_from_slice(&source_mac.0);
        frame[12..14].copy_from_slice(&crate::packet::ETH_P_IP);
        // Version 4, IHL 5; don't fragment; TTL 64; UDP.
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&ip_len);
        frame[20] = 0x40;
        frame[22..24].copy_from_slice(&[64, 17]);
        frame[26..30].copy_from_slice(&source);
        frame[34..36].copy_from_slice(&super::SERVER_PORT.to_be_bytes());
        frame[38..40].copy_from_slice(&udp_len);

        template.len = u32::try_from(len).ok()?;
        template.ip_sum = checksum::add_slice(0, &frame[14..34]);
        // Pseudo header (RFC 768): source, destination, zero and protocol, length.
        let pseudo = checksum::add_slice(17 + u32::from(u16::from_be_bytes(udp_len)), &source);
        template.udp_sum = checksum::add_slice(pseudo, &frame[34..len]);
        Some(template)
    }

    /// The frame that is sent for a request: what the program does in place.
    pub fn render(&self, request: &Request, reply: Reply, to: &Destination) -> Option<([u8; MAX_FRAME], usize)> {
        let mut frame = self.frame;
        stamp(frame.first_chunk_mut()?, (self.ip_sum, self.udp_sum), request, reply, to);
        Some((frame, usize::try_from(self.len).ok()?))
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, four-octet alignment and a size of 12 + 1514 + 2 octets leave no padding, and any bits are valid.
unsafe impl aya::Pod for Template {}

const _: () = assert!(size_of::<Template>() == 12 + MAX_FRAME + 2);
