//! What a frame is, read slowly and plainly: the other opinion that targets judge the code under test by.
//!
//! It reads as a receiver does who takes whatever it can make sense of: tags of VLAN 0 come off, however many, header
//! lengths are believed if they lie within the frame, and of fragments the first one has ports.

/// What lies behind the addresses and the tags of a frame.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Destination.
    pub to: [u8; 6],
    /// Source.
    pub from: [u8; 6],
    /// Tags of VLAN 0 that were taken off.
    pub tags: usize,
    /// EtherType, or a length. That of a VLAN, if the first tag that counts is of one.
    pub kind: u16,
    /// Octets behind it.
    pub rest: &'a [u8],
}

/// Reads a frame; `None` where it is no whole Ethernet header.
pub fn frame(octets: &[u8]) -> Option<Frame<'_>> {
    let (to, mut rest) = octets.split_first_chunk::<6>()?;
    let from;
    (from, rest) = rest.split_first_chunk::<6>()?;
    let mut tags = 0;
    loop {
        let (kind, behind) = word(rest)?;
        if kind != 0x8100 && kind != 0x88a8 {
            return Some(Frame { to: *to, from: *from, tags, kind, rest: behind });
        }
        match word(behind) {
            Some((tci, inner)) if tci % 0x1000 == 0 && inner.len() >= 2 => rest = inner,
            _ => return Some(Frame { to: *to, from: *from, tags, kind, rest: behind }),
        }
        tags += 1;
    }
}

/// A number of two octets, and what follows it.
pub fn word(octets: &[u8]) -> Option<(u16, &[u8])> {
    octets.split_first_chunk::<2>().map(|(word, rest)| (u16::from_be_bytes(*word), rest))
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub struct Ipv4<'a> {
    /// The octets of its header, options with it.
    pub header: &'a [u8],
    /// Source.
    pub from: [u8; 4],
    /// Destination.
    pub to: [u8; 4],
    /// Protocol of what it carries.
    pub protocol: u8,
    /// Offset of a fragment, in units of eight octets.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// What it carries, and whatever follows that in the frame.
    pub rest: &'a [u8],
}

/// Reads an IPv4 packet; `None` where its header is not whole, or is none.
pub fn ipv4(octets: &[u8]) -> Option<Ipv4<'_>> {
    let first = *octets.first()?;
    let len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || len < 20 || octets.len() < len {
        return None;
    }
    let (header, rest) = octets.split_at(len);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    Some(Ipv4 {
        header,
        from: [header[12], header[13], header[14], header[15]],
        to: [header[16], header[17], header[18], header[19]],
        protocol: header[9],
        offset: fragment & 0x1fff,
        more: fragment & 0x2000 != 0,
        rest,
    })
}

/// Source and destination port, if this is UDP and the ports are here.
pub fn udp_ports(packet: &Ipv4<'_>) -> Option<(u16, u16)> {
    if packet.protocol != 17 || packet.offset != 0 {
        return None;
    }
    let (from, rest) = word(packet.rest)?;
    let (to, _) = word(rest)?;
    Some((from, to))
}

/// The port of a UDP datagram over IPv4 that a receiver of this frame is given.
pub fn delivered_to(octets: &[u8]) -> Option<u16> {
    let frame = frame(octets)?;
    if frame.kind != 0x0800 {
        return None;
    }
    udp_ports(&ipv4(frame.rest)?).map(|(_, to)| to)
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who sends it.
    pub sender: ([u8; 6], [u8; 4]),
    /// Who it is about.
    pub target: ([u8; 6], [u8; 4]),
}

/// Reads an ARP packet behind its EtherType. Linux takes IEEE 802 for Ethernet in it (`arp_process`).
pub fn arp(rest: &[u8]) -> Option<Arp> {
    let (head, rest) = rest.split_first_chunk::<6>()?;
    let [0, 1 | 6, 8, 0, 6, 4] = *head else { return None };
    let (operation, rest) = word(rest)?;
    let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
    let (sender, rest) = rest.split_first_chunk::<4>()?;
    let (target_mac, rest) = rest.split_first_chunk::<6>()?;
    let (target, _) = rest.split_first_chunk::<4>()?;
    Some(Arp { operation, sender: (*sender_mac, *sender), target: (*target_mac, *target) })
}

/// The sum of 16-bit words with the carries added (RFC 1071), the long way round.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) * 256 + pair.get(1).copied().map_or(0, u64::from);
        }
    }
    while sum > 0xffff {
        sum = sum % 0x1_0000 + sum / 0x1_0000;
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Whether the checksum of an IPv4 header is right.
pub fn ipv4_sum_is_right(header: &[u8]) -> bool {
    sum(&[header]) == 0xffff
}

/// Whether the checksum of a UDP datagram over IPv4 is there, and right.
pub fn udp_sum_is_right(from: [u8; 4], to: [u8; 4], datagram: &[u8]) -> bool {
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX).to_be_bytes();
    datagram.len() >= 8 && datagram[6..8] != [0, 0] && sum(&[&from, &to, &[0, 17], &length, datagram]) == 0xffff
}

/// Whether the checksum of an `ICMPv6` message is right; `packet` begins with its IPv6 header.
pub fn icmpv6_sum_is_right(packet: &[u8]) -> bool {
    let Some((header, message)) = packet.split_at_checked(40) else { return false };
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    sum(&[&header[8..40], &length, &[0, 58], message]) == 0xffff
}

/// The options of a DHCP message as a client reads them who puts no bound on their number (RFC 2132, RFC 3396 aside).
#[derive(Clone, Debug, Default)]
pub struct DhcpOptions {
    /// Codes and values, in the order in which they stand, those in `file` and `sname` with them.
    pub all: Vec<(u8, Vec<u8>)>,
    /// Steps that it took to read them: an option, a pad or the end of a field each.
    pub steps: usize,
}

impl DhcpOptions {
    /// The last value of an option that has as many octets as it must have.
    pub fn last(&self, code: u8, octets: Option<usize>) -> Option<&[u8]> {
        let of_length = |value: &[u8]| octets.is_none_or(|octets| value.len() == octets);
        let mut found = self.all.iter().filter(|(found, value)| *found == code && of_length(value));
        found.next_back().map(|(_, value)| value.as_slice())
    }

    /// Reads the options of a message that ends at `end`, with the fields that option 52 names (RFC 2131, 4.1).
    pub fn of(message: &[u8], end: usize) -> Self {
        let mut options = Self::default();
        let mut fields = 0;
        options.read(message, 240, end, &mut fields);
        // What a field says of fields counts, but none is read twice.
        let mut left = vec![(1, 108, 128), (2, 44, 64)];
        while let Some(place) = left.iter().position(|(bit, ..)| fields & bit != 0) {
            let (_, at, len) = left.remove(place);
            options.read(message, at, at + len, &mut fields);
        }
        options
    }

    fn read(&mut self, message: &[u8], mut at: usize, end: usize, fields: &mut u8) {
        loop {
            self.steps += 1;
            let Some([code, len]) = message.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return };
            if *code == 0 && at < end {
                at += 1;
                continue;
            }
            let next = at + 2 + usize::from(*len);
            if *code == 255 || next > end {
                return;
            }
            // A value that the frame lacks is none.
            let value = message.get(at + 2..next).unwrap_or_default().to_vec();
            if let (52, [named]) = (*code, value.as_slice()) {
                *fields = *named;
            }
            self.all.push((*code, value));
            at = next;
        }
    }
}
