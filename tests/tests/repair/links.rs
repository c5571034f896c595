//! Links that went down, settings that somebody changed, MTUs.

use std::time::Duration;

use lab::{
    BINDING, Foreign, Guest, Offloads, Pod, RawPort, TapPort, Tapwire, Verdict, pod::POD_MAC, raw::Seen, stop::Stop,
};

use crate::{HOOKS, assert_degraded, assert_reaches, assert_said, assert_works, bound, repair, state, to_guest};

/// Longest wait for what is to happen at once.
const SOON: Duration = Duration::from_secs(25);

#[test]
fn links_that_went_down_come_up() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("down", hook, &[]);
        for (link, what) in [("eth0", "pod NIC"), ("tap0", "tap")] {
            pod.namespace.ip(&["link", "set", link, "down"]).unwrap();
            assert_degraded(&tapwire, &format!("the {what} {link} is down"));
            assert_said(&repair(&tapwire), &format!("set the {what} {link} up again"));
        }
        assert_works(&pod, POD_MAC, "10.244.1.5");
    }
}

#[test]
fn what_would_speak_beside_the_guest_is_silenced_again() {
    lab::require_root!();
    let (tapwire, pod) = bound("noise", "tcx", &[]);
    let quiet = |link| ["link", "set", link, "arp", "on"];
    let changes: [(&dyn Fn(), &str); 5] = [
        (
            &|| drop(pod.namespace.ip(&["addr", "add", "10.244.1.5/24", "dev", "eth0"]).unwrap()),
            "the pod NIC eth0 has the address 10.244.1.5/24",
        ),
        (&|| drop(pod.namespace.ip(&quiet("eth0")).unwrap()), "the pod NIC eth0 does ARP"),
        (&|| pod.namespace.set_sysctl("net/ipv6/conf/eth0/disable_ipv6", "0").unwrap(), "the pod NIC eth0 has IPv6 on"),
        (&|| drop(pod.namespace.ip(&quiet("tap0")).unwrap()), "the tap tap0 does ARP"),
        (&|| pod.namespace.set_sysctl("net/ipv6/conf/tap0/disable_ipv6", "0").unwrap(), "the tap tap0 has IPv6 on"),
    ];
    for (change, reason) in changes {
        change();
        let (word, why) = state(&tapwire);
        assert!(word == "degraded" && why.starts_with(reason), "{reason}: {why}");
        assert_said(&repair(&tapwire), &format!("{reason}: put right"));
    }
    assert_works(&pod, POD_MAC, "10.244.1.5");
}

#[test]
fn a_nic_gets_the_mac_again_that_the_binding_needs() {
    lab::require_root!();
    for (mode, silent) in [("swap", true), ("keep", false)] {
        let (tapwire, pod) = bound("mac", "clsact", &["--mac-mode", mode]);
        let was = pod.nic_mac().unwrap();
        pod.namespace.ip(&["link", "set", "eth0", "address", "02:00:00:00:00:99"]).unwrap();
        assert!(state(&tapwire).1.contains("has the MAC 02:00:00:00:00:99"), "{mode}");
        repair(&tapwire);
        assert_eq!(pod.nic_mac().unwrap(), was, "{mode}");
        assert_eq!(was != POD_MAC, silent);
        assert_works(&pod, POD_MAC, "10.244.1.5");
    }
}

/// Sets the MTU of both ends.
fn set_mtu(pod: &Pod, mtu: &str) {
    pod.node.ip(&["link", "set", &pod.host_side, "mtu", mtu]).unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "mtu", mtu]).unwrap();
}

fn told(tapwire: &Tapwire) -> (u64, u64) {
    let shown = tapwire.show(BINDING).unwrap();
    (shown["tap"]["mtu"].as_u64().unwrap(), shown["lease"]["mtu"].as_u64().unwrap())
}

#[test]
fn programs_tap_and_lease_follow_the_mtu_of_the_pod_nic() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("mtu", hook, &[]);
        let guest = Guest::new(&pod, "tap0", POD_MAC).unwrap();
        guest.configure("10.244.1.5/24", None).unwrap();
        assert_reaches(&guest);
        let counted = to_guest(&tapwire);
        set_mtu(&pod, "9000");
        assert_degraded(&tapwire, "the MTU of the pod NIC eth0 is 9000, was 1500");
        let said = repair(&tapwire);
        assert_said(&said, "the MTU of eth0 is 9000, was 1500: the programs follow");
        assert_said(&said, "gave the tap tap0 the MTU 9000");
        assert_said(&said, "the guest is told the MTU 9000, was told 1500");
        assert_eq!(told(&tapwire), (9000, 9000));
        guest.namespace.ip(&["link", "set", "eth0", "mtu", "9000"]).unwrap();
        guest.exec(&["busybox", "ping", "-c", "2", "-i", "0.1", "-W", "5", "-s", "8000", "10.244.1.1"]).unwrap();
        assert!(to_guest(&tapwire) > counted, "the counters go on");
        set_mtu(&pod, "1400");
        assert_said(&repair(&tapwire), "the guest is told the MTU 1400, was told 9000");
        assert_eq!(told(&tapwire), (1400, 1400));
    }
}

#[test]
fn an_mtu_that_the_operator_chose_stays() {
    lab::require_root!();
    let (tapwire, pod) = bound("chosen", "tcx", &["--mtu", "1450"]);
    set_mtu(&pod, "1400");
    assert_said(
        &repair(&tapwire),
        "the guest is still told the MTU 1450, which was asked for; frames over 1400 are lost",
    );
    assert_eq!(told(&tapwire), (1450, 1450));
    tapwire.run(&["lease", "set", BINDING, "--mtu", "1400"]).unwrap();
    assert_eq!(told(&tapwire).1, 1400);
}

#[test]
fn a_tap_gets_its_mtu_back_or_is_followed() {
    lab::require_root!();
    let (tapwire, pod) = bound("tapmtu", "tcx", &[]);
    pod.namespace.ip(&["link", "set", "tap0", "mtu", "1400"]).unwrap();
    assert_degraded(&tapwire, "the MTU of the tap tap0 is 1400, was 1500");
    assert_said(&repair(&tapwire), "the MTU of the tap tap0 was 1400: set it to 1500");
    assert_eq!(told(&tapwire), (1500, 1500));
    tapwire.run(&["detach", BINDING]).unwrap();
    pod.add_tap("tap0").unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    pod.namespace.ip(&["link", "set", "tap0", "mtu", "1400"]).unwrap();
    assert_said(&repair(&tapwire), "the MTU of the tap tap0 is 1400, was 1500: the programs follow");
    assert_eq!(told(&tapwire), (1400, 1400));
    assert_works(&pod, POD_MAC, "10.244.1.5");
}

#[test]
fn no_frame_is_lost_while_a_binding_is_repaired() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("lossless", hook, &[]);
        let tap = TapPort::ready(&pod.namespace, "tap0", Offloads::None).unwrap();
        let network = RawPort::open(&pod.node, &pod.host_side).unwrap();
        let stop = Stop::default();
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut sent = 0_u32;
                while !stop.is_said() {
                    tap.send(&numbered(sent)).unwrap();
                    sent += 1;
                }
                sent
            });
            let ends = stop.guard();
            for mtu in ["1400", "1500", "1400"] {
                pod.namespace.ip(&["link", "set", "eth0", "mtu", mtu]).unwrap();
                repair(&tapwire);
            }
            if hook == "tcx" {
                // Ours is moved before it, and is there twice for a moment.
                let _observer = Foreign::first(&pod.namespace, "tap0", "observer", Verdict::Next).unwrap();
                repair(&tapwire);
            }
            drop(ends);
            sending.join().unwrap()
        });
        let is_numbered = |seen: &Seen| seen.data.get(36..38) == Some(&PORT.to_be_bytes());
        for expected in 0..sent {
            let seen = network.expect("a numbered frame", SOON, is_numbered).unwrap();
            assert_eq!(seen.data[42..46], expected.to_be_bytes(), "{hook}: of {sent}, in their order");
        }
        assert!(sent > 1000, "{sent}");
        let frames = tapwire.counter(BINDING, &["to_network", "frames"]).unwrap();
        assert_eq!(frames, u64::from(sent), "each was counted once");
    }
}

/// The UDP port that numbered frames go to.
const PORT: u16 = 9000;

/// A numbered UDP packet from the guest to all of its network, as a guest with that lease may send it.
fn numbered(number: u32) -> Vec<u8> {
    let mut frame = vec![0; 64];
    frame[..6].fill(0xff);
    for (to, octet) in frame[6..12].iter_mut().zip(POD_MAC.split(':')) {
        *to = u8::from_str_radix(octet, 16).unwrap();
    }
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[16..18].copy_from_slice(&50_u16.to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    frame[26..34].copy_from_slice(&[10, 244, 1, 5, 10, 244, 1, 255]);
    frame[34..36].copy_from_slice(&PORT.to_be_bytes());
    frame[36..38].copy_from_slice(&PORT.to_be_bytes());
    frame[38..40].copy_from_slice(&30_u16.to_be_bytes());
    frame[42..46].copy_from_slice(&number.to_be_bytes());
    frame
}
