//! A guest with a MAC of its own: the network sees the pod NIC's, and the guest is reached all the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use aya::programs::{TcAttachType, tc};
use binding_common::MacAddr;
use binding_user::{
    datapath::{Constants, Programs},
    guard::GuardConstants,
    guest_mac::GuestMac,
    neighbours::ArpTable,
};
use lab::{
    BINDING, ClientKind, DhcpClient, Offloads, Pod, RawPort, Scene, TapPort, Tapwire, guest::GUEST_NIC, pod::POD_MAC,
    scene::ping, watch,
};

const OWN: &str = "02:00:00:00:00:77";
const SOON: Duration = Duration::from_secs(10);

fn octets(mac: &str) -> [u8; 6] {
    mac.parse::<MacAddr>().unwrap().0
}

fn dual_stack(label: &str) -> Pod {
    let pod = Pod::builder(label)
        .addresses(&["10.244.1.5/24", "fd00:244::5/64"])
        .node_addresses(&["10.244.1.1/24", "fd00:244::1/64"]);
    pod.build().unwrap()
}

/// The guest gets its lease, and talks over both families in both directions; nobody on the network sees its MAC.
fn lives_with_a_mac_of_its_own(options: &[&str], offloads: Offloads) {
    let pod = dual_stack("own-mac");
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::with_mac(pod, options, offloads, OWN).unwrap();
    let guest = &scene.guest.namespace;
    let (mut client, lease) = DhcpClient::acquire_on(guest, ClientKind::Dhcpcd).unwrap();
    assert_eq!(lease.address.unwrap().to_string(), "10.244.1.5");
    client.renew(SOON).unwrap();
    assert_eq!(scene.tapwire.show(BINDING).unwrap()["lease"]["mac"], OWN);
    ping(guest, "10.244.1.1").unwrap();
    ping(&scene.pod.node, "10.244.1.5").unwrap();
    guest.ip(&["-6", "addr", "add", "fd00:244::5/64", "dev", GUEST_NIC, "nodad"]).unwrap();
    ping(guest, "fd00:244::1").unwrap();
    // Asked anew, the guest answers with a neighbour advertisement and an ARP reply.
    scene.pod.node.ip(&["neigh", "flush", "dev", &scene.pod.host_side]).unwrap();
    ping(&scene.pod.node, "fd00:244::5").unwrap();
    ping(&scene.pod.node, "10.244.1.5").unwrap();
    let known = scene.pod.node.ip(&["neigh", "show", "dev", &scene.pod.host_side]).unwrap();
    assert!(known.contains(POD_MAC) && !known.contains(OWN), "{known}");
    let seen = watch::all(&host).unwrap();
    let shows_own = |data: &[u8]| data.windows(6).any(|window| window == octets(OWN));
    assert!(seen.iter().filter(|seen| !seen.outgoing).count() > 10);
    assert!(!seen.iter().any(|seen| shows_own(&seen.data)), "the guest's MAC is on the network");
    scene.no_checksum_error().unwrap();
}

#[test]
fn a_guest_with_a_given_mac_lives_by_peer() {
    lab::require_root!();
    lives_with_a_mac_of_its_own(&["--guest-mac", OWN], Offloads::Virtio);
}

#[test]
fn a_guest_whose_mac_is_learnt_lives_by_redirect_on_clsact_without_offloads() {
    lab::require_root!();
    let options = ["--guest-mac", "learn", "--to-network", "redirect", "--hook", "clsact"];
    lives_with_a_mac_of_its_own(&options, Offloads::None);
}

#[test]
fn a_guest_with_a_mac_of_its_own_lives_while_the_nic_keeps_its_mac() {
    lab::require_root!();
    lives_with_a_mac_of_its_own(&["--guest-mac", "learn", "--mac-mode", "keep"], Offloads::Virtio);
}

#[test]
fn a_guest_that_announces_itself_by_rarp_does_so_with_the_nics_mac() {
    lab::require_root!();
    let pod = Pod::new("rarp").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &["--guest-mac", OWN]).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = TapPort::open(&pod.namespace, "tap0", Offloads::None).unwrap();
    // QEMU's announcement after a migration (net/announce.c).
    let announcement = |mac: [u8; 6]| {
        let head = [&[0xff; 6][..], &mac, &[0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3]].concat();
        [head.as_slice(), &mac, &[0; 4], &mac, &[0; 4], &[0; 18]].concat()
    };
    tap.send(&announcement(octets(OWN))).unwrap();
    let expected = announcement(octets(&pod.mac));
    host.expect("the announcement", SOON, |seen| !seen.outgoing && seen.data == expected).unwrap();
}

/// CNIs deliver to a pod by `bpf_redirect_peer`, and leave the MAC that the frame had when it reached the node.
#[test]
fn a_frame_that_comes_by_peer_for_a_mac_of_the_nodes_is_the_guests() {
    lab::require_root!();
    let pod = Pod::new("by-peer").unwrap();
    pod.node.ip(&["link", "add", "in0", "type", "veth", "peer", "name", "in1"]).unwrap();
    for link in ["in0", "in1"] {
        pod.node.ip(&["link", "set", link, "up"]).unwrap();
    }
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    // Our own program, as a CNI's: what it receives it sends on by peer.
    let ifindex = pod.node.run(|| Ok(nix::net::if_::if_nametoindex(pod.host_side.as_str())?)).unwrap();
    let mac = octets(&lab::pod::mac_of(&pod.node, "in0").unwrap());
    let mut programs = Programs::load(
        &Constants {
            nic: ifindex,
            tap: ifindex,
            mtu: 1500,
            tap_mtu: 1500,
            peer: true,
            portal: None,
            from_peer: true,
            network_mac: MacAddr(mac),
            guest_mac: GuestMac::Nic,
            dhcp: None,
            arp: ArpTable::default(),
            guard: GuardConstants::OFF,
        },
        None,
        None,
    )
    .unwrap();
    let program = programs.program("tapwire_tap_in").unwrap();
    pod.node
        .run(|| {
            // For kernels without TCX.
            let _ = tc::qdisc_add_clsact("in0");
            Ok(program.attach("in0", TcAttachType::Ingress)?)
        })
        .unwrap();
    let frame = |to: [u8; 6]| [&to[..], &[2, 0, 0, 0, 0, 5, 0x88, 0xb5], &[7; 46]].concat();
    RawPort::open(&pod.node, "in1").unwrap().send(&frame(mac)).unwrap();
    let expected = frame(octets(&pod.mac));
    tap.expect("the frame", SOON, |seen| seen == expected).unwrap();
}

/// A bridge floods what it does not know. A guest that forwards would send it on, and it would arrive twice.
#[test]
fn a_frame_that_a_bridge_floods_does_not_become_the_guests() {
    lab::require_root!();
    let pod = Pod::new("flooded").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &["--guest-mac", OWN]).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let frame = |to: [u8; 6], mark: u8| [&to[..], &[2, 0, 0, 0, 0, 5, 0x88, 0xb5], &[mark; 46]].concat();
    let others = [2, 0, 0, 0, 0, 0xee];
    host.send(&frame(others, 1)).unwrap();
    host.send(&frame(octets(&pod.mac), 2)).unwrap();
    tap.expect("the flooded frame", SOON, |seen| seen == frame(others, 1)).unwrap();
    tap.expect("the guest's frame", SOON, |seen| seen == frame(octets(OWN), 2)).unwrap();
}

/// A macvlan in passthru mode holds every frame to be for its host, whoever it is for.
#[test]
fn a_frame_for_others_on_a_macvlan_in_passthru_mode_stays_theirs() {
    lab::require_root!();
    let pod = Pod::builder("passthru").nic("parent0").addresses(&[]).routes(&[]).build().unwrap();
    let add = ["link", "add", "eth0", "link", "parent0", "type", "macvlan", "mode", "passthru"];
    pod.namespace.ip(&add).unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "up"]).unwrap();
    pod.namespace.ip(&["addr", "add", "10.244.1.5/24", "dev", "eth0"]).unwrap();
    let tapwire = Tapwire::new().unwrap();
    let (netns, node) = (pod.namespace.name(), pod.node.name());
    tapwire.run(&["attach", "--netns", netns, "--node-netns", node, "--name", BINDING]).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let frame = [&[2, 0, 0, 0, 0, 0xee][..], &[2, 0, 0, 0, 0, 5, 0x88, 0xb5], &[7; 46]].concat();
    host.send(&frame).unwrap();
    tap.expect("the frame as it was", SOON, |seen| seen == frame).unwrap();
}
