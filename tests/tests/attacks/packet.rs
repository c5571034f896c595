//! Frames octet by octet, where no tool makes them. Wrong on purpose only where a row says so.

use std::net::{Ipv4Addr, Ipv6Addr};

use binding_common::checksum::{add_slice, finish};

pub(crate) type Mac = [u8; 6];

/// Who takes part.
pub(crate) const GUEST: Mac = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x05];
pub(crate) const NODE: Mac = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x01];
pub(crate) const STRANGER: Mac = [0x02, 0, 0, 0, 0, 0x99];
pub(crate) const BROADCAST: Mac = [0xff; 6];
pub(crate) const NOBODY: Mac = [0; 6];

pub(crate) const GUEST4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
pub(crate) const NODE4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
pub(crate) const OTHER4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 9);

const SITE: [u16; 4] = [0xfd00, 0x10, 0x244, 1];
pub(crate) const GUEST6: Ipv6Addr = site(5);
pub(crate) const NODE6: Ipv6Addr = site(1);
pub(crate) const OTHER6: Ipv6Addr = site(9);
/// What the kernel makes of the MACs (RFC 4291, appendix A).
pub(crate) const GUEST_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0858, 0x0aff, 0xfef4, 0x0105);
pub(crate) const NODE_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0858, 0x0aff, 0xfef4, 0x0101);
pub(crate) const ALL_NODES6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const fn site(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(SITE[0], SITE[1], SITE[2], SITE[3], 0, 0, 0, host)
}

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const RARP: u16 = 0x8035;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const LLDP: u16 = 0x88cc;

pub(crate) const ICMP: u8 = 1;
pub(crate) const IGMP: u8 = 2;
pub(crate) const UDP: u8 = 17;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const ICMPV6: u8 = 58;
/// Destination options of IPv6.
pub(crate) const OPTIONS: u8 = 60;
pub(crate) const PIM: u8 = 103;

pub(crate) fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// The same with tags between the addresses and the type.
pub(crate) fn tagged(mut frame: Vec<u8>, tags: &[(u16, u16)]) -> Vec<u8> {
    let octets = tags.iter().flat_map(|(kind, tag)| [kind.to_be_bytes(), tag.to_be_bytes()].concat());
    frame.splice(12..12, octets.collect::<Vec<_>>());
    frame
}

/// An 802.3 frame: the length in place of a type, then LLC.
pub(crate) fn llc(to: Mac, from: Mac, payload: &[u8]) -> Vec<u8> {
    ethernet(to, from, u16::try_from(payload.len()).unwrap(), payload)
}

/// An ordinary frame in the wrapping of 802.3 with LLC and SNAP (RFC 1042).
pub(crate) fn snap(frame: &[u8]) -> Vec<u8> {
    let payload = [&[0xaa, 0xaa, 3, 0, 0, 0], &frame[12..]].concat();
    llc(frame[..6].try_into().unwrap(), frame[6..12].try_into().unwrap(), &payload)
}

pub(crate) const REQUEST: u16 = 1;
pub(crate) const REPLY: u16 = 2;

/// An ARP packet; `hardware` is 1 for Ethernet.
pub(crate) fn arp_of(hardware: u16, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let head = [&hardware.to_be_bytes()[..], &[8, 0, 6, 4], &operation.to_be_bytes()].concat();
    [&head[..], &sender.0, &sender.1.octets(), &target.0, &target.1.octets()].concat()
}

pub(crate) fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    ethernet(BROADCAST, GUEST, ARP, &arp_of(1, operation, sender, target))
}

/// A gratuitous ARP request of an address.
pub(crate) fn announced(sender: (Mac, Ipv4Addr)) -> Vec<u8> {
    arp(REQUEST, sender, (NOBODY, sender.1))
}

/// What `QEMU` announces a guest with after a migration.
pub(crate) fn rarp(mac: Mac) -> Vec<u8> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    ethernet(BROADCAST, GUEST, RARP, &arp_of(1, 3, (mac, nobody), (mac, nobody)))
}

/// What may be said of an IPv4 packet beside its addresses.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ip4 {
    /// Octets of options that do nothing, a multiple of four.
    pub(crate) options: usize,
    /// Flags and offset: 0x2000 is "more fragments", the offset counts eight octets.
    pub(crate) fragment: u16,
}

impl Ip4 {
    pub(crate) fn packet(self, from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options;
        let length = u16::try_from(header + payload.len()).unwrap().to_be_bytes();
        let fragment = self.fragment.to_be_bytes();
        let version = 0x40 | u8::try_from(header / 4).unwrap();
        let mut packet = vec![version, 0, length[0], length[1], 0x12, 0x34, fragment[0], fragment[1], 64, protocol];
        packet.extend([&[0; 2][..], &from.octets(), &to.octets(), &vec![1; self.options]].concat());
        let check = finish(add_slice(0, &packet));
        packet[10..12].copy_from_slice(&check);
        packet.extend_from_slice(payload);
        packet
    }
}

/// From the guest to the node's MAC.
pub(crate) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let to_mac = if to.is_multicast() { multicast4(to) } else { NODE };
    ethernet(to_mac, GUEST, IPV4, &Ip4::default().packet(from, to, protocol, payload))
}

/// RFC 1112, 6.4.
fn multicast4(address: Ipv4Addr) -> Mac {
    let [_, high, middle, low] = address.octets();
    [1, 0, 0x5e, high & 0x7f, middle, low]
}

/// ICMP or IGMP, with its checksum.
pub(crate) fn checked(mut message: Vec<u8>) -> Vec<u8> {
    let check = finish(add_slice(0, &message));
    message[2..4].copy_from_slice(&check);
    message
}

/// UDP without a checksum, which IPv4 permits.
pub(crate) fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length.to_be_bytes(), &[0; 2], payload].concat()
}

/// A DHCP message: `op` is 1 of clients and 2 of servers, `kind` is option 53.
pub(crate) fn dhcp(op: u8, kind: u8, client: Mac, options: &[u8]) -> Vec<u8> {
    let mut message = vec![op, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0x80, 0];
    message.resize(28, 0);
    message.extend(client);
    message.resize(236, 0);
    [&message[..], &[0x63, 0x82, 0x53, 0x63, 53, 1, kind], options, &[255]].concat()
}

pub(crate) fn ipv6_packet(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 255], &from.octets()[..], &to.octets(), payload].concat()
}

/// From the guest, by Ethernet to the node or to the group.
pub(crate) fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(mac_of(to), GUEST, IPV6, &ipv6_packet(from, to, next, payload))
}

/// RFC 2464, 7.
fn mac_of(address: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = address.octets();
    if address.is_multicast() { [0x33, 0x33, a, b, c, d] } else { NODE }
}

/// What follows the IPv6 header, with the checksum of its pseudo-header at `check` (RFC 8200, 8.1).
pub(crate) fn checked6(from: Ipv6Addr, to: Ipv6Addr, next: u8, check: usize, mut message: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, next], &message].concat();
    let value = finish(add_slice(0, &pseudo));
    message[check..check + 2].copy_from_slice(&value);
    message
}

/// `ICMPv6` of the guest: type, code 0, and what follows the checksum.
pub(crate) fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    ipv6(from, to, ICMPV6, &icmpv6_message(from, to, kind, rest))
}

pub(crate) fn icmpv6_message(from: Ipv6Addr, to: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    checked6(from, to, ICMPV6, 2, [&[kind, 0, 0, 0], rest].concat())
}

/// UDP over IPv6 of the guest.
pub(crate) fn udp6(from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    ipv6(from, to, UDP, &checked6(from, to, UDP, 6, udp(ports, payload)))
}

pub(crate) const LISTENER_QUERY: u8 = 130;
pub(crate) const SOLICIT_ROUTERS: u8 = 133;
pub(crate) const ADVERTISE_ROUTER: u8 = 134;
pub(crate) const SOLICIT: u8 = 135;
pub(crate) const ADVERTISE: u8 = 136;
pub(crate) const REDIRECT6: u8 = 137;

/// The body of a neighbour solicitation or advertisement, with the option of a link-layer address (1 source, 2 target).
pub(crate) fn neighbour(flags: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let mut body = [&[flags, 0, 0, 0], &target.octets()[..]].concat();
    if let Some((kind, mac)) = option {
        body.extend([&[kind, 1], &mac[..]].concat());
    }
    body
}

/// A router advertisement of 1800 seconds, without options.
pub(crate) fn router_advertisement(from: Ipv6Addr) -> Vec<u8> {
    let body = [&[64, 0, 0x07, 0x08][..], &[0; 8]].concat();
    icmpv6_message(from, ALL_NODES6, ADVERTISE_ROUTER, &body)
}

/// `count` headers of destination options, which lead to `next`.
pub(crate) fn options(count: usize, next: u8) -> Vec<u8> {
    let one = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    (0..count).flat_map(|index| one(if index + 1 == count { next } else { OPTIONS })).collect()
}

/// A fragment header; the offset counts eight octets.
pub(crate) fn fragment(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let field = (offset << 3 | u16::from(more)).to_be_bytes();
    [next, 0, field[0], field[1], 0, 0, 0x12, 0x34]
}
