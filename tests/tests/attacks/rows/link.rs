//! Below IP: MACs, tags, and what speaks to bridges and switches.

use crate::{
    packet::{
        BROADCAST, GUEST, GUEST4, LLDP, NOBODY, NODE, NODE4, OTHER4, REPLY, STRANGER, UDP, arp, dhcp, ethernet, ipv4,
        snap, tagged, udp,
    },
    row::{Count, Row},
    seen,
};

/// Addresses of protocols that end at the next bridge: spanning tree, LLDP.
const BRIDGES: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0];
const NEAREST_BRIDGE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
/// EtherTypes of tags: 802.1Q, 802.1ad, and one from before 802.1ad.
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const OLD_VLAN: u16 = 0x9100;

pub(crate) fn rows() -> Vec<Row> {
    let flood = "macof -i eth0 -n 200";
    let mut rows = vec![
        Row::tool("MAC flood", flood, Count::Some, "spoofed-mac", |frame| ![GUEST, NODE].contains(&seen::from(frame))),
        Row::frames("frame of another's MAC", 1, stranger, "spoofed-mac", |frame| seen::from(frame) == STRANGER),
    ];
    rows.extend(tags());
    rows.extend(bridges());
    rows
}

fn tags() -> Vec<Row> {
    let is_tagged = |frame: &[u8]| [VLAN, SERVICE_VLAN, OLD_VLAN].contains(&seen::kind(frame));
    let twice = "yersinia -l /dev/null dot1q -attack 1 -M -source 0a:58:0a:f4:01:05 -interface eth0";
    vec![
        Row::frames("VLAN hop", 1, || vec![tagged(spoof(), &[(VLAN, 100)])], "vlan", is_tagged),
        Row::frames("ARP spoof in VLAN 0", 1, || vec![tagged(spoof(), &[(VLAN, 0)])], "vlan", is_tagged),
        Row::tool("double tag", twice, Count::Exactly(1), "vlan", is_tagged),
        Row::frames("tags of 802.1ad and older, alone and twice", 4, services, "vlan", is_tagged),
    ]
}

fn bridges() -> Vec<Row> {
    let is_llc = |frame: &[u8]| seen::kind(frame) < 0x600;
    let (stp, cdp) = (
        "yersinia -l /dev/null stp -attack 0 -M -source 0a:58:0a:f4:01:05 -interface eth0",
        "yersinia -l /dev/null cdp -attack 0 -M -source 0a:58:0a:f4:01:05 -interface eth0",
    );
    let one = Count::Exactly(1);
    vec![
        Row::tool("spanning tree", stp, one, "reserved-multicast", |frame| seen::to(frame) == BRIDGES),
        Row::frames("LLDP", 1, lldp, "reserved-multicast", |frame| seen::kind(frame) == LLDP)
            .kept("a bridge ends such frames"),
        Row::tool("CDP", cdp, one, "llc", is_llc),
        Row::frames("ARP spoof in SNAP", 1, || vec![snap(&spoof())], "llc", is_llc),
        Row::frames("DHCP server in SNAP", 1, || vec![snap(&offer())], "llc", is_llc),
        Row::frames("unknown EtherTypes: PPPoE, PAUSE, MPLS", 3, others, "ether-type", |frame| {
            OTHERS.contains(&seen::kind(frame))
        }),
    ]
}

fn spoof() -> Vec<u8> {
    arp(REPLY, (GUEST, NODE4), (NOBODY, OTHER4))
}

fn offer() -> Vec<u8> {
    ipv4(GUEST4, OTHER4, UDP, &udp((67, 68), &dhcp(2, 2, STRANGER, &[])))
}

fn stranger() -> Vec<Vec<u8>> {
    let mut frame = ipv4(GUEST4, NODE4, UDP, &udp((9, 9), b"who am I"));
    frame[6..12].copy_from_slice(&STRANGER);
    vec![frame]
}

fn services() -> Vec<Vec<u8>> {
    let inner = ipv4(GUEST4, NODE4, UDP, &udp((9, 9), b"from another VLAN"));
    [&[(SERVICE_VLAN, 100)][..], &[(OLD_VLAN, 100)], &[(SERVICE_VLAN, 100), (VLAN, 7)], &[(VLAN, 0), (VLAN, 100)]]
        .map(|tags| tagged(inner.clone(), tags))
        .to_vec()
}

/// Chassis, port and time to live: the least that LLDP wants (IEEE 802.1AB).
fn lldp() -> Vec<Vec<u8>> {
    let chassis = [&[0x02, 7, 4], &GUEST[..]].concat();
    let payload = [&chassis[..], &[0x04, 3, 7, b'p', b'1', 0x06, 2, 0, 120, 0, 0]].concat();
    vec![ethernet(NEAREST_BRIDGE, GUEST, LLDP, &payload)]
}

const OTHERS: [u16; 3] = [0x8863, 0x8808, 0x8847];

fn others() -> Vec<Vec<u8>> {
    OTHERS.map(|kind| ethernet(if kind == 0x8863 { BROADCAST } else { NODE }, GUEST, kind, &[0x11; 46])).to_vec()
}
