//! The guard in the kernel: each rule drops its frames, by its name, and no others.
//!
//! What every rule makes of every frame, the tests of `binding_common::guard` say. Here is that the programs ask it, at the
//! right place, with the right constants.

use binding_common::{
    MacAddr, Reason,
    guard::{Exceptions, Rule, Rules},
    packet,
};
use binding_user::{datapath::Constants, guard::GuardConstants, guest_mac::GuestMac};

use crate::{
    Binding, GATEWAY, GUEST, LEASE, OTHER, TC_ACT_REDIRECT, TC_ACT_SHOT, arp_request, ethernet, lease, message, udp,
    wire,
};

const OWN6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
const LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const ROUTER: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn with(rules: Rules, exceptions: &Exceptions) -> Binding {
    with_mac(rules, exceptions, GuestMac::Nic)
}

fn with_mac(rules: Rules, exceptions: &Exceptions, guest_mac: GuestMac) -> Binding {
    let guard = GuardConstants { rules, exceptions: *exceptions };
    Binding::of(&lease(Some(GATEWAY)), &Constants { guard, guest_mac, ..wire() })
}

fn exceptions() -> Exceptions {
    let mut exceptions = Exceptions::NONE;
    exceptions.allow_ipv6(OWN6, 128).unwrap();
    exceptions.forbid_link_local(ROUTER).unwrap();
    exceptions
}

/// Every list filled to its end, the last entries those that are asked for.
fn full_exceptions() -> Exceptions {
    let mut exceptions = exceptions();
    for number in 0..15 {
        exceptions.allow_ipv6([number; 16], 128).unwrap();
        exceptions.allow_ipv4([number; 4], 32).unwrap();
        exceptions.allow_mac(MacAddr([number; 6])).unwrap();
        exceptions.allow_ether_type(0x9900 | u16::from(number)).unwrap();
    }
    (0..7).for_each(|number| exceptions.forbid_link_local([number; 16]).unwrap());
    exceptions.allow_ipv4(OTHER, 32).unwrap();
    exceptions.allow_mac(MacAddr([2, 0, 0, 0, 0, 7])).unwrap();
    exceptions.allow_ether_type(0x88b5).unwrap();
    exceptions
}

fn from(address: [u8; 4], mut frame: Vec<u8>) -> Vec<u8> {
    frame[26..30].copy_from_slice(&address);
    frame
}

fn ipv6(source: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(packet::ETH_P_IPV6, 54);
    frame[14] = 0x60;
    frame[18..20].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame[20..22].copy_from_slice(&[next, 255]);
    frame[22..38].copy_from_slice(&source);
    frame[38..54].copy_from_slice(&ROUTER);
    frame.extend(payload);
    frame
}

/// A neighbour advertisement for an address, at the guest's MAC.
fn advertisement(target: [u8; 16]) -> Vec<u8> {
    [&[136, 0, 0, 0, 0, 0, 0, 0][..], &target, &[2, 1], &GUEST.0].concat()
}

/// A frame that breaks each rule of the direction to the network, and no rule before it.
fn hostile(rule: Rule) -> Vec<u8> {
    let dhcpv6 = [2, 35, 2, 34, 0, 8, 0, 0];
    match rule {
        Rule::SpoofedMac => {
            let mut frame = from(LEASE, udp(OTHER, (5000, 53), &[0; 20]));
            frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
            frame
        }
        Rule::SpoofedIpv4 => from(OTHER, udp(GATEWAY, (5000, 53), &[0; 20])),
        Rule::SpoofedArp => {
            let mut frame = arp_request(OTHER);
            frame[28..32].copy_from_slice(&GATEWAY);
            frame
        }
        Rule::SpoofedIpv6 => ipv6(ROUTER, 17, &[0; 8]),
        Rule::SpoofedNd => ipv6(LOCAL, 58, &advertisement(ROUTER)),
        Rule::RogueDhcp => {
            let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(6);
            let last = [17, 0, 1, 4, 0, 0, 0, 0];
            ipv6(LOCAL, 60, &[&chain[..], &last, &dhcpv6].concat())
        }
        Rule::RogueRa => ipv6(LOCAL, 0, &[&[58, 0, 5, 2, 0, 0, 1, 0][..], &[134; 16]].concat()),
        Rule::IcmpRedirect => {
            let mut frame = from(LEASE, udp(OTHER, (0x0501, 0), &[0; 20]));
            frame[23] = 1;
            frame
        }
        Rule::MulticastQuerier => ipv6(LOCAL, 58, &[130; 24]),
        Rule::Vlan => ethernet([0x91, 0], 60),
        Rule::Llc => ethernet([0, 40], 60),
        Rule::ReservedMulticast => {
            let mut frame = ethernet([0x88, 0xcc], 60);
            frame[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0x0e]);
            frame
        }
        Rule::EtherType => ethernet([0x88, 0xb5], 60),
        Rule::HiddenHeader => ipv6(LOCAL, 60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(9)),
        Rule::DhcpServer => ipv6(ROUTER, 17, &dhcpv6),
        Rule::Looped => from(LEASE, udp(OTHER, (5000, 53), &[0; 20])),
    }
}

fn program(rule: Rule) -> &'static str {
    if matches!(rule, Rule::DhcpServer | Rule::Looped) { "tapwire_nic_in" } else { "tapwire_tap_in" }
}

/// The frame of a rule as it arrives: that of a server comes from another.
fn arriving(rule: Rule) -> Vec<u8> {
    let mut frame = hostile(rule);
    if rule == Rule::DhcpServer {
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    }
    frame
}

#[test]
fn every_rule_drops_by_its_name() {
    lab::require_root!();
    let mut binding = with(Rules::ALL, &exceptions());
    for rule in Rule::ALL {
        assert_eq!(binding.run(program(*rule), &arriving(*rule)).0, TC_ACT_SHOT, "{}", rule.name());
        assert_eq!(binding.dropped(rule.reason()), 1, "{}", rule.name());
    }
    assert_eq!(binding.counters().dropped.iter().sum::<u64>(), Rule::ALL.len() as u64);
}

#[test]
fn a_rule_that_is_left_out_drops_nothing() {
    lab::require_root!();
    for rule in Rule::ALL {
        let mut rules = Rules::ALL.without(*rule);
        if *rule == Rule::ReservedMulticast {
            rules = rules.without(Rule::EtherType);
        }
        let mut binding = with(rules, &exceptions());
        let frame = arriving(*rule);
        assert_eq!(binding.run(program(*rule), &frame), (TC_ACT_REDIRECT, frame), "{}", rule.name());
        assert_eq!(binding.counters().dropped.iter().sum::<u64>(), 0, "{}", rule.name());
    }
    let mut off = with(Rules::NONE, &exceptions());
    for rule in Rule::ALL {
        assert_eq!(off.run(program(*rule), &arriving(*rule)).0, TC_ACT_REDIRECT, "{}", rule.name());
    }
}

#[test]
fn the_last_of_every_list_is_allowed() {
    lab::require_root!();
    let mut binding = with(Rules::ALL, &full_exceptions());
    for rule in [Rule::SpoofedMac, Rule::SpoofedIpv4, Rule::EtherType] {
        let frame = hostile(rule);
        assert_eq!(binding.run("tapwire_tap_in", &frame), (TC_ACT_REDIRECT, frame), "{}", rule.name());
    }
    let last = ipv6([14; 16], 6, &[0; 20]);
    assert_eq!(binding.run("tapwire_tap_in", &last), (TC_ACT_REDIRECT, last));
    for address in [ROUTER, [6; 16], [15; 16]] {
        let frame = ipv6(address, 6, &[0; 20]);
        let expected = if address == [6; 16] { TC_ACT_REDIRECT } else { TC_ACT_SHOT };
        assert_eq!(binding.run("tapwire_tap_in", &frame).0, expected, "{address:?}");
    }
}

#[test]
fn a_learnt_guest_is_held_to_its_mac() {
    lab::require_root!();
    let mut binding = with_mac(Rules::ALL, &exceptions(), GuestMac::Learn);
    let mut own = from(LEASE, udp(OTHER, (5000, 53), &[0; 20]));
    own[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    assert_eq!(binding.guest_sends(&own).0, TC_ACT_REDIRECT);
    let other = from(LEASE, udp(OTHER, (5000, 53), &[0; 20]));
    assert_eq!(binding.guest_sends(&other).0, TC_ACT_SHOT);
    assert_eq!(binding.dropped(Reason::SpoofedMac), 1);
    for mac in [GUEST, MacAddr([2, 0, 0, 0, 0, 0x77])] {
        let mut back = own.clone();
        back[6..12].copy_from_slice(&mac.0);
        assert_eq!(binding.run("tapwire_nic_in", &back).0, TC_ACT_SHOT);
    }
    assert_eq!(binding.dropped(Reason::Looped), 2);
}

#[test]
fn a_renewal_from_a_lost_address_gets_its_nak_and_a_spoofed_one_nothing() {
    lab::require_root!();
    let mut binding = with(Rules::ALL, &exceptions());
    let renewal = from(OTHER, message(GATEWAY, OTHER, &[(53, &[3])]));
    assert_eq!(binding.guest_sends(&renewal).0, TC_ACT_REDIRECT);
    assert_eq!(binding.counters().dhcp[binding_common::DhcpMessage::Nak as usize], 1);
    let mut spoofed = renewal;
    spoofed[11] ^= 1;
    assert_eq!(binding.guest_sends(&spoofed).0, TC_ACT_SHOT);
    assert_eq!(binding.dropped(Reason::SpoofedMac), 1);
}
