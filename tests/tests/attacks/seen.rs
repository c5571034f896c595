//! Reading frames that arrived: enough to tell a hostile one from what an honest guest says beside it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::{ARP, FRAGMENT, IPV4, IPV6, Mac, UDP};

fn octets<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at + N)?.try_into().ok()
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    octets(data, at).map(u16::from_be_bytes)
}

pub(crate) fn to(frame: &[u8]) -> Mac {
    octets(frame, 0).unwrap_or_default()
}

pub(crate) fn from(frame: &[u8]) -> Mac {
    octets(frame, 6).unwrap_or_default()
}

/// Type or length; of a tag, if there is one.
pub(crate) fn kind(frame: &[u8]) -> u16 {
    word(frame, 12).unwrap_or_default()
}

/// What an ARP packet says of its sender.
pub(crate) fn arp_sender(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    if kind(frame) != ARP {
        return None;
    }
    Some((octets(frame, 22)?, octets::<4>(frame, 28)?.into()))
}

/// An IP packet.
#[derive(Debug)]
pub(crate) struct Packet<'a, A> {
    pub(crate) source: A,
    /// Of UDP and the like, also where it is only named by a fragment that holds nothing of it.
    pub(crate) protocol: u8,
    /// Whether it is a fragment.
    pub(crate) fragment: bool,
    /// What follows the headers; nothing in fragments behind the first.
    pub(crate) payload: Option<&'a [u8]>,
}

impl<A> Packet<'_, A> {
    /// Without what begins a datagram, all other fragments of it are waste.
    pub(crate) fn is_first(&self) -> bool {
        self.payload.is_some()
    }

    /// Type of ICMP, `ICMPv6` and IGMP.
    pub(crate) fn says(&self, protocol: u8, kind: u8) -> bool {
        self.protocol == protocol && self.payload.is_some_and(|payload| payload.first() == Some(&kind))
    }

    /// Destination port of UDP.
    pub(crate) fn port(&self) -> Option<u16> {
        if self.protocol != UDP {
            return None;
        }
        word(self.payload?, 2)
    }
}

pub(crate) fn ipv4(frame: &[u8]) -> Option<Packet<'_, Ipv4Addr>> {
    if kind(frame) != IPV4 {
        return None;
    }
    let field = word(frame, 20)?;
    let payload = frame.get(14 + usize::from(frame.get(14)? & 15) * 4..).unwrap_or_default();
    Some(Packet {
        source: octets::<4>(frame, 26)?.into(),
        protocol: *frame.get(23)?,
        fragment: field & 0x3fff != 0,
        payload: (field << 3 == 0).then_some(payload),
    })
}

pub(crate) fn ipv6(frame: &[u8]) -> Option<Packet<'_, Ipv6Addr>> {
    if kind(frame) != IPV6 {
        return None;
    }
    let source = octets::<16>(frame, 22)?.into();
    let (mut protocol, mut at, mut fragment) = (*frame.get(20)?, 54, false);
    while let 0 | 43 | FRAGMENT | 60 = protocol {
        let Some([next, length]) = octets(frame, at) else { break };
        if protocol == FRAGMENT {
            fragment = true;
            if word(frame, at + 2)? & 0xfff8 != 0 {
                return Some(Packet { source, protocol: next, fragment, payload: None });
            }
            at += 8;
        } else {
            at += (usize::from(length) + 1) * 8;
        }
        protocol = next;
    }
    Some(Packet { source, protocol, fragment, payload: Some(frame.get(at..).unwrap_or_default()) })
}

/// A DHCP message's type, and the client that it is for or from; of UDP to a port.
pub(crate) fn dhcp(frame: &[u8], port: u16) -> Option<(u8, Mac)> {
    let packet = ipv4(frame)?;
    if packet.port() != Some(port) {
        return None;
    }
    let message = packet.payload?.get(8..)?;
    Some((*message.get(242)?, octets(message, 28)?))
}
