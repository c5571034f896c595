//! What a reply is made of: a template from user space, and the fields that a request decides.

use super::{
    Options, Request,
    decide::Reply,
    options::{MAX_TURNS, MIN_DATAGRAM, Output, Progress},
};
use crate::{MacAddr, checksum, counters::Reason, in_memory::InMemory};

/// Octets of the largest reply: Ethernet's header and its usual MTU.
pub const MAX_FRAME: usize = 14 + 1500;

/// Octets of a template, and of the longest frame that every client takes.
pub const MAX_TEMPLATE: usize = 14 + MIN_DATAGRAM as usize;

/// Octets from the destination MAC to the end of `chaddr`: everything that is stamped lies in them.
pub const HEAD: usize = 86;

/// Offset of the IPv4 header's total length.
const IP_LENGTH: usize = 16;
/// Offset of the IPv4 header's checksum.
const IP_CHECKSUM: usize = 24;
/// Offset of the IPv4 destination.
const IP_DESTINATION: usize = 30;
/// Offset of the UDP destination port.
const UDP_DESTINATION: usize = 36;
/// Offset of the UDP length.
const UDP_LENGTH: usize = 38;
/// Offset of the UDP checksum.
const UDP_CHECKSUM: usize = 40;
/// Offset of the BOOTP message, and of its fields (RFC 2131, 2).
pub const BOOTP: usize = 42;
const XID: usize = BOOTP + 4;
const FLAGS: usize = BOOTP + 10;
const CIADDR: usize = BOOTP + 12;
const GIADDR: usize = BOOTP + 24;
const CHADDR: usize = BOOTP + 28;

/// The beginning of a reply frame, as user space laid it out, with zeros where the request decides: the headers, the
/// BOOTP fields and the options that no lease does without. [`Options`] follow it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Template {
    /// Octets of `frame` up to the end of its last option; 0 when this reply is never given.
    pub len: u32,
    /// Sum of the 16-bit words of the IPv4 header; its length, checksum and destination are left out.
    pub ip_sum: u32,
    /// Sum of the 16-bit words of pseudo header, UDP header and message, as they are in `frame`, without the lengths.
    pub udp_sum: u32,
    /// The frame, from the destination MAC on; zeros behind its last option.
    pub frame: [u8; MAX_TEMPLATE],
    /// The size is a multiple of the alignment without it being undefined.
    pub reserved: [u8; 2],
}

/// Where a reply goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Destination MAC.
    pub mac: MacAddr,
    /// Destination address.
    pub address: [u8; 4],
    /// Destination port.
    pub port: u16,
}

/// What an answer says of its own, resolved before anything is written. In the kernel it lies in a map, with all that is
/// known of the message and of the reply; [`InMemory`] says why.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The message.
    pub request: Request,
    /// How far the reply is.
    pub progress: Progress,
    /// The place of the template.
    pub template: InMemory<u32>,
    /// The place of its counter.
    pub counter: InMemory<u32>,
    /// Whether options follow the template: 0 or 1.
    with_options: InMemory<u32>,
    to: Destination,
    flags: [u8; 2],
    ciaddr: [u8; 4],
    reserved: [u8; 2],
}

impl Exchange {
    /// Notes the decision.
    #[inline(always)]
    pub fn answer(&mut self, reply: Reply, to: Destination) {
        self.to = to;
        self.flags = self.request.flags;
        // Only an ACK repeats the client's address (RFC 2131, table 3); one in place of an OFFER finds none to repeat.
        self.ciaddr = match reply {
            Reply::Ack | Reply::Inform => self.request.ciaddr,
            Reply::Offer | Reply::Nak | Reply::RapidCommit => [0; 4],
        };
        // A relay broadcasts a NAK, whatever the client asked for: its address is what is wrong (RFC 2131, 4.3.2).
        if reply == Reply::Nak && self.request.giaddr != [0; 4] {
            self.flags[0] |= 0x80;
        }
        self.with_options.set(u32::from(reply != Reply::Nak));
        self.template.set(reply as u32);
        self.counter.set(reply.counter() as u32);
    }

    /// Begins to write what follows the template, which the frame holds already; [`Self::next_turn`] goes on.
    #[inline(always)]
    pub fn begin(&mut self, template: &Template, options: &Options) {
        options.begin(template, &self.request, self.with_options.get() != 0, &mut self.progress);
    }

    /// [`Options::next_turn`] of this exchange.
    #[inline(always)]
    pub fn next_turn(&mut self, options: &Options, output: &mut impl Output) -> Result<bool, Reason> {
        options.next_turn(&self.request, &mut self.progress, output)
    }

    /// Puts into the head of a reply what the request decides, and completes both checksums.
    ///
    /// The checksums are whole, not offloaded: a client that reads raw frames would see a partial one.
    #[inline(always)]
    pub fn stamp(&self, head: &mut [u8; HEAD], ip_sum: u32) {
        let Self { request, progress, to, flags, ciaddr, .. } = self;
        let port = to.port.to_be_bytes();
        let ip_len = low_word(progress.frame_len().wrapping_sub(14));
        let udp_len = low_word(progress.frame_len().wrapping_sub(34));
        head[0..6].copy_from_slice(&to.mac.0);
        head[IP_LENGTH..IP_LENGTH + 2].copy_from_slice(&ip_len);
        head[IP_DESTINATION..IP_DESTINATION + 4].copy_from_slice(&to.address);
        head[UDP_DESTINATION..UDP_DESTINATION + 2].copy_from_slice(&port);
        head[UDP_LENGTH..UDP_LENGTH + 2].copy_from_slice(&udp_len);
        head[XID..XID + 4].copy_from_slice(&request.xid);
        head[FLAGS..FLAGS + 2].copy_from_slice(flags);
        head[CIADDR..CIADDR + 4].copy_from_slice(ciaddr);
        head[GIADDR..GIADDR + 4].copy_from_slice(&request.giaddr);
        head[CHADDR..CHADDR + 16].copy_from_slice(&request.chaddr);

        let destination_sum = checksum::add(0, &to.address);
        // The length stands in the header and in the pseudo header.
        let mut sum = checksum::add(checksum::add(progress.sum() + destination_sum, &udp_len), &udp_len);
        sum = checksum::add(sum, &port);
        sum = checksum::add(sum, &request.xid);
        sum = checksum::add(sum, flags);
        sum = checksum::add(sum, ciaddr);
        sum = checksum::add(sum, &request.giaddr);
        sum = checksum::add(sum, &request.chaddr);
        let ip_sum = checksum::add(ip_sum + destination_sum, &ip_len);
        head[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&checksum::finish(ip_sum));
        head[UDP_CHECKSUM..UDP_CHECKSUM + 2].copy_from_slice(&checksum::finish_udp(sum));
    }
}

/// A length as it is sent.
#[inline(always)]
fn low_word(length: usize) -> [u8; 2] {
    let [.., high, low] = length.to_be_bytes();
    [high, low]
}

impl Template {
    /// A reply that is never given.
    pub const EMPTY: Self = Self { len: 0, ip_sum: 0, udp_sum: 0, frame: [0; MAX_TEMPLATE], reserved: [0; 2] };

    /// Lays out a frame around the beginning of a BOOTP message in which `xid`, `flags`, `ciaddr`, `giaddr` and `chaddr`
    /// are zero, and which lacks its END. `None` when it is longer than [`MAX_TEMPLATE`] allows.
    pub fn new(source_mac: MacAddr, source: [u8; 4], message: &[u8]) -> Option<Self> {
        let mut template = Self::EMPTY;
        let frame = &mut template.frame;
        let len = BOOTP + message.len();
        frame.get_mut(BOOTP..len)?.copy_from_slice(message);

        frame[6..12].copy_from_slice(&source_mac.0);
        frame[12..14].copy_from_slice(&crate::packet::ETH_P_IP);
        // Version 4, IHL 5; don't fragment; TTL 64; UDP.
        frame[14] = 0x45;
        frame[20] = 0x40;
        frame[22..24].copy_from_slice(&[64, 17]);
        frame[26..30].copy_from_slice(&source);
        frame[34..36].copy_from_slice(&super::SERVER_PORT.to_be_bytes());

        template.len = u32::try_from(len).ok()?;
        template.ip_sum = checksum::add_slice(0, &frame[14..34]);
        // Pseudo header (RFC 768): source, destination, zero and protocol, length.
        template.udp_sum = checksum::add_slice(checksum::add_slice(17, &source), &frame[34..len]);
        Some(template)
    }

    /// The frame that is sent for a request: what the program does in place. The buffer is longer than the frame.
    pub fn render(&self, options: &Options, exchange: &mut Exchange) -> Result<[u8; MAX_FRAME], Reason> {
        let mut frame = [0; MAX_FRAME];
        frame[..MAX_TEMPLATE].copy_from_slice(&self.frame);
        exchange.begin(self, options);
        for _ in 0..MAX_TURNS {
            if exchange.next_turn(options, &mut frame)? {
                break;
            }
        }
        exchange.stamp(frame.first_chunk_mut().ok_or(Reason::ReplyFailed)?, self.ip_sum);
        Ok(frame)
    }
}

impl Output for [u8; MAX_FRAME] {
    fn put<const N: usize>(&mut self, at: usize, octets: &[u8; N], len: usize) -> Result<(), Reason> {
        let room = self.get_mut(at..).and_then(|rest| rest.get_mut(..len));
        room.ok_or(Reason::ReplyFailed)?.copy_from_slice(octets.get(..len).ok_or(Reason::ReplyFailed)?);
        Ok(())
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, four-octet alignment and a size of 12 + 590 + 2 octets leave no padding, and any bits are valid.
unsafe impl aya::Pod for Template {}

const _: () = assert!(size_of::<Template>() == 12 + MAX_TEMPLATE + 2);
