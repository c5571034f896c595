//! `tapwire_host_out` and `tapwire_portal_in`.

use binding_user::datapath::PortalConstants;
use lab::Namespace;

use super::*;

/// The loopback device, which takes frames of any length.
const LOOPBACK: u32 = 1;
const HOST_OUT: &str = "tapwire_host_out";

fn through(ifindex: u32, check: bool) -> Binding {
    Binding::of(&lease(Some(GATEWAY)), &Constants { portal: Some(PortalConstants { ifindex, check }), ..wire() })
}

fn to_guest(len: usize) -> Vec<u8> {
    let mut frame = ethernet([0x08, 0x00], len);
    frame[..6].copy_from_slice(&GUEST.0);
    frame[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 0xaa]);
    frame
}

#[test]
fn frames_go_through_the_portal_as_they_are_and_are_counted_once() {
    lab::require_root!();
    for check in [false, true] {
        let mut binding = through(LOOPBACK, check);
        for len in [14, 60, 1514] {
            let frame = to_guest(len.max(34));
            assert_eq!(binding.run(HOST_OUT, &frame), (TC_ACT_REDIRECT, frame));
        }
        assert_eq!(binding.counters().to_guest.frames, 3);
    }
}

#[test]
fn a_portal_that_is_gone_leaves_the_frame_to_the_veth_and_counts_nothing() {
    lab::require_root!();
    let mut binding = through(4_000_000, true);
    let frame = to_guest(60);
    assert_eq!(binding.run(HOST_OUT, &frame), (TC_ACT_UNSPEC, frame));
    assert_eq!(binding.counters(), Counters::ZERO);
}

#[test]
fn what_may_not_reach_the_guest_is_dropped_at_the_host_side() {
    lab::require_root!();
    let mut binding = through(LOOPBACK, true);
    let mut conflict = arp_request(GATEWAY);
    conflict[..6].copy_from_slice(&GUEST.0);
    let cases = [
        (udp(ANY, (67, 68), &[0; 300]), Reason::DhcpServer),
        (conflict, Reason::ArpConflict),
        (to_guest(1515), Reason::TooBig),
    ];
    for (frame, reason) in cases {
        assert_eq!(binding.run(HOST_OUT, &frame).0, TC_ACT_SHOT, "{}", reason.name());
        assert_eq!(binding.dropped(reason), 1, "{}", reason.name());
    }
    assert_eq!(binding.counters().to_guest.frames, 0);
}

/// What a test run gives is "for this host" when its destination is lo's MAC, which is all zeros.
#[test]
fn what_the_node_holds_to_be_for_this_host_is_not_made_the_guests() {
    lab::require_root!();
    let mut binding = through(LOOPBACK, true);
    let mut frame = to_guest(60);
    frame[..6].fill(0);
    assert_eq!(binding.run(HOST_OUT, &frame), (TC_ACT_REDIRECT, frame.clone()));
    assert_ne!(binding.run("tapwire_nic_in", &frame).1, frame, "at the pod NIC it is");
}

#[test]
fn a_portal_with_a_smaller_mtu_drops_by_name_what_it_cannot_carry() {
    lab::require_root!();
    let namespace = Namespace::new("portalmtu").unwrap();
    namespace.ip(&["link", "add", "small", "mtu", "1000", "type", "veth", "peer", "name", "other"]).unwrap();
    let ifindex = namespace.run(|| Ok(nix::net::if_::if_nametoindex("small")?)).unwrap();
    let mut binding = through(ifindex, true);
    let mut tagged = to_guest(1018);
    tagged[12..14].copy_from_slice(&[0x81, 0x00]);
    let gso = [(GSO_SEGS, 2), (GSO_SIZE, 900)];
    let verdicts = namespace
        .run(|| {
            Ok([
                binding.run(HOST_OUT, &to_guest(1014)).0,
                binding.run(HOST_OUT, &to_guest(1015)).0,
                binding.run(HOST_OUT, &tagged).0,
                binding.run_with(HOST_OUT, &to_guest(2962), &gso).0,
            ])
        })
        .unwrap();
    assert_eq!(verdicts, [TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_REDIRECT, TC_ACT_REDIRECT]);
    assert_eq!(binding.dropped(Reason::TooBig), 1);
}

#[test]
fn nothing_comes_out_of_the_portal() {
    lab::require_root!();
    let mut binding = through(LOOPBACK, true);
    for frame in [to_guest(60), arp_request(GATEWAY), udp(ANY, (67, 68), &[0; 300])] {
        assert_eq!(binding.run("tapwire_portal_in", &frame).0, TC_ACT_SHOT);
    }
    assert_eq!(binding.dropped(Reason::Portal), 3);
}
