//! The rules, frame by frame. What the guest may send stands beside what it may not, so that a rule that drops too much
//! fails as well.

mod hidden;

extern crate std;
use std::{vec, vec::Vec};

use super::*;

const GUEST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const NETWORK: MacAddr = MacAddr([10, 0x58, 10, 1, 1, 5]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const LEASE: [u8; 4] = [10, 1, 1, 5];
const STRANGER: [u8; 4] = [10, 1, 1, 6];
const OWN6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
const STRANGER6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6];
const LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const ROUTER: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const NOBODY: [u8; 16] = [0; 16];

struct Constants {
    rules: Rules,
    exceptions: Exceptions,
}

impl Policy for Constants {
    fn rules(&self) -> Rules {
        self.rules
    }
    fn guest(&self) -> MacAddr {
        GUEST
    }
    fn network(&self) -> MacAddr {
        NETWORK
    }
    fn lease(&self) -> [u8; 4] {
        LEASE
    }
    fn exceptions(&self) -> &Exceptions {
        &self.exceptions
    }
}

fn policy() -> Constants {
    let mut exceptions = Exceptions::NONE;
    exceptions.allow_ipv6(OWN6, 128).unwrap();
    exceptions.forbid_link_local(ROUTER).unwrap();
    Constants { rules: Rules::ALL, exceptions }
}

fn judge_with(policy: &Constants, frame: &[u8], tag: Option<u16>) -> Result<(), Reason> {
    source(frame, policy)?;
    to_network(frame, tag, policy)
}

fn judge(frame: &[u8]) -> Result<(), Reason> {
    judge_with(&policy(), frame, None)
}

/// Dropped for the rule, and without that rule not for it.
fn breaks(frame: &[u8], rule: Rule) {
    assert_eq!(judge(frame), Err(rule.reason()));
    let lax = Constants { rules: Rules::ALL.without(rule), ..policy() };
    assert_ne!(judge_with(&lax, frame, None), Err(rule.reason()));
    let off = Constants { rules: Rules::NONE, ..policy() };
    assert_eq!(judge_with(&off, frame, None), Ok(()));
}

fn ethernet(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &GUEST.0, &kind.to_be_bytes(), payload].concat()
}

fn ipv4(source: [u8; 4], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    ethernet(OTHER.0, 0x0800, &[&header, &source[..], &STRANGER, payload].concat())
}

fn udp(destination: u16) -> Vec<u8> {
    [&[0, 9][..], &destination.to_be_bytes(), &[0, 8, 0, 0]].concat()
}

fn ipv6(source: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let header = [&[0x60, 0, 0, 0][..], &length, &[next, 255], &source, &ALL_NODES].concat();
    ethernet([0x33, 0x33, 0, 0, 0, 1], 0x86dd, &[&header[..], payload].concat())
}

/// A message with its first 4 octets, what follows to the options, and options.
fn icmpv6(kind: u8, body: &[u8], options: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], body, options].concat()
}

fn claim(kind: u8, target: [u8; 16], option: u8, mac: MacAddr) -> Vec<u8> {
    icmpv6(kind, &[&[0; 4][..], &target].concat(), &[&[option, 1][..], &mac.0].concat())
}

fn arp(operation: u8, mac: MacAddr, sender: [u8; 4]) -> Vec<u8> {
    let packet = [&[0, 1, 8, 0, 6, 4, 0, operation][..], &mac.0, &sender, &[0; 6], &STRANGER].concat();
    ethernet([0xff; 6], 0x0806, &packet)
}

#[test]
fn the_ordinary_passes() {
    let frames = [
        ipv4(LEASE, 6, 0x4000, &[0; 20]),
        ipv4(LEASE, 17, 0, &udp(53)),
        ipv4(LEASE, 17, 0x2000, &udp(5001)),
        ipv4(LEASE, 17, 0x0010, &[0; 4]),
        ipv4(LEASE, 1, 0, &[8, 0, 0, 0]),
        ipv4(LEASE, 2, 0, &[0x16, 0, 0, 0]),
        ipv4(LEASE, 47, 0, &[]),
        ipv6(OWN6, 6, &[0; 20]),
        ipv6(OWN6, 17, &udp(53)),
        ipv6(LOCAL, 17, &udp(547)),
        ipv6(LOCAL, 58, &icmpv6(133, &[0; 4], &[])),
        ipv6(NOBODY, 58, &icmpv6(133, &[0; 4], &[])),
        ipv6(NOBODY, 58, &icmpv6(135, &[&[0; 4][..], &LOCAL].concat(), &[])),
        ipv6(NOBODY, 0, &[&[58, 0, 5, 2, 0, 0, 1, 0][..], &icmpv6(143, &[0; 4], &[])].concat()),
        ipv6(LOCAL, 58, &claim(135, STRANGER6, 1, GUEST)),
        ipv6(OWN6, 58, &claim(136, OWN6, 2, GUEST)),
        ipv6(LOCAL, 58, &claim(136, LOCAL, 2, GUEST)),
        ipv6(OWN6, 58, &icmpv6(128, &[0; 4], &[])),
        ipv6(OWN6, 59, &[]),
        ipv6(OWN6, 50, &[0; 8]),
        arp(1, GUEST, LEASE),
        arp(2, GUEST, LEASE),
        arp(1, GUEST, [0; 4]),
        ethernet([0xff; 6], 0x8035, &[&[0, 1, 8, 0, 6, 4, 0, 3][..], &GUEST.0, &[0; 4], &GUEST.0, &[0; 4]].concat()),
    ];
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(judge(frame), Ok(()), "{number}");
    }
}

#[test]
fn a_source_is_the_guests() {
    let mut frame = ipv4(LEASE, 6, 0, &[0; 20]);
    frame[6..12].copy_from_slice(&OTHER.0);
    breaks(&frame, Rule::SpoofedMac);
    breaks(&frame[..10], Rule::SpoofedMac);
    breaks(&ipv4(STRANGER, 6, 0, &[0; 20]), Rule::SpoofedIpv4);
    breaks(&ipv4([0; 4], 17, 0, &udp(67)), Rule::SpoofedIpv4);
    breaks(&ipv4([0; 4], 17, 0x0010, &[0; 8]), Rule::SpoofedIpv4);
    breaks(&ipv6(STRANGER6, 6, &[0; 20]), Rule::SpoofedIpv6);
    breaks(&ipv6(ROUTER, 6, &[0; 20]), Rule::SpoofedIpv6);
    breaks(&ipv6(NOBODY, 17, &udp(547)), Rule::SpoofedIpv6);
    breaks(&ipv6(NOBODY, 58, &icmpv6(128, &[0; 4], &[])), Rule::SpoofedIpv6);
    breaks(&ipv6(NOBODY, 44, &[58, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]), Rule::SpoofedIpv6);
    // fec0::/10 was site-local; it is not the link's.
    let mut site = LOCAL;
    site[1] = 0xc0;
    breaks(&ipv6(site, 6, &[0; 20]), Rule::SpoofedIpv6);
}

#[test]
fn arp_says_of_its_sender_what_is_so() {
    breaks(&arp(1, GUEST, STRANGER), Rule::SpoofedArp);
    breaks(&arp(2, GUEST, STRANGER), Rule::SpoofedArp);
    breaks(&arp(1, OTHER, LEASE), Rule::SpoofedArp);
    breaks(&arp(1, GUEST, LEASE)[..30], Rule::SpoofedArp);
    let mut of_another_kind = arp(1, GUEST, LEASE);
    of_another_kind[15] = 6;
    breaks(&of_another_kind, Rule::SpoofedArp);
    let reverse = |operation, mac: MacAddr, sender: [u8; 4]| {
        ethernet([0xff; 6], 0x8035, &[&[0, 1, 8, 0, 6, 4, 0, operation][..], &mac.0, &sender, &[0; 10]].concat())
    };
    breaks(&reverse(4, GUEST, [0; 4]), Rule::SpoofedArp);
    breaks(&reverse(3, OTHER, [0; 4]), Rule::SpoofedArp);
    breaks(&reverse(3, GUEST, STRANGER), Rule::SpoofedArp);
}

#[test]
fn neighbour_discovery_speaks_for_the_guest_alone() {
    breaks(&ipv6(LOCAL, 58, &claim(136, STRANGER6, 2, GUEST)), Rule::SpoofedNd);
    breaks(&ipv6(LOCAL, 58, &claim(136, ROUTER, 2, GUEST)), Rule::SpoofedNd);
    breaks(&ipv6(LOCAL, 58, &claim(136, OWN6, 2, OTHER)), Rule::SpoofedNd);
    breaks(&ipv6(LOCAL, 58, &claim(135, STRANGER6, 1, OTHER)), Rule::SpoofedNd);
    breaks(&ipv6(NOBODY, 58, &icmpv6(135, &[&[0; 4][..], &STRANGER6].concat(), &[])), Rule::SpoofedNd);
    breaks(&ipv6(LOCAL, 58, &icmpv6(133, &[0; 4], &[&[1, 1][..], &OTHER.0].concat())), Rule::SpoofedNd);
    let behind_others = |count: usize| {
        let options = [&[14, 1, 0, 0, 0, 0, 0, 0].repeat(count)[..], &[2, 1], &OTHER.0].concat();
        ipv6(LOCAL, 58, &icmpv6(136, &[&[0; 4][..], &OWN6].concat(), &options))
    };
    for count in 0..20 {
        breaks(&behind_others(count), Rule::SpoofedNd);
    }
    for options in [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[14, 2, 0, 0, 0, 0, 0, 0], &[1, 1, 2], &[2, 2, 0, 0, 0, 0, 0, 0]] {
        breaks(&ipv6(LOCAL, 58, &icmpv6(136, &[&[0; 4][..], &OWN6].concat(), options)), Rule::SpoofedNd);
    }
    // What is behind the end of the packet says nothing, so it must not end the options.
    let mut longer = ipv6(LOCAL, 58, &claim(136, OWN6, 2, GUEST));
    longer.extend([0; 20]);
    assert_eq!(judge(&longer), Ok(()));
}

#[test]
fn a_guest_is_neither_server_nor_router() {
    breaks(&ipv4(LEASE, 17, 0, &udp(68)), Rule::RogueDhcp);
    breaks(&ipv4(LEASE, 17, 0x2000, &udp(68)), Rule::RogueDhcp);
    breaks(&ipv6(LOCAL, 17, &udp(546)), Rule::RogueDhcp);
    breaks(&ipv6(LOCAL, 58, &icmpv6(134, &[0; 12], &[])), Rule::RogueRa);
    breaks(&ipv4(LEASE, 1, 0, &[9, 0, 0, 0]), Rule::RogueRa);
    breaks(&ipv4(LEASE, 1, 0, &[5, 1, 0, 0]), Rule::IcmpRedirect);
    breaks(&ipv6(LOCAL, 58, &icmpv6(137, &[0; 36], &[])), Rule::IcmpRedirect);
    for kind in [130, 151, 153] {
        breaks(&ipv6(LOCAL, 58, &icmpv6(kind, &[0; 20], &[])), Rule::MulticastQuerier);
    }
    for kind in [0x11, 0x13, 0x14, 0x30, 0x32] {
        breaks(&ipv4(LEASE, 2, 0, &[kind, 0, 0, 0]), Rule::MulticastQuerier);
    }
    let hello = [0x20, 0, 0, 0, 0, 1, 0, 2, 0, 105];
    breaks(&ipv4(LEASE, 103, 0, &hello), Rule::MulticastQuerier);
    breaks(&ipv6(LOCAL, 103, &hello), Rule::MulticastQuerier);
}

#[test]
fn a_frame_is_of_the_guests_own_network() {
    let plain = ipv4(LEASE, 6, 0, &[0; 20]);
    let tagged = |kind: u16, vlan: u16, frame: &[u8]| {
        [&frame[..12], &kind.to_be_bytes(), &vlan.to_be_bytes(), &frame[12..]].concat()
    };
    for kind in [0x8100, 0x88a8, 0x9100, 0x9200] {
        for vlan in [0, 7] {
            breaks(&tagged(kind, vlan, &plain), Rule::Vlan);
            breaks(&tagged(0x8100, vlan, &tagged(kind, vlan, &plain)), Rule::Vlan);
        }
    }
    for vlan in [0, 7, 4095] {
        assert_eq!(judge_with(&policy(), &plain, Some(vlan)), Err(Reason::Vlan));
    }
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0][..], &arp(2, GUEST, STRANGER)[12..]].concat();
    breaks(&ethernet([0xff; 6], 36, &snap), Rule::Llc);
    breaks(&ethernet(OTHER.0, 0x05ff, &[0; 60]), Rule::Llc);
    for last in 0..16 {
        breaks(&ethernet([1, 0x80, 0xc2, 0, 0, last], 38, &[0x42, 0x42, 3]), Rule::ReservedMulticast);
    }
    assert_eq!(judge(&ethernet([1, 0x80, 0xc2, 0, 0, 16], 0x0800, &plain[14..])), Ok(()));
    for kind in [0x0600, 0x8847, 0x8863, 0x88b5, 0x88cc] {
        breaks(&ethernet(OTHER.0, kind, &[0; 60]), Rule::EtherType);
    }
    breaks(&plain[..13], Rule::Llc);
}

#[test]
fn what_is_allowed_passes_and_nothing_beside_it() {
    let mut policy = policy();
    let table = &mut policy.exceptions;
    table.allow_mac(OTHER).unwrap();
    table.allow_ipv4([10, 1, 1, 6], 31).unwrap();
    table.allow_ipv6([0xfd; 16], 8).unwrap();
    table.allow_ether_type(0x88b5).unwrap();
    table.allow_vlan(7);
    table.allow_lldp();
    let judge = |frame: &[u8], tag| judge_with(&policy, frame, tag);
    let mut vrrp = ipv4(STRANGER, 112, 0, &[0; 20]);
    vrrp[6..12].copy_from_slice(&OTHER.0);
    assert_eq!(judge(&vrrp, None), Ok(()));
    assert_eq!(judge(&arp(2, OTHER, [10, 1, 1, 7]), None), Ok(()));
    assert_eq!(judge(&arp(2, OTHER, [10, 1, 1, 8]), None), Err(Reason::SpoofedArp));
    let unique = [0xfd, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    assert_eq!(judge(&ipv6(unique, 58, &claim(136, unique, 2, OTHER)), None), Ok(()));
    assert_eq!(judge(&ipv6(STRANGER6, 6, &[]), None), Err(Reason::SpoofedIpv6));
    assert_eq!(judge(&ethernet(OTHER.0, 0x88b5, &[]), None), Ok(()));
    assert_eq!(judge(&ethernet(OTHER.0, 0x88b6, &[]), None), Err(Reason::EtherType));
    let lldp = ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc, &[]);
    assert_eq!(judge(&lldp, None), Ok(()));
    assert_eq!(judge(&ethernet([1, 0x80, 0xc2, 0, 0, 0], 38, &[]), None), Err(Reason::ReservedMulticast));
    // The network of a VLAN has addresses of its own, but no other MAC.
    let of_a_vlan = ipv4([192, 0, 2, 1], 17, 0, &udp(68));
    assert_eq!(judge(&of_a_vlan, Some(7)), Ok(()));
    assert_eq!(judge(&of_a_vlan, Some(8)), Err(Reason::Vlan));
    let mut spoofed = of_a_vlan;
    spoofed[11] = 0xee;
    assert_eq!(judge(&spoofed, Some(7)), Err(Reason::SpoofedMac));
}

#[test]
fn vlan_0_is_the_guests_own_network_also_where_it_is_allowed() {
    let mut policy = policy();
    policy.exceptions.allow_vlan(0);
    assert_eq!(judge_with(&policy, &ipv4(LEASE, 6, 0, &[0; 20]), Some(0)), Ok(()));
    assert_eq!(judge_with(&policy, &arp(2, GUEST, STRANGER), Some(0)), Err(Reason::SpoofedArp));
    let stacked = [&arp(2, GUEST, STRANGER)[..12], &[0x81, 0, 0, 0], &arp(2, GUEST, STRANGER)[12..]].concat();
    assert_eq!(judge_with(&policy, &stacked, Some(0)), Err(Reason::Vlan));
}

#[test]
fn the_guest_hears_no_server_and_not_itself() {
    let from_network = |frame: &[u8], untagged, rules| {
        let mut frame = frame.to_vec();
        frame[6..12].copy_from_slice(&OTHER.0);
        to_guest(&frame[..], untagged, &Constants { rules, ..policy() })
    };
    let server = ipv6(ROUTER, 17, &udp(546));
    assert_eq!(from_network(&server, true, Rules::ALL), Err(Reason::DhcpServer));
    assert_eq!(from_network(&server, false, Rules::ALL), Ok(()), "of a VLAN");
    assert_eq!(from_network(&server, true, Rules::ALL.without(Rule::DhcpServer)), Ok(()));
    let hidden = ipv6(ROUTER, 60, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(546)].concat());
    assert_eq!(from_network(&hidden, true, Rules::ALL), Err(Reason::DhcpServer));
    let endless = ipv6(ROUTER, 60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(9));
    assert_eq!(from_network(&endless, true, Rules::ALL), Err(Reason::HiddenHeader));
    for frame in [ipv6(ROUTER, 17, &udp(547)), ipv6(ROUTER, 58, &icmpv6(134, &[0; 12], &[])), ipv4(STRANGER, 6, 0, &[])]
    {
        assert_eq!(from_network(&frame, true, Rules::ALL), Ok(()));
    }
    for mac in [GUEST, NETWORK] {
        let mut frame = ipv4(LEASE, 6, 0, &[0; 20]);
        frame[6..12].copy_from_slice(&mac.0);
        assert_eq!(to_guest(&frame[..], true, &policy()), Err(Reason::Looped));
        let lax = Constants { rules: Rules::ALL.without(Rule::Looped), ..policy() };
        assert_eq!(to_guest(&frame[..], true, &lax), Ok(()));
    }
}
