//! The ARP responder: who is answered for, and who is not.

use binding_common::{
    MacAddr, Reason,
    dhcp::{LINK_LOCAL_SERVER, SERVER_MAC},
    guard::Rules,
};
use binding_user::{
    datapath::Constants,
    guard::GuardConstants,
    neighbours::{ArpTable, LeaseNeighbour},
};

use crate::{Binding, GATEWAY, GUEST, LEASE, OTHER, TC_ACT_REDIRECT, TC_ACT_SHOT, arp_request, lease, wire};

const NEIGHBOUR: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x20]);

/// The binding of a lease whose gateway is a permanent neighbour, and the MAC of all others.
fn with_neighbours(others: Option<MacAddr>) -> Binding {
    let mut lease = lease(Some(GATEWAY));
    lease.neighbours.push(LeaseNeighbour { address: Some(GATEWAY.into()), mac: NEIGHBOUR });
    lease.neighbours.extend(others.map(|mac| LeaseNeighbour { address: None, mac }));
    Binding::of(&lease, &wire())
}

fn assert_answers(binding: &mut Binding, target: [u8; 4], mac: MacAddr) {
    let before = binding.counters().arp_replies;
    let (verdict, reply) = binding.guest_sends(&arp_request(target));
    assert_eq!(verdict, TC_ACT_REDIRECT);
    assert_eq!((&reply[..6], &reply[6..12]), (&GUEST.0[..], &mac.0[..]));
    assert_eq!(reply[20..22], [0, 2]);
    assert_eq!((&reply[22..28], &reply[28..32]), (&mac.0[..], &target[..]));
    assert_eq!((&reply[32..38], &reply[38..42]), (&GUEST.0[..], &LEASE[..]));
    assert_eq!(binding.counters().arp_replies, before + 1);
}

fn assert_passes(binding: &mut Binding, frame: &[u8]) {
    let before = binding.counters();
    assert_eq!(binding.guest_sends(frame), (TC_ACT_REDIRECT, frame.to_vec()));
    let after = binding.counters();
    assert_eq!(after.arp_replies, before.arp_replies);
    assert_eq!(after.to_network.frames, before.to_network.frames + 1);
}

/// An ARP packet with these sender and target addresses.
fn packet(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = arp_request(target);
    frame[21] = operation;
    frame[28..32].copy_from_slice(&sender);
    frame
}

#[test]
fn the_stand_in_server_is_found_by_arp_and_no_other_address_is() {
    lab::require_root!();
    let mut binding = Binding::with_gateway(None);
    assert_answers(&mut binding, LINK_LOCAL_SERVER, SERVER_MAC);
    assert_passes(&mut binding, &arp_request(OTHER));
}

#[test]
fn a_permanent_neighbour_of_the_pod_is_answered_for_and_no_other_address_is() {
    lab::require_root!();
    let mut binding = with_neighbours(None);
    assert_answers(&mut binding, GATEWAY, NEIGHBOUR);
    assert_passes(&mut binding, &arp_request(OTHER));
    assert_passes(&mut binding, &packet(2, LEASE, GATEWAY));
}

#[test]
fn all_are_answered_for_on_demand_but_never_the_lease() {
    lab::require_root!();
    let mut binding = with_neighbours(Some(SERVER_MAC));
    assert_answers(&mut binding, GATEWAY, NEIGHBOUR);
    assert_answers(&mut binding, OTHER, SERVER_MAC);
    for (what, sender, target) in [
        ("a probe", [0; 4], LEASE),
        ("a probe for a second address", [0; 4], OTHER),
        ("an announcement", LEASE, LEASE),
        ("another's announcement", OTHER, OTHER),
    ] {
        println!("{what}");
        assert_passes(&mut binding, &packet(1, sender, target));
    }
    let mut rarp = packet(3, [0; 4], [0; 4]);
    rarp[12..14].copy_from_slice(&[0x80, 0x35]);
    assert_passes(&mut binding, &rarp);
}

#[test]
fn a_client_whose_address_was_lost_finds_its_server_and_nobody_else() {
    lab::require_root!();
    let guard = GuardConstants { rules: Rules::ALL, ..GuardConstants::OFF };
    let arp = ArpTable { server: NEIGHBOUR, ..ArpTable::default() };
    let mut binding = Binding::of(&lease(Some(GATEWAY)), &Constants { guard, arp, ..wire() });
    let (verdict, reply) = binding.guest_sends(&packet(1, OTHER, GATEWAY));
    assert_eq!(verdict, TC_ACT_REDIRECT);
    assert_eq!((&reply[..6], &reply[6..12], &reply[20..22]), (&GUEST.0[..], &NEIGHBOUR.0[..], &[0, 2][..]));
    assert_eq!((&reply[22..28], &reply[28..32]), (&NEIGHBOUR.0[..], &GATEWAY[..]));
    assert_eq!((&reply[32..38], &reply[38..42]), (&GUEST.0[..], &OTHER[..]));
    assert_eq!(binding.counters().arp_replies, 1);
    let mut of_another = packet(1, OTHER, GATEWAY);
    of_another[22..28].copy_from_slice(&NEIGHBOUR.0);
    let held_back = [
        ("a reply", packet(2, OTHER, GATEWAY)),
        ("for somebody else", packet(1, OTHER, [10, 244, 1, 9])),
        ("an announcement of the server", packet(1, GATEWAY, GATEWAY)),
        ("of another MAC", of_another),
    ];
    for (number, (what, frame)) in (1..).zip(&held_back) {
        assert_eq!(binding.guest_sends(frame).0, TC_ACT_SHOT, "{what}");
        assert_eq!((binding.dropped(Reason::SpoofedArp), binding.counters().arp_replies), (number, 1), "{what}");
    }
}

#[test]
fn nobody_on_the_network_claims_the_lease_before_the_guest() {
    lab::require_root!();
    let mut binding = Binding::new();
    for operation in [1, 2] {
        let claim = packet(operation, LEASE, LEASE);
        assert_eq!(binding.run("tapwire_nic_in", &claim).0, TC_ACT_SHOT);
        let other = packet(operation, GATEWAY, LEASE);
        assert_eq!(binding.run("tapwire_nic_in", &other), (TC_ACT_REDIRECT, other));
    }
    assert_eq!(binding.dropped(Reason::ArpConflict), 2);
}
