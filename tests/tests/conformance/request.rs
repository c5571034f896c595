//! What the guest sends: a client's message and the frame around it, with every part that a row may want otherwise.

use lab::tap::VnetHeader;

use crate::sum::{self, PROTOCOL_UDP};

pub(crate) const GUEST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x05];
pub(crate) const GATEWAY_MAC: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x01];
pub(crate) const BROADCAST_MAC: [u8; 6] = [0xff; 6];
pub(crate) const LEASE: [u8; 4] = [10, 244, 1, 5];
pub(crate) const GATEWAY: [u8; 4] = [10, 244, 1, 1];
/// An address that is neither the lease's nor the server's.
pub(crate) const OTHER: [u8; 4] = [10, 9, 9, 9];
pub(crate) const NONE: [u8; 4] = [0; 4];
pub(crate) const ANY: [u8; 4] = [255; 4];
/// The broadcast bit of the flags (RFC 2131, 2).
pub(crate) const BROADCAST: u16 = 0x8000;

/// What the UDP checksum of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Right, or left to the host where the row is run so.
    Right,
    /// None (RFC 768).
    Zero,
    /// A wrong one.
    Wrong,
}

/// A client's message in its frame.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) destination_mac: [u8; 6],
    pub(crate) source_mac: [u8; 6],
    /// The TCI of each VLAN tag.
    pub(crate) tags: Vec<u16>,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    /// Flags and fragment offset of the IPv4 header.
    pub(crate) fragment: u16,
    /// Words of IPv4 options.
    pub(crate) ip_options: u8,
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) source_port: u16,
    pub(crate) checksum: Checksum,
    pub(crate) op: u8,
    pub(crate) htype: u8,
    pub(crate) hlen: u8,
    pub(crate) hops: u8,
    pub(crate) xid: [u8; 4],
    pub(crate) secs: u16,
    pub(crate) flags: u16,
    pub(crate) ciaddr: [u8; 4],
    pub(crate) giaddr: [u8; 4],
    pub(crate) chaddr: [u8; 16],
    pub(crate) sname: Vec<u8>,
    pub(crate) file: Vec<u8>,
    pub(crate) cookie: [u8; 4],
    /// Everything behind the cookie up to END.
    pub(crate) options: Vec<u8>,
    /// Whether END and padding to `size` follow.
    pub(crate) end: bool,
    /// Octets of the shortest message.
    pub(crate) size: usize,
    /// What is behind the datagram in the frame.
    pub(crate) trailer: Vec<u8>,
    /// Octets that the frame is cut to.
    pub(crate) cut: Option<usize>,
    /// Octets that the monitor says are headers: of a frame of more than a page, only they are in one piece.
    pub(crate) in_one_piece: u16,
    /// The kind of segments that the monitor says it is to be cut to, and their octets.
    pub(crate) gso: Option<(u8, u16)>,
}

/// A message of a type, by broadcast, with nothing else in it.
pub(crate) fn message(kind: u8) -> Request {
    bootp().option(53, &[kind])
}

/// A BOOTP request.
pub(crate) fn bootp() -> Request {
    let mut chaddr = [0; 16];
    chaddr[..6].copy_from_slice(&GUEST);
    Request {
        destination_mac: BROADCAST_MAC,
        source_mac: GUEST,
        tags: Vec::new(),
        tos: 0,
        ttl: 64,
        fragment: 0,
        ip_options: 0,
        source: NONE,
        destination: ANY,
        source_port: 68,
        checksum: Checksum::Right,
        op: 1,
        htype: 1,
        hlen: 6,
        hops: 0,
        xid: [0; 4],
        secs: 0,
        flags: 0,
        ciaddr: NONE,
        giaddr: NONE,
        chaddr,
        sname: Vec::new(),
        file: Vec::new(),
        cookie: [99, 130, 83, 99],
        options: Vec::new(),
        end: true,
        size: 300,
        trailer: Vec::new(),
        cut: None,
        in_one_piece: 0,
        gso: None,
    }
}

pub(crate) fn discover() -> Request {
    message(1)
}

/// DHCPREQUEST in the state SELECTING.
pub(crate) fn selecting(server: [u8; 4], address: [u8; 4]) -> Request {
    message(3).option(54, &server).option(50, &address)
}

/// DHCPREQUEST in the state INIT-REBOOT.
pub(crate) fn reboot(address: [u8; 4]) -> Request {
    message(3).option(50, &address)
}

/// DHCPREQUEST in the state RENEWING, as a socket sends it: to the server, through the gateway.
pub(crate) fn renewing(address: [u8; 4]) -> Request {
    message(3).from(address).to(GATEWAY)
}

/// DHCPREQUEST in the state REBINDING.
pub(crate) fn rebinding(address: [u8; 4]) -> Request {
    message(3).from(address)
}

pub(crate) fn inform(address: [u8; 4]) -> Request {
    message(8).from(address)
}

impl Request {
    /// Changes any part of it.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, u8::try_from(value.len()).unwrap()]);
        self.options.extend(value);
        self
    }

    /// In place of all options.
    pub(crate) fn raw_options(self, options: &[u8]) -> Self {
        self.with(|request| request.options = options.to_vec())
    }

    pub(crate) fn requested(self, address: [u8; 4]) -> Self {
        self.option(50, &address)
    }

    /// The parameter request list.
    pub(crate) fn asking(self, codes: &[u8]) -> Self {
        self.option(55, codes)
    }

    /// The client identifier.
    pub(crate) fn identified(self, identifier: &[u8]) -> Self {
        self.option(61, identifier)
    }

    /// The largest datagram that the client takes.
    pub(crate) fn taking(self, octets: u16) -> Self {
        self.option(57, &octets.to_be_bytes())
    }

    pub(crate) fn flags(self, flags: u16) -> Self {
        self.with(|request| request.flags = flags)
    }

    /// The client has an address and uses it.
    pub(crate) fn from(self, address: [u8; 4]) -> Self {
        self.with(|request| (request.ciaddr, request.source) = (address, address))
    }

    /// By unicast, through the gateway.
    pub(crate) fn to(self, address: [u8; 4]) -> Self {
        self.with(|request| (request.destination, request.destination_mac) = (address, GATEWAY_MAC))
    }

    /// Through a relay on the guest's own link.
    pub(crate) fn relayed_by(self, relay: [u8; 4]) -> Self {
        self.with(|request| {
            request.giaddr = relay;
            request.hops = 1;
            request.source = relay;
            request.source_port = 67;
        })
    }

    /// The value of an option, if it is in the message.
    pub(crate) fn value(&self, code: u8) -> Option<&[u8]> {
        let mut rest = self.options.as_slice();
        while let [found, tail @ ..] = rest {
            let Some((len, tail)) = tail.split_first().filter(|_| *found != 0) else {
                rest = tail;
                continue;
            };
            let (value, tail) = tail.split_at_checked(usize::from(*len))?;
            if *found == code {
                return Some(value);
            }
            rest = tail;
        }
        None
    }

    /// The message, from `op` on.
    fn message(&self) -> Vec<u8> {
        let mut message = vec![self.op, self.htype, self.hlen, self.hops];
        message.extend(self.xid);
        message.extend(self.secs.to_be_bytes());
        message.extend(self.flags.to_be_bytes());
        message.extend([self.ciaddr, NONE, NONE, self.giaddr].concat());
        message.extend(self.chaddr);
        message.extend(&self.sname);
        message.resize(108, 0);
        message.extend(&self.file);
        message.resize(236, 0);
        message.extend(self.cookie);
        message.extend(&self.options);
        if self.end {
            message.push(255);
            message.resize(message.len().max(self.size), 0);
        }
        message
    }

    /// The frame, and the header that goes before it: with a checksum that the host shall fill in, if it is to be so.
    pub(crate) fn frame(&self, partial: bool) -> (VnetHeader, Vec<u8>) {
        let message = self.message();
        let mut frame = [self.destination_mac, self.source_mac].concat();
        for tag in &self.tags {
            frame.extend([[0x81, 0], tag.to_be_bytes()].concat());
        }
        frame.extend([0x08, 0x00]);
        let ip = frame.len();
        let udp = ip + 20 + usize::from(self.ip_options) * 4;
        let total = u16::try_from(udp - ip + 8 + message.len()).unwrap();
        frame.extend([0x45 + self.ip_options, self.tos]);
        frame.extend(total.to_be_bytes());
        frame.extend([0x12, 0x34]);
        frame.extend(self.fragment.to_be_bytes());
        frame.extend([self.ttl, PROTOCOL_UDP, 0, 0]);
        frame.extend([self.source, self.destination].concat());
        // No operation, in each octet.
        frame.resize(udp, 1);
        let check = sum::checksum(&frame[ip..udp]);
        frame[ip + 10..ip + 12].copy_from_slice(&check);
        frame.extend(self.source_port.to_be_bytes());
        frame.extend(67_u16.to_be_bytes());
        let len = u16::try_from(8 + message.len()).unwrap();
        frame.extend([len.to_be_bytes(), [0; 2]].concat());
        frame.extend(message);
        // Segments have checksums that are still to be filled in, or they are none.
        let partial = (partial || self.gso.is_some()) && self.cut.is_none();
        let mut header = self.fill_checksum(&mut frame, ip, udp, partial);
        header.hdr_len = self.in_one_piece;
        (header.gso_type, header.gso_size) = self.gso.unwrap_or_default();
        frame.extend(&self.trailer);
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        (header, frame)
    }

    fn fill_checksum(&self, frame: &mut [u8], ip: usize, udp: usize, partial: bool) -> VnetHeader {
        let pseudo = sum::pseudo_header(&frame[ip + 12..ip + 20], frame.len() - udp);
        let (header, check) = match self.checksum {
            Checksum::Zero => (VnetHeader::default(), [0; 2]),
            Checksum::Wrong => (VnetHeader::default(), [0xba, 0xad]),
            Checksum::Right if partial => {
                let csum_start = u16::try_from(udp).unwrap();
                let flags = VnetHeader::NEEDS_CSUM;
                // What a guest leaves in the field is the sum of the pseudo header (virtio 1.2, 5.1.6.2).
                (VnetHeader { flags, csum_start, csum_offset: 6, ..VnetHeader::default() }, sum::folded(pseudo))
            }
            Checksum::Right => (VnetHeader::default(), sum::finish(sum::add(pseudo, &frame[udp..]))),
        };
        frame[udp + 6..udp + 8].copy_from_slice(&check);
        header
    }
}
