//! DHCP: each message of the guest gets the answer that the host makes of it, and none crosses to the other side.

use binding_common::{
    DhcpMessage, Reason,
    dhcp::{Decision, Exchange, decide},
    packet,
};
use binding_user::dhcp::Replies;

use crate::{ANY, Binding, GATEWAY, LEASE, OTHER, TC_ACT_REDIRECT, TC_ACT_SHOT, message, udp};

/// What the same code makes of a request on the host.
fn expected(binding: &Binding, frame: &[u8]) -> Vec<u8> {
    let udp = packet::udp(frame).unwrap();
    let mut exchange = Exchange::default();
    exchange.request.read_headers(frame, udp).unwrap();
    exchange.request.read_message(frame, udp).unwrap();
    let Decision::Reply(reply, to) = decide(&exchange.request, &binding.server).unwrap() else {
        panic!("no reply");
    };
    exchange.answer(reply, to);
    let Replies { templates, options, .. } = &binding.replies;
    let bytes = templates[reply as usize].render(options, &mut exchange).unwrap();
    bytes[..exchange.progress.frame_len()].to_vec()
}

#[test]
fn every_dhcp_message_is_answered_with_the_bytes_that_the_host_makes() {
    lab::require_root!();
    let mut binding = Binding::new();
    let all: Vec<u8> = (0..=254).collect();
    let backwards: Vec<u8> = (0..=254).rev().collect();
    let cases: [(&str, Vec<u8>); 15] = [
        ("discover", message(ANY, [0; 4], &[(53, &[1])])),
        ("selecting", message(ANY, [0; 4], &[(53, &[3]), (54, &GATEWAY), (50, &LEASE)])),
        ("selecting another address", message(ANY, [0; 4], &[(53, &[3]), (54, &GATEWAY), (50, &OTHER)])),
        ("init-reboot", message(ANY, [0; 4], &[(61, &[0; 19]), (50, &LEASE), (53, &[3])])),
        ("init-reboot with a lost address", message(ANY, [0; 4], &[(53, &[3]), (50, &OTHER)])),
        ("renewing", message(GATEWAY, LEASE, &[(53, &[3])])),
        ("rebinding with a lost address", message(ANY, OTHER, &[(53, &[3])])),
        ("inform", message(GATEWAY, LEASE, &[(53, &[8])])),
        ("rapid commit", message(ANY, [0; 4], &[(53, &[1]), (80, &[])])),
        ("a request list", message(ANY, [0; 4], &[(53, &[1]), (55, &[119, 42, 15, 3, 175, 99])])),
        ("everything, and room for it", message(ANY, [0; 4], &[(57, &[5, 220]), (55, &all), (53, &[1])])),
        ("everything backwards", message(ANY, [0; 4], &[(55, &backwards), (53, &[1]), (61, &[7; 254])])),
        ("a client identifier of one octet", message(ANY, [0; 4], &[(61, &[1]), (53, &[1])])),
        ("a client identifier of none", message(ANY, [0; 4], &[(61, &[]), (53, &[1])])),
        ("the longest client identifier", message(ANY, OTHER, &[(61, &[0xa5; 255]), (53, &[3])])),
    ];
    for (name, frame) in &cases {
        let (verdict, reply) = binding.guest_sends(frame);
        assert_eq!(verdict, TC_ACT_REDIRECT, "{name}");
        assert_eq!(reply, expected(&binding, frame), "{name}");
    }
    let counters = binding.counters();
    let count = |message: DhcpMessage| counters.dhcp[message as usize];
    assert_eq!([DhcpMessage::Discover, DhcpMessage::Request, DhcpMessage::Inform].map(count), [7, 7, 1]);
    assert_eq!([DhcpMessage::Offer, DhcpMessage::Ack, DhcpMessage::Nak].map(count), [6, 5, 4]);
    assert!(count(DhcpMessage::Trimmed) > 0);
    assert_eq!(counters.to_network.frames, 0);
}

#[test]
fn a_request_of_any_length_becomes_a_reply_of_the_right_one() {
    lab::require_root!();
    let mut binding = Binding::new();
    for pads in [0, 1, 60, 236, 700, 1150] {
        let mut frame = message(ANY, [0; 4], &[(53, &[1])]);
        frame.resize(frame.len() + pads, 0);
        let (verdict, reply) = binding.guest_sends(&frame);
        assert_eq!((verdict, reply), (TC_ACT_REDIRECT, expected(&binding, &frame)), "{pads}");
    }
}

#[test]
fn nothing_of_a_dhcp_client_reaches_the_network() {
    lab::require_root!();
    let mut binding = Binding::new();
    let mut fragment = message(ANY, [0; 4], &[(53, &[1])]);
    fragment[20] = 0x20;
    let mut other_mac = message(ANY, [0; 4], &[(53, &[1])]);
    other_mac[70] ^= 0xff;
    let discover = message(ANY, [0; 4], &[(53, &[1])]);
    let tagged = [&discover[..12], &[0x81, 0, 0, 0, 0x88, 0xa8, 0xe0, 0], &discover[12..]].concat();
    let mut behind_pads = message(ANY, [0; 4], &[]);
    behind_pads.truncate(282);
    behind_pads.extend([[0; 128].as_slice(), &[53, 1, 1, 255]].concat());
    let length = u16::try_from(behind_pads.len() - 34).unwrap();
    behind_pads[38..40].copy_from_slice(&length.to_be_bytes());
    let mut relay_to_all = udp([10, 244, 1, 255], (67, 67), &[0; 300]);
    relay_to_all[..6].fill(0xff);
    let cases = [
        ("behind tags of VLAN 0", tagged, Reason::DhcpMalformed),
        ("renewing at another server", message(OTHER, LEASE, &[(53, &[3])]), Reason::DhcpOtherServer),
        ("choosing another server", message(ANY, [0; 4], &[(53, &[3]), (54, &OTHER)]), Reason::DhcpOtherServer),
        ("a fragment", fragment, Reason::DhcpMalformed),
        ("another client", other_mac, Reason::DhcpNotGuest),
        ("BOOTP", message(ANY, [0; 4], &[]), Reason::DhcpUnknownType),
        ("an empty datagram", udp(ANY, (68, 67), &[]), Reason::DhcpMalformed),
        ("a type behind too many pads", behind_pads, Reason::DhcpMalformed),
        ("a relay to all on the link", relay_to_all, Reason::DhcpOtherServer),
        ("a relay to a group", udp([224, 0, 0, 12], (67, 67), &[0; 300]), Reason::DhcpOtherServer),
        ("a relay to nobody", udp([0; 4], (67, 67), &[0; 300]), Reason::DhcpOtherServer),
    ];
    for (name, frame, reason) in cases {
        let before = binding.dropped(reason);
        assert_eq!(binding.guest_sends(&frame).0, TC_ACT_SHOT, "{name}");
        assert_eq!(binding.dropped(reason), before + 1, "{name}");
    }
    for kind in [4, 7] {
        let frame = message(GATEWAY, LEASE, &[(53, &[kind])]);
        assert_eq!(binding.guest_sends(&frame).0, TC_ACT_SHOT);
    }
    let counters = binding.counters();
    assert_eq!(counters.dhcp[DhcpMessage::Release as usize], 1);
    assert_eq!(counters.dhcp[DhcpMessage::Decline as usize], 1);
    assert_eq!(counters.to_network.frames, 0);
}

#[test]
fn a_relay_in_the_guest_reaches_its_server() {
    lab::require_root!();
    let mut binding = Binding::new();
    let frame = udp(OTHER, (67, 67), &[0; 300]);
    assert_eq!(binding.guest_sends(&frame), (TC_ACT_REDIRECT, frame));
    assert_eq!(binding.counters().to_network.frames, 1);
}

#[test]
fn no_server_of_the_network_reaches_the_guest() {
    lab::require_root!();
    let mut binding = Binding::new();
    for ports in [(67, 68), (1067, 68)] {
        assert_eq!(binding.run("tapwire_nic_in", &udp(ANY, ports, &[0; 300])).0, TC_ACT_SHOT);
    }
    let offer = udp(ANY, (67, 68), &[0; 300]);
    let tagged = [&offer[..12], &[0x81, 0, 0, 0], &offer[12..]].concat();
    assert_eq!(binding.run("tapwire_nic_in", &tagged).0, TC_ACT_SHOT);
    assert_eq!(binding.dropped(Reason::DhcpServer), 3);
    let of_a_vlan = [&offer[..12], &[0x81, 0, 0, 7], &offer[12..]].concat();
    assert_eq!(binding.run("tapwire_nic_in", &of_a_vlan), (TC_ACT_REDIRECT, of_a_vlan));
    let to_a_relay = udp(LEASE, (67, 67), &[0; 300]);
    assert_eq!(binding.run("tapwire_nic_in", &to_a_relay), (TC_ACT_REDIRECT, to_a_relay));
}

#[test]
fn a_pure_wire_passes_dhcp_both_ways() {
    lab::require_root!();
    let mut binding = Binding::pure_wire();
    let discover = message(ANY, [0; 4], &[(53, &[1])]);
    assert_eq!(binding.guest_sends(&discover), (TC_ACT_REDIRECT, discover));
    let offer = udp(ANY, (67, 68), &[0; 300]);
    assert_eq!(binding.run("tapwire_nic_in", &offer), (TC_ACT_REDIRECT, offer));
}
