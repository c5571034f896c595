//! Links that went down, settings that somebody changed, MTUs.

use std::time::Duration;

use lab::{
    BINDING, Foreign, Guest, Offloads, Pod, RawPort, TapPort, Tapwire, Verdict,
    pod::{HOST_MAC, POD_MAC},
    raw::Seen,
    stop::Stop,
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

/// Gives a binding something to repair that is not missing, again and again, and repairs it.
fn keep_repairing(tapwire: &Tapwire, pod: &Pod, hook: &str) {
    for mtu in ["1400", "1500", "1400"] {
        pod.namespace.ip(&["link", "set", "eth0", "mtu", mtu]).unwrap();
        repair(tapwire);
    }
    if hook == "tcx" {
        // Ours are moved before it, and are there twice for a moment.
        let _observers =
            ["tap0", "eth0"].map(|device| Foreign::first(&pod.namespace, device, "observer", Verdict::Next).unwrap());
        repair(tapwire);
    }
}

#[test]
fn no_frame_is_lost_while_a_binding_is_repaired() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("lossless", hook, &[]);
        let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
        let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
        let stop = Stop::default();
        let frames = std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ends = stop.guard();
                keep_repairing(&tapwire, &pod, hook);
            });
            let mut number = 0_u32;
            while !stop.is_said() || number < 100 {
                // In step with the receiver, so that what is lost is lost between the two.
                number += 1;
                let (to, back) = (datagram(number, [GUEST, OTHER]), datagram(number, [OTHER, GUEST]));
                tap.send(&to).unwrap();
                let is_it = |seen: &Seen| !seen.outgoing && seen.data == to;
                host.expect(&format!("{hook}: frame {number} of the guest"), SOON, is_it).unwrap();
                host.send(&back).unwrap();
                let is_it = |seen: &[u8]| seen == back;
                tap.expect(&format!("{hook}: frame {number} to the guest"), SOON, is_it).unwrap();
            }
            u64::from(number)
        });
        let counted = |way: &str| tapwire.counter(BINDING, &[way, "frames"]).unwrap();
        assert_eq!(counted("to_network"), frames, "each was counted once");
        assert!(counted("to_guest") >= frames, "the counters go on");
    }
}

/// MAC and address of the guest.
const GUEST: (&str, [u8; 4]) = (POD_MAC, [10, 244, 1, 5]);
/// Of a host of its subnet, which the node itself is not: nobody answers.
const OTHER: (&str, [u8; 4]) = (HOST_MAC, [10, 244, 1, 99]);

/// A numbered UDP packet from one to another.
fn datagram(number: u32, [from, to]: [(&str, [u8; 4]); 2]) -> Vec<u8> {
    let mac = |text: &str| text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect::<Vec<_>>();
    let ipv4 = [0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0];
    let udp = [35, 40, 35, 40, 0, 30, 0, 0];
    let (ends, addresses) = ([mac(to.0), mac(from.0)].concat(), [from.1, to.1].concat());
    [&ends[..], &[8, 0], &ipv4, &addresses, &udp, &number.to_be_bytes(), &[0; 18]].concat()
}
