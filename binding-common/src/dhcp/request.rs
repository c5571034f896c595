//! Reads a client's message.

use super::option;
use crate::{
    MacAddr,
    counters::Reason,
    packet::{Packet, Udp},
};

/// How many options, pads included, are looked at. A client's message has a dozen; the bound is the verifier's, which
/// follows the loop to its end.
pub const MAX_OPTIONS: usize = 128;

/// Octets of the UDP header.
const UDP_HEADER: usize = 8;
/// Octets of a BOOTP message before its options, the magic cookie included (RFC 2131, 2).
const FIXED: usize = 240;
/// What the options begin with (RFC 2131, 3).
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOTREQUEST: u8 = 1;

/// What a message says, as far as an answer depends on it.
///
/// In the kernel it lies in a map: what the verifier does not track there cannot multiply the states that it must
/// follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Transaction id.
    pub xid: [u8; 4],
    /// Flags; the highest bit asks for a broadcast answer.
    pub flags: [u8; 2],
    /// Length of the client hardware address.
    pub hlen: u8,
    /// Option 53; 0 when there is none (BOOTP).
    pub message_type: u8,
    /// The address that the client has.
    pub ciaddr: [u8; 4],
    /// The relay that the message came by.
    pub giaddr: [u8; 4],
    /// Option 50; zero when there is none.
    pub requested: [u8; 4],
    /// Option 54; zero when there is none.
    pub server: [u8; 4],
    /// Destination of the IPv4 header.
    pub sent_to: [u8; 4],
    /// Client hardware address, the first six octets.
    pub chaddr: MacAddr,
    /// Source MAC of the frame.
    pub source_mac: MacAddr,
    /// Source port: 68 is a client, 67 a relay.
    pub source_port: u16,
    /// The datagram is the first of several fragments.
    pub fragment: bool,
    /// Room that would be padding else: maps hold no undefined octets.
    pub reserved: u8,
}

impl Request {
    /// The broadcast bit (RFC 2131, 2).
    #[inline(always)]
    pub fn wants_broadcast(&self) -> bool {
        self.flags[0] & 0x80 != 0
    }

    /// Reads what the headers say, which is enough to know whether the message is for this server at all.
    #[inline(always)]
    pub fn read_headers(&mut self, packet: &(impl Packet + ?Sized), udp: Udp) -> Result<(), Reason> {
        self.sent_to = packet.header(30).ok_or(Reason::DhcpMalformed)?;
        self.source_mac = MacAddr(packet.header(6).ok_or(Reason::DhcpMalformed)?);
        self.source_port = udp.source;
        self.fragment = udp.fragment;
        Ok(())
    }

    /// Reads the message that follows the UDP header.
    #[inline(always)]
    pub fn read_message(&mut self, packet: &(impl Packet + ?Sized), udp: Udp) -> Result<(), Reason> {
        let at = udp.offset + UDP_HEADER;
        self.read_fixed(packet, at).ok_or(Reason::DhcpMalformed)?;
        // The datagram may end before the frame does: short Ethernet frames are padded.
        let length = u16::from_be_bytes(packet.load(udp.offset + 4).ok_or(Reason::DhcpMalformed)?);
        self.read_options(packet, at + FIXED, udp.offset + usize::from(length));
        Ok(())
    }

    #[inline(always)]
    fn read_fixed(&mut self, packet: &(impl Packet + ?Sized), at: usize) -> Option<()> {
        let [op, _htype, hlen, _hops] = packet.load(at)?;
        if op != BOOTREQUEST || packet.load(at + FIXED - 4)? != MAGIC_COOKIE {
            return None;
        }
        self.hlen = hlen;
        self.xid = packet.load(at + 4)?;
        self.flags = packet.load(at + 10)?;
        self.ciaddr = packet.load(at + 12)?;
        self.giaddr = packet.load(at + 24)?;
        self.chaddr = MacAddr(packet.load(at + 28)?);
        Some(())
    }

    /// Options end with END, or where the message does: a missing END is no reason to leave a guest without a lease.
    #[inline(always)]
    fn read_options(&mut self, packet: &(impl Packet + ?Sized), start: usize, end: usize) {
        self.message_type = 0;
        self.requested = [0; 4];
        self.server = [0; 4];
        let mut at = start;
        for _ in 0..MAX_OPTIONS {
            if at + 1 >= end {
                return;
            }
            let Some([code, len]) = packet.load(at) else { return };
            match code {
                option::END => return,
                option::PAD => {
                    at += 1;
                    continue;
                }
                option::MESSAGE_TYPE if len == 1 => {
                    if let Some([kind]) = packet.load(at + 2) {
                        self.message_type = kind;
                    }
                }
                option::REQUESTED_ADDRESS if len == 4 => {
                    self.requested = packet.load(at + 2).unwrap_or_default();
                }
                option::SERVER_IDENTIFIER if len == 4 => {
                    self.server = packet.load(at + 2).unwrap_or_default();
                }
                _ => {}
            }
            at += 2 + usize::from(len);
        }
    }
}
