//! From wherever a frame comes, the guest is reached by the portal, and its own frames go where they should.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use lab::{
    ClientKind, DhcpClient, Namespace, Offloads, Pod, Scene,
    guest::GUEST_NIC,
    pair::{self, NODE, Pair, SECOND},
    pod::{Joint, POD_MAC},
    portal,
    scene::{checksum_errors, ping},
};

use crate::wire::{BROADCAST, HOST, SOON, Wire, addressed, way};

/// Octets of a stream: enough for segments of 64 KiB.
const OCTETS: usize = 4 << 20;

/// A stream from one address to another, of which each octet must arrive.
pub(crate) fn stream(from: &Namespace, to: (&Namespace, &str)) {
    let sent: Vec<u8> = (0..=250).cycle().take(OCTETS).collect();
    let listener = to.0.run(|| Ok(TcpListener::bind((to.1, 7001))?)).unwrap();
    let mut sender = from.run(|| Ok(TcpStream::connect((to.1, 7001))?)).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    for socket in [&sender, &receiver] {
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
    }
    let received = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).unwrap();
            received
        });
        sender.write_all(&sent).unwrap();
        drop(sender);
        reading.join().unwrap()
    });
    assert!(received == sent, "{} octets arrived of {}", received.len(), sent.len());
}

fn no_checksum_error(namespaces: &[&Namespace]) {
    for namespace in namespaces {
        let wrong: Vec<_> = checksum_errors(namespace).unwrap().into_iter().filter(|(_, count)| *count != 0).collect();
        assert_eq!(wrong, [], "{}", namespace.name());
    }
}

/// Pings and streams between two; both portals send, and the pod NICs receive nothing.
fn reach_each_other(pair: &Pair, ends: [(&Namespace, &str); 2]) {
    let count = || portal::all(&pair.pod.node).unwrap().iter().map(|portal| portal.sent).sum::<u64>();
    let (before, by_veth) = (count(), portal::by_veth(&pair.pod).unwrap());
    for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
        ping(from.0, to.1).unwrap();
        stream(from.0, to);
    }
    assert!(count() > before + 100, "the portals sent {} frames", count() - before);
    assert_eq!(portal::by_veth(&pair.pod).unwrap(), by_veth, "frames went by the veth");
    no_checksum_error(&[ends[0].0, ends[1].0, &pair.pod.node]);
}

fn guests_reach_each_other(label: &str, joint: Joint, options: &[&str]) {
    let pair = Pair::new(label, joint, options).unwrap();
    for name in ["a", "b"] {
        assert_eq!(way(&pair.tapwire, name).0, "portal");
    }
    let [first, second] = &pair.guests;
    reach_each_other(&pair, [(&first.namespace, pair::FIRST), (&second.namespace, SECOND)]);
    reach_each_other(&pair, [(&pair.pod.node, NODE), (&second.namespace, SECOND)]);
}

#[test]
fn guests_on_one_bridge_reach_each_other_and_the_node() {
    lab::require_root!();
    guests_reach_each_other("bridge", Joint::Bridge, &[]);
}

#[test]
fn guests_that_the_node_routes_between_reach_each_other_and_the_node() {
    lab::require_root!();
    guests_reach_each_other("ptp", Joint::Veth, &[]);
}

#[test]
fn guests_reach_each_other_on_clsact_with_nics_that_keep_their_macs() {
    lab::require_root!();
    guests_reach_each_other("keep", Joint::Veth, &["--hook", "clsact", "--mac-mode", "keep"]);
}

#[test]
fn guests_reach_each_other_where_frames_to_the_network_are_redirected() {
    lab::require_root!();
    guests_reach_each_other("redirected", Joint::Bridge, &["--to-network", "redirect"]);
}

#[test]
fn a_pod_reaches_the_guest_of_another_pod() {
    lab::require_root!();
    for (label, joint) in [("pod-bridge", Joint::Bridge), ("pod-ptp", Joint::Veth)] {
        let pod = pair::builder(label, joint, pair::FIRST).build().unwrap();
        pod.node.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
        let beside = pair::builder(&format!("{label}-b"), joint, SECOND).mac(pair::SECOND_MAC);
        let beside = beside.build_beside(&pod).unwrap();
        let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
        let (mut client, lease) = DhcpClient::acquire_on(&scene.guest.namespace, ClientKind::Dhcpcd).unwrap();
        assert_eq!(lease.address.unwrap().to_string(), pair::FIRST);
        let before = portal::only(&scene.pod.node).unwrap().sent;
        ping(&beside, pair::FIRST).unwrap();
        ping(&scene.guest.namespace, SECOND).unwrap();
        stream(&beside, (&scene.guest.namespace, pair::FIRST));
        stream(&scene.guest.namespace, (&beside, SECOND));
        assert!(portal::only(&scene.pod.node).unwrap().sent > before + 100, "{label}");
        client.renew(SOON).unwrap();
        no_checksum_error(&[&beside, &scene.guest.namespace, &scene.pod.node]);
    }
}

#[test]
fn a_guest_without_offloads_gets_whole_frames_with_whole_checksums() {
    lab::require_root!();
    let scene = Scene::new(Pod::new("plain").unwrap(), &[], Offloads::None).unwrap();
    scene.guest.configure("10.244.1.5/24", Some(NODE)).unwrap();
    let before = portal::only(&scene.pod.node).unwrap().sent;
    stream(&scene.pod.node, (&scene.guest.namespace, pair::FIRST));
    stream(&scene.guest.namespace, (&scene.pod.node, NODE));
    assert!(portal::only(&scene.pod.node).unwrap().sent > before + 100);
    scene.no_checksum_error().unwrap();
}

#[test]
fn ipv6_reaches_the_guest_through_the_portal() {
    lab::require_root!();
    let pod = Pod::builder("six")
        .addresses(&["10.244.1.5/24", "fd00:244::5/64"])
        .node_addresses(&["10.244.1.1/24", "fd00:244::1/64"]);
    let scene = Scene::new(pod.build().unwrap(), &[], Offloads::Virtio).unwrap();
    let guest = &scene.guest.namespace;
    guest.ip(&["-6", "addr", "add", "fd00:244::5/64", "dev", GUEST_NIC, "nodad"]).unwrap();
    let by_veth = portal::by_veth(&scene.pod).unwrap();
    ping(&scene.pod.node, "fd00:244::5").unwrap();
    ping(guest, "fd00:244::1").unwrap();
    stream(&scene.pod.node, (guest, "fd00:244::5"));
    stream(guest, (&scene.pod.node, "fd00:244::1"));
    assert_eq!(portal::by_veth(&scene.pod).unwrap(), by_veth);
    scene.no_checksum_error().unwrap();
}

#[test]
fn a_guest_with_a_mac_of_its_own_is_reached_through_the_portal() {
    lab::require_root!();
    for options in [["--guest-mac", "02:00:00:00:00:77"], ["--guest-mac", "learn"]] {
        let pod = Pod::new("own-mac").unwrap();
        let scene = Scene::with_mac(pod, &options, Offloads::Virtio, "02:00:00:00:00:77").unwrap();
        scene.guest.configure("10.244.1.5/24", Some(NODE)).unwrap();
        ping(&scene.guest.namespace, NODE).unwrap();
        let (sent, by_veth) = (portal::only(&scene.pod.node).unwrap().sent, portal::by_veth(&scene.pod).unwrap());
        // Asked anew, the guest answers by ARP, and the network sees the pod NIC's MAC.
        scene.pod.node.ip(&["neigh", "flush", "dev", &scene.pod.host_side]).unwrap();
        ping(&scene.pod.node, "10.244.1.5").unwrap();
        stream(&scene.pod.node, (&scene.guest.namespace, pair::FIRST));
        let known = scene.pod.node.ip(&["neigh", "show", "dev", &scene.pod.host_side]).unwrap();
        assert!(known.contains(POD_MAC) && !known.contains("02:00:00:00:00:77"), "{known}");
        assert!(portal::only(&scene.pod.node).unwrap().sent > sent);
        assert_eq!(portal::by_veth(&scene.pod).unwrap(), by_veth);
        scene.no_checksum_error().unwrap();
    }
}

#[test]
fn broadcast_and_multicast_reach_the_guest_once() {
    lab::require_root!();
    let wire = Wire::new("cast", &[]);
    for to in [BROADCAST, [0x01, 0, 0x5e, 0, 0, 0xfb], [0x33, 0x33, 0, 0, 0, 1], [0x01, 0x80, 0xc2, 0, 0, 0x0e]] {
        let sent = wire.portal().sent;
        wire.to_guest(&addressed(to, HOST, 1));
        assert!(wire.portal().sent > sent, "{to:02x?}");
        wire.nothing_came(&format!("once more {to:02x?}"));
    }
}

#[test]
fn what_is_for_another_mac_reaches_the_guest_as_it_is() {
    lab::require_root!();
    let wire = Wire::new("others", &["--guest-mac", "02:00:00:00:00:77"]);
    // As by redirect: the wire is no bridge, and what a bridge floods must not become the guest's.
    wire.to_guest(&addressed([2, 0, 0, 0, 0, 0xee], HOST, 1));
    wire.host.send(&addressed(crate::wire::GUEST, HOST, 2)).unwrap();
    wire.arrives(&addressed([2, 0, 0, 0, 0, 0x77], HOST, 2));
}
