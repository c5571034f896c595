//! Reads a client's message.

use super::option;
use crate::{
    MacAddr,
    counters::Reason,
    in_memory::InMemory,
    packet::{Packet, Udp},
};

/// How many options, pads included, are looked at. A client's message has a dozen; no loop of the program is without a
/// bound.
pub const MAX_OPTIONS: usize = 128;

/// Octets of a client identifier with its code and length, padded to whole words.
pub const MAX_CLIENT_ID: usize = 260;
/// How many of the parameters that a client asks for are looked at. Clients ask for up to forty.
pub const MAX_PARAMETERS: usize = 128;

/// Octets of the UDP header.
const UDP_HEADER: usize = 8;
/// Octets of a BOOTP message before its options, the magic cookie included (RFC 2131, 2).
const FIXED: usize = 240;
/// What the options begin with (RFC 2131, 3).
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOTREQUEST: u8 = 1;
/// Hardware type of Ethernet.
const ETHERNET: u8 = 1;

/// A field that options may go on in when option 52 says so (RFC 2132, 9.3): its bit, offset and octets.
struct Field {
    bit: u32,
    at: usize,
    len: usize,
}

/// By how many bits a field's mark that it was read stands above its own.
const READ: u32 = 8;

const FILE: Field = Field { bit: 1, at: 108, len: 128 };
const SNAME: Field = Field { bit: 2, at: 44, len: 64 };

/// Where the reading of options is; offsets are of the frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Where the message begins.
    message: InMemory<usize>,
    at: InMemory<usize>,
    end: InMemory<usize>,
    /// Where option 55 is.
    parameters: InMemory<usize>,
    /// Where option 61 is.
    client_id: InMemory<usize>,
    /// The fields that option 52 names, as bits; and above [`READ`] those that were read. A field that names itself again
    /// would be read until the bound on options ends it.
    overload: InMemory<u32>,
    reserved: u32,
}

/// What a message says, as far as an answer depends on it. In the kernel it lies in a map; [`InMemory`] says why.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Source of the IPv4 header.
    pub sent_from: [u8; 4],
    /// Destination of the IPv4 header.
    pub sent_to: [u8; 4],
    /// Client hardware address; an Ethernet one is its first six octets.
    pub chaddr: [u8; 16],
    /// Source MAC of the frame.
    pub source_mac: MacAddr,
    /// Source port: 68 is a client, 67 a relay.
    pub source_port: u16,
    /// Option 57: octets of the largest datagram that the client takes; zero when there is none.
    pub max_size: u16,
    /// Octets of `client_id`; 0 when there is none.
    pub client_id_len: u16,
    /// The datagram is the first of several fragments.
    pub fragment: bool,
    /// The frame is for more than one receiver.
    pub to_group: bool,
    /// Option 80: the client takes an ACK in place of an OFFER (RFC 4039).
    pub rapid_commit: bool,
    /// Hardware type.
    pub htype: u8,
    /// How many octets of `parameters` count.
    pub parameters_len: InMemory<u8>,
    /// Option 61 with its code and length; zeros behind it.
    pub client_id: [u8; MAX_CLIENT_ID],
    /// Option 55: the codes of the options that the client asks for.
    pub parameters: [u8; 256],
    /// Where the reading is.
    pub cursor: Cursor,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            xid: [0; 4],
            flags: [0; 2],
            hlen: 0,
            message_type: 0,
            ciaddr: [0; 4],
            giaddr: [0; 4],
            requested: [0; 4],
            server: [0; 4],
            sent_from: [0; 4],
            sent_to: [0; 4],
            chaddr: [0; 16],
            source_mac: MacAddr::ZERO,
            source_port: 0,
            max_size: 0,
            client_id_len: 0,
            fragment: false,
            to_group: false,
            rapid_commit: false,
            htype: 0,
            parameters_len: InMemory::new(0),
            client_id: [0; MAX_CLIENT_ID],
            parameters: [0; 256],
            cursor: Cursor::default(),
        }
    }
}

impl Cursor {
    /// Goes on in the next field that holds options, `file` before `sname` (RFC 2131, 4.1); `false` when there is none.
    #[inline(always)]
    fn enter_field(&mut self) -> bool {
        let overload = self.overload.get();
        let left = overload & !(overload >> READ);
        let field = if left & FILE.bit != 0 { FILE } else { SNAME };
        if left & field.bit == 0 {
            return false;
        }
        self.overload.set(overload | field.bit << READ);
        let start = self.message.get() + field.at;
        self.at.set(start);
        self.end.set(start + field.len);
        true
    }
}

impl Request {
    /// The broadcast bit (RFC 2131, 2).
    #[inline(always)]
    pub fn wants_broadcast(&self) -> bool {
        self.flags[0] & 0x80 != 0
    }

    /// The client hardware address is this Ethernet address.
    #[inline(always)]
    pub fn is_from(&self, mac: MacAddr) -> bool {
        self.htype == ETHERNET && self.hlen == 6 && self.chaddr[..6] == mac.0
    }

    /// The code of the option that the client asks for at this place of its list.
    #[inline(always)]
    pub fn parameter(&self, place: usize) -> Option<u8> {
        if place < usize::from(self.parameters_len.get()) { self.parameters.get(place).copied() } else { None }
    }

    /// Reads what the headers say, which is enough to know whether the message is for this server at all.
    #[inline(always)]
    pub fn read_headers(&mut self, packet: &(impl Packet + ?Sized), udp: Udp) -> Result<(), Reason> {
        self.sent_from = packet.header(26).ok_or(Reason::DhcpMalformed)?;
        self.sent_to = packet.header(30).ok_or(Reason::DhcpMalformed)?;
        self.source_mac = MacAddr(packet.header(6).ok_or(Reason::DhcpMalformed)?);
        self.to_group = MacAddr(packet.header(0).ok_or(Reason::DhcpMalformed)?).is_group();
        self.source_port = udp.source;
        self.fragment = udp.fragment;
        Ok(())
    }

    /// Reads the message that follows the UDP header: what the program does in turns.
    pub fn read_message(&mut self, packet: &(impl Packet + ?Sized), udp: Udp) -> Result<(), Reason> {
        self.begin(packet, udp)?;
        let ended = (0..MAX_OPTIONS).any(|_| self.next_option(packet));
        self.end(packet, ended)
    }

    /// Reads the fixed part of the message that follows the UDP header; [`Self::next_option`] goes on.
    #[inline(always)]
    pub fn begin(&mut self, packet: &(impl Packet + ?Sized), udp: Udp) -> Result<(), Reason> {
        let at = udp.offset + UDP_HEADER;
        self.read_fixed(packet, at).ok_or(Reason::DhcpMalformed)?;
        // The datagram may end before the frame does: short Ethernet frames are padded.
        let length = u16::from_be_bytes(packet.load(udp.offset + 4).ok_or(Reason::DhcpMalformed)?);
        self.forget_options(packet);
        self.cursor.message.set(at);
        self.cursor.at.set(at + FIXED);
        self.cursor.end.set(udp.offset + usize::from(length));
        self.cursor.overload.set(0);
        self.cursor.parameters.set(0);
        self.cursor.client_id.set(0);
        Ok(())
    }

    /// Ends the reading; `ended` is what the last of at most [`MAX_OPTIONS`] calls of [`Self::next_option`] has said.
    #[inline(always)]
    pub fn end(&mut self, packet: &(impl Packet + ?Sized), ended: bool) -> Result<(), Reason> {
        if !ended && self.message_type == 0 {
            // What it is stands beyond the place to which it was read.
            return Err(Reason::DhcpMalformed);
        }
        self.copy_options(packet);
        Ok(())
    }

    #[inline(always)]
    fn read_fixed(&mut self, packet: &(impl Packet + ?Sized), at: usize) -> Option<()> {
        let [op, htype, hlen, _hops] = packet.load(at)?;
        if op != BOOTREQUEST || packet.load(at + FIXED - 4)? != MAGIC_COOKIE {
            return None;
        }
        self.htype = htype;
        self.hlen = hlen;
        self.xid = packet.load(at + 4)?;
        self.flags = packet.load(at + 10)?;
        self.ciaddr = packet.load(at + 12)?;
        self.giaddr = packet.load(at + 24)?;
        self.chaddr = packet.load(at + 28)?;
        Some(())
    }

    /// Reads the next option. `true`: there was none, the message is at its end.
    ///
    /// Options end with END, or where the message does: a missing END is no reason to leave a guest without a lease.
    #[inline(always)]
    pub fn next_option(&mut self, packet: &(impl Packet + ?Sized)) -> bool {
        let (at, end) = (self.cursor.at.get(), self.cursor.end.get());
        let [code, len] = packet.load(at).unwrap_or([option::END, 0]);
        let next = if code == option::PAD { at + 1 } else { at + 2 + usize::from(len) };
        if code == option::END || next > end {
            // It ends, or what it says of itself goes beyond the end.
            return !self.cursor.enter_field();
        }
        self.read_option(packet, at, code, len);
        self.cursor.at.set(next);
        false
    }

    #[inline(always)]
    fn forget_options(&mut self, packet: &(impl Packet + ?Sized)) {
        self.message_type = 0;
        self.requested = [0; 4];
        self.server = [0; 4];
        self.max_size = 0;
        self.client_id_len = 0;
        self.rapid_commit = false;
        self.parameters_len.set(0);
        packet.clear(&mut self.client_id);
    }

    /// Reads an option. The long ones are only found here, and copied when all are read.
    #[inline(always)]
    fn read_option(&mut self, packet: &(impl Packet + ?Sized), at: usize, code: u8, len: u8) {
        let value = at + 2;
        match (code, len) {
            (option::MESSAGE_TYPE, 1) => {
                let [kind] = packet.load(value).unwrap_or_default();
                self.message_type = kind;
            }
            (option::REQUESTED_ADDRESS, 4) => self.requested = packet.load(value).unwrap_or_default(),
            (option::SERVER_IDENTIFIER, 4) => self.server = packet.load(value).unwrap_or_default(),
            (option::MAX_MESSAGE_SIZE, 2) => {
                self.max_size = u16::from_be_bytes(packet.load(value).unwrap_or_default());
            }
            (option::OVERLOAD, 1) => {
                let [fields] = packet.load(value).unwrap_or_default();
                let read = self.cursor.overload.get() >> READ << READ;
                self.cursor.overload.set(read | u32::from(fields));
            }
            (option::RAPID_COMMIT, 0) => self.rapid_commit = true,
            (option::PARAMETERS, _) => self.cursor.parameters.set(at),
            (option::CLIENT_ID, _) => self.cursor.client_id.set(at),
            _ => {}
        }
    }

    /// Copies what [`Self::read_option`] has found; an offset of zero is nothing found.
    #[inline(always)]
    fn copy_options(&mut self, packet: &(impl Packet + ?Sized)) {
        let at = self.cursor.parameters.get();
        if let Some([_, len]) = packet.load(at)
            && at != 0
            && packet.copy(at + 2, usize::from(len), &mut self.parameters)
        {
            self.parameters_len.set(len);
        }
        let at = self.cursor.client_id.get();
        if let Some([_, len]) = packet.load(at)
            && at != 0
            && packet.copy(at, 2 + usize::from(len), &mut self.client_id)
        {
            self.client_id_len = 2 + u16::from(len);
        }
    }
}
