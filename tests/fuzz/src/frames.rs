//! Real frames of every sort that a guest or a network sends: what mutation begins with.

use crate::bindings::{GATEWAY, GUEST, LEASE, OTHER, OTHER_MAC};

const BROADCAST: [u8; 6] = [0xff; 6];
const ANY: [u8; 4] = [255; 4];
const NONE: [u8; 4] = [0; 4];
/// MAC of the host side.
const HOST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 1, 1];

/// All of them.
pub fn all() -> Vec<Vec<u8>> {
    [dhcp(), arp(), ipv4(), ipv6(), neighbour_discovery(), lower_layers(), runts()].concat()
}

/// An Ethernet frame.
pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to, &from, &kind.to_be_bytes()[..], payload].concat()
}

fn of_guest(kind: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(HOST, GUEST.0, kind, payload)
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}

/// An IPv4 packet, with its checksum.
pub fn ipv4_packet(protocol: u8, from: [u8; 4], to: [u8; 4], options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | u8::try_from(header_len / 4).unwrap_or(5), 0];
    packet.extend(length(header_len + payload.len()));
    packet.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(options);
    let sum = !crate::oracle::sum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// A UDP datagram without a checksum.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length(8 + payload.len()), &[0, 0], payload].concat()
}

/// An IPv6 packet.
pub fn ipv6_packet(next: u8, from: [u8; 16], to: [u8; 16], payload: &[u8]) -> Vec<u8> {
    [&[0x60, 0, 0, 0][..], &length(payload.len()), &[next, 255], &from, &to, payload].concat()
}

fn address6(last: u8) -> [u8; 16] {
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x08, 0x58, 0x0a, 0xff, 0xfe, 0xf4, 1, last]
}

fn group6(last: u8) -> [u8; 16] {
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// A DHCP message with options, and what else decides of an answer.
pub fn dhcp_message(ciaddr: [u8; 4], flags: [u8; 2], options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[4..8].copy_from_slice(&[9, 8, 7, 6]);
    message[10..12].copy_from_slice(&flags);
    message[12..16].copy_from_slice(&ciaddr);
    message[28..34].copy_from_slice(&GUEST.0);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend(options.concat());
    message.push(255);
    message.resize(message.len().max(300), 0);
    message
}

fn client(to: [u8; 4], ciaddr: [u8; 4], options: &[&[u8]]) -> Vec<u8> {
    let datagram = udp(68, 67, &dhcp_message(ciaddr, [0, 0], options));
    ethernet(BROADCAST, GUEST.0, 0x0800, &ipv4_packet(17, ciaddr, to, &[], &datagram))
}

fn dhcp() -> Vec<Vec<u8>> {
    // What each client says of itself and asks for: dhclient, udhcpc, systemd-networkd, Windows, iPXE.
    let dhclient: &[u8] = &[55, 13, 1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42];
    let udhcpc: &[u8] =
        &[57, 2, 2, 64, 55, 7, 1, 3, 6, 12, 15, 28, 42, 60, 12, 117, 100, 104, 99, 112, 32, 49, 46, 51, 55, 46, 48];
    let networkd: &[u8] = &[
        57, 2, 5, 192, 55, 9, 1, 3, 6, 12, 15, 26, 33, 121, 42, 61, 19, 255, 1, 2, 3, 4, 0, 2, 0, 0, 171, 17, 1, 2, 3,
        4, 5, 6, 7, 8,
    ];
    let windows: &[u8] = &[
        61, 7, 1, 0x0a, 0x58, 0x0a, 0xf4, 1, 5, 12, 2, 118, 109, 60, 8, 77, 83, 70, 84, 32, 53, 46, 48, 55, 14, 1, 3,
        6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252,
    ];
    let ipxe: &[u8] = &[
        57, 2, 5, 192, 93, 2, 0, 0, 94, 3, 1, 2, 1, 55, 8, 1, 3, 6, 12, 66, 67, 150, 175, 175, 6, 177, 5, 1, 26, 244,
        16,
    ];
    let (server, wanted, other): (&[u8], &[u8], &[u8]) =
        (&[54, 4, 10, 244, 1, 1], &[50, 4, 10, 244, 1, 5], &[50, 4, 10, 9, 9, 9]);
    let mut frames = vec![
        client(ANY, NONE, &[&[53, 1, 1], dhclient]),
        client(ANY, NONE, &[&[53, 1, 1], udhcpc]),
        client(ANY, NONE, &[&[53, 1, 1], networkd, &[80, 0]]),
        client(ANY, NONE, &[&[53, 1, 1], windows]),
        client(ANY, NONE, &[&[53, 1, 1], ipxe]),
        client(ANY, NONE, &[&[53, 1, 3], server, wanted, dhclient]),
        client(ANY, NONE, &[&[53, 1, 3], server, other, windows]),
        client(ANY, NONE, &[&[53, 1, 3], wanted, networkd]),
        client(ANY, NONE, &[&[53, 1, 3], other]),
        client(GATEWAY, LEASE, &[&[53, 1, 3], udhcpc]),
        client(GATEWAY, OTHER, &[&[53, 1, 3]]),
        client(ANY, LEASE, &[&[53, 1, 3], windows]),
        client(ANY, NONE, &[&[53, 1, 4], server, wanted]),
        client(GATEWAY, LEASE, &[&[53, 1, 7], server]),
        client(GATEWAY, LEASE, &[&[53, 1, 8], windows]),
        client(OTHER, LEASE, &[&[53, 1, 3]]),
        client(ANY, NONE, &[&[52, 1, 3], &[53, 1, 1]]),
        client(ANY, NONE, &[]),
    ];
    let relayed = udp(67, 67, &dhcp_message(NONE, [0x80, 0], &[&[53, 1, 1]]));
    frames.push(of_guest(0x0800, &ipv4_packet(17, LEASE, OTHER, &[], &relayed)));
    let offer = udp(67, 68, &dhcp_message(NONE, [0, 0], &[&[53, 1, 2], server]));
    frames.push(ethernet(BROADCAST, HOST, 0x0800, &ipv4_packet(17, GATEWAY, ANY, &[], &offer)));
    frames.push(of_guest(0x0800, &ipv4_packet(17, LEASE, ANY, &[], &offer)));
    let discover = udp(68, 67, &dhcp_message(NONE, [0, 0], &[&[53, 1, 1]]));
    for words in [1, 4, 10] {
        let packet = ipv4_packet(17, NONE, ANY, &[1].repeat(words * 4), &discover);
        frames.push(ethernet(BROADCAST, GUEST.0, 0x0800, &packet));
    }
    frames
}

fn arp_packet(operation: u8, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, operation][..], &sender.0, &sender.1, &target.0, &target.1].concat()
}

fn arp() -> Vec<Vec<u8>> {
    let (guest, zero) = (GUEST.0, [0; 6]);
    let packets = [
        arp_packet(1, (guest, LEASE), (zero, GATEWAY)),
        arp_packet(1, (guest, LEASE), (zero, OTHER)),
        arp_packet(1, (guest, LEASE), (zero, [169, 254, 75, 10])),
        arp_packet(1, (guest, NONE), (zero, LEASE)),
        arp_packet(1, (guest, LEASE), (zero, LEASE)),
        arp_packet(2, (guest, LEASE), (guest, LEASE)),
        arp_packet(2, (guest, LEASE), (HOST, GATEWAY)),
        arp_packet(2, (guest, GATEWAY), (HOST, OTHER)),
        arp_packet(2, (HOST, GATEWAY), (guest, LEASE)),
        arp_packet(2, (OTHER_MAC.0, LEASE), (zero, LEASE)),
    ];
    let mut frames: Vec<_> = packets.iter().map(|packet| ethernet(BROADCAST, GUEST.0, 0x0806, packet)).collect();
    frames.extend(packets.iter().map(|packet| ethernet(GUEST.0, HOST, 0x0806, &[packet, &[0; 18][..]].concat())));
    // RARP, as QEMU announces a guest that has moved.
    let announcement = arp_packet(3, (guest, NONE), (guest, NONE));
    frames.push(ethernet(BROADCAST, GUEST.0, 0x8035, &[announcement, vec![0; 18]].concat()));
    frames
}

fn ipv4() -> Vec<Vec<u8>> {
    let tcp =
        [&[0x9c, 0x40, 0x00, 0x50, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0][..], &[7; 64]].concat();
    let echo = [8, 0, 0xf7, 0xff, 0, 0, 0, 0, 1, 2, 3, 4];
    let redirect = [&[5, 1, 0, 0, 10, 9, 9, 9][..], &[0; 28]].concat();
    let router = [9, 0, 0, 0, 1, 2, 0, 30, 10, 244, 1, 5, 0, 0, 0, 0];
    let mut first = ipv4_packet(17, LEASE, OTHER, &[], &udp(68, 67, &[5; 40]));
    first[6..8].copy_from_slice(&[0x20, 0]);
    let mut later = ipv4_packet(17, LEASE, OTHER, &[], &[5; 40]);
    later[6..8].copy_from_slice(&[0, 5]);
    let packets = [
        ipv4_packet(6, LEASE, OTHER, &[], &tcp),
        ipv4_packet(6, OTHER, LEASE, &[], &tcp),
        ipv4_packet(6, OTHER, GATEWAY, &[], &tcp),
        ipv4_packet(17, LEASE, OTHER, &[], &udp(5000, 53, &[1; 30])),
        ipv4_packet(17, LEASE, [224, 0, 0, 251], &[], &udp(5353, 5353, &[1; 30])),
        ipv4_packet(1, LEASE, GATEWAY, &[], &echo),
        ipv4_packet(1, LEASE, GATEWAY, &[], &redirect),
        ipv4_packet(1, LEASE, [224, 0, 0, 1], &[], &router),
        // Router alert, as IGMP has it.
        ipv4_packet(
            2,
            LEASE,
            [224, 0, 0, 22],
            &[0x94, 4, 0, 0],
            &[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 251],
        ),
        ipv4_packet(2, LEASE, [224, 0, 0, 1], &[0x94, 4, 0, 0], &[0x11, 100, 0xee, 0x9b, 0, 0, 0, 0]),
        ipv4_packet(112, LEASE, [224, 0, 0, 18], &[], &[0x21, 1, 100, 1, 0, 1, 0, 0, 10, 9, 9, 9]),
        ipv4_packet(47, LEASE, OTHER, &[], &[0, 0, 8, 0, 0x45, 0, 0, 20]),
        ipv4_packet(4, LEASE, OTHER, &[], &ipv4_packet(17, LEASE, OTHER, &[], &udp(68, 67, &[1; 8]))),
        first,
        later,
    ];
    packets.iter().map(|packet| of_guest(0x0800, packet)).collect()
}

/// An extension header of eight octets, or as many as its kind has.
fn extension(kind: u8, next: u8) -> Vec<u8> {
    match kind {
        // Fragment: offset and flag, identification.
        44 => vec![next, 0, 0, 1, 0, 0, 0, 9],
        // Authentication: its length is in words of four octets, less two.
        51 => [&[next, 4, 0, 0][..], &[1; 20]].concat(),
        // Hop-by-hop with a router alert, routing, destination options, mobility, HIP, shim6.
        0 => vec![next, 0, 5, 2, 0, 0, 1, 0],
        43 => [&[next, 2, 4, 0, 0, 0, 0, 0][..], &address6(9)].concat(),
        _ => vec![next, 0, 1, 4, 0, 0, 0, 0],
    }
}

/// Headers in a row, each naming the next one.
fn chain(kinds: &[u8], upper: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    let mut next = upper;
    let mut octets = payload.to_vec();
    for kind in kinds.iter().rev() {
        octets.splice(0..0, extension(*kind, next));
        next = *kind;
    }
    (next, octets)
}

fn ipv6() -> Vec<Vec<u8>> {
    let solicit = udp(546, 547, &[1, 2, 3, 4, 0, 1, 0, 10, 0, 3, 0, 1, 0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
    let advertise = udp(547, 546, &[2, 2, 3, 4, 0, 1, 0, 10, 0, 3, 0, 1, 0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
    let other = udp(5000, 53, &[1; 30]);
    let chains: [&[u8]; 14] = [
        &[],
        &[0],
        &[43],
        &[44],
        &[51],
        &[60],
        &[135],
        &[139],
        &[140],
        &[0, 60, 43, 60],
        &[0, 60, 43, 44, 51, 60],
        &[60, 60, 60, 60, 60, 60, 60, 60, 60, 60],
        &[44, 44],
        &[0, 51, 44, 60],
    ];
    let mut frames = Vec::new();
    for kinds in chains {
        for (upper, payload) in [(17, &solicit), (17, &advertise), (17, &other), (58, &router_advertisement())] {
            let (next, octets) = chain(kinds, upper, payload);
            frames.push(of_guest(0x86dd, &ipv6_packet(next, address6(5), group6(1), &octets)));
        }
    }
    let (next, octets) = chain(&[0], 59, &[]);
    frames.push(of_guest(0x86dd, &ipv6_packet(next, address6(5), address6(1), &octets)));
    // Encrypted: what follows cannot be read.
    frames.push(of_guest(0x86dd, &ipv6_packet(50, address6(5), address6(1), &[3; 40])));
    // The kinds of fragment: the first, a later one, one that is whole.
    for fragment in [[0, 1], [0, 8], [0, 0]] {
        let (_, mut octets) = chain(&[44], 58, &router_advertisement());
        octets[2..4].copy_from_slice(&fragment);
        frames.push(of_guest(0x86dd, &ipv6_packet(44, address6(5), group6(1), &octets)));
    }
    frames
}

/// An `ICMPv6` message in its packet, with its checksum.
pub fn icmpv6(from: [u8; 16], to: [u8; 16], message: &[u8]) -> Vec<u8> {
    let mut packet = ipv6_packet(58, from, to, message);
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let sum = !crate::oracle::sum(&[&from, &to, &length, &[0, 58], message]);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn router_advertisement() -> Vec<u8> {
    [&[134, 0, 0, 0, 64, 0, 7, 8][..], &[0; 8], &[1, 1], &GUEST.0, &[5, 1, 0, 0, 0, 0, 5, 220]].concat()
}

fn neighbour_discovery() -> Vec<Vec<u8>> {
    let option = |kind: u8| [&[kind, 1][..], &GUEST.0].concat();
    let nonce: &[u8] = &[14, 1, 1, 2, 3, 4, 5, 6];
    let messages = [
        [&[133, 0, 0, 0, 0, 0, 0, 0][..], &option(1)].concat(),
        router_advertisement(),
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address6(1), &option(1)].concat(),
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address6(5), nonce].concat(),
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address6(1), nonce, &option(1)].concat(),
        [&[136, 0, 0, 0, 0xe0, 0, 0, 0][..], &address6(5), &option(2)].concat(),
        [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &address6(1), &option(2)].concat(),
        [&[137, 0, 0, 0, 0, 0, 0, 0][..], &address6(1), &address6(9), &option(2)].concat(),
        // MLD: query, reports of both versions, done.
        [&[130, 0, 0, 0, 0x27, 0x10, 0, 0][..], &[0; 16]].concat(),
        [&[131, 0, 0, 0, 0, 0, 0, 0][..], &group6(0xfb)].concat(),
        [&[132, 0, 0, 0, 0, 0, 0, 0][..], &group6(0xfb)].concat(),
        [&[143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0][..], &group6(0xfb)].concat(),
        [128, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4].to_vec(),
    ];
    let mut frames = Vec::new();
    for message in messages {
        frames.push(of_guest(0x86dd, &icmpv6(address6(5), group6(1), &message)));
        frames.push(ethernet(GUEST.0, HOST, 0x86dd, &icmpv6(address6(1), address6(5), &message)));
    }
    // Duplicate address detection asks from nowhere.
    let probe = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address6(5)].concat();
    frames.push(of_guest(0x86dd, &icmpv6([0; 16], group6(1), &probe)));
    frames
}

/// Puts tags behind the addresses.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let octets: Vec<u8> =
        tags.iter().flat_map(|(kind, tci)| [kind.to_be_bytes(), tci.to_be_bytes()].concat()).collect();
    [&frame[..12], &octets, &frame[12..]].concat()
}

fn lower_layers() -> Vec<Vec<u8>> {
    let discover = client(ANY, NONE, &[&[53, 1, 1]]);
    let arp = arp().swap_remove(0);
    let stacks: [&[(u16, u16)]; 7] = [
        &[(0x8100, 0)],
        &[(0x8100, 0xe000)],
        &[(0x8100, 7)],
        &[(0x88a8, 0), (0x8100, 0)],
        &[(0x88a8, 7), (0x8100, 9)],
        &[(0x8100, 0), (0x8100, 0), (0x8100, 0), (0x8100, 0), (0x8100, 0), (0x8100, 0)],
        &[(0x9100, 7)],
    ];
    let mut frames = Vec::new();
    for stack in stacks {
        frames.extend([tagged(&discover, stack), tagged(&arp, stack)]);
    }
    // SNAP with an EtherType behind it: ARP, IPv4; and a VLAN behind it.
    for kind in [0x0806_u16, 0x0800, 0x86dd, 0x8100] {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0][..], &kind.to_be_bytes(), &arp[14..]].concat();
        let kind = u16::try_from(snap.len()).unwrap_or(0);
        frames.push(ethernet(BROADCAST, GUEST.0, kind, &snap));
    }
    // Spanning tree, pause, LLDP, to the addresses that no bridge forwards.
    let reserved = |last| [1, 0x80, 0xc2, 0, 0, last];
    frames.push(ethernet(reserved(0), GUEST.0, 38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat()));
    frames.push(ethernet(reserved(1), GUEST.0, 0x8808, &[0, 1, 0xff, 0xff]));
    frames.push(ethernet(reserved(14), GUEST.0, 0x88cc, &[2, 7, 4, 0x0a, 0x58, 0x0a, 0xf4, 1, 5, 0, 0]));
    // PPPoE, MPLS, 802.1X, experiments.
    for kind in [0x8863_u16, 0x8864, 0x8847, 0x888e, 0x88b5] {
        frames.push(of_guest(kind, &[0x11; 46]));
    }
    frames.push(of_guest(0x0800, &ipv4_packet(17, LEASE, OTHER, &[], &udp(1, 2, &[0; 1472]))));
    frames.push(of_guest(0x0800, &ipv4_packet(17, LEASE, OTHER, &[], &udp(1, 2, &[0; 1473]))));
    frames
}

/// Frames that end where a header should go on.
fn runts() -> Vec<Vec<u8>> {
    let whole = [client(ANY, NONE, &[&[53, 1, 1]]), arp().swap_remove(0), ipv6().swap_remove(1)];
    let cuts = [14, 15, 18, 20, 27, 33, 34, 38, 41, 42, 54, 60, 282];
    whole.iter().flat_map(|frame| cuts.iter().map(|cut| frame[..(*cut).min(frame.len())].to_vec())).collect()
}
