//! Streams: what TCP and UDP make of the wire, with and without the guest's offloads.
//!
//! No speed is asserted. What counts is that segments cross whole where both sides can take them, that every checksum is
//! right when it is looked at, and that nothing is lost that was not dropped by name.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::{net::UdpSocket, process::Stdio, time::Duration};

use lab::{
    BINDING, Namespace, Offloads, Pod, Scene, cmd,
    wait::{wait_for, wait_until},
};

const NODE: &str = "10.244.1.1";
const GUEST: &str = "10.244.1.5";
/// Datagrams each way.
const COUNT: u32 = 5000;
const SOON: Duration = Duration::from_secs(10);

/// A guest with the lease's address, configured by hand.
fn scene(label: &str, options: &[&str], offloads: Offloads) -> Scene {
    let scene = Scene::new(Pod::new(label).unwrap(), options, offloads).unwrap();
    scene.guest.configure("10.244.1.5/24", Some(NODE)).unwrap();
    lab::scene::ping(&scene.guest.namespace, NODE).unwrap();
    scene
}

/// Frames and octets of one way.
fn traffic(scene: &Scene, way: &str) -> (u64, u64) {
    let count = |what| scene.tapwire.counter(BINDING, &[way, what]).unwrap();
    (count("frames"), count("bytes"))
}

/// Runs iperf3 for two seconds from the guest to the node, or back, and gives the octets that arrived.
fn iperf(scene: &Scene, reverse: bool) -> u64 {
    let mut server = cmd::command(&["iperf3", "-s", "-1", "-B", NODE]).unwrap();
    let _server = scene.pod.node.spawn(server.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    wait_until("iperf3 to listen", SOON, || Ok(scene.pod.node.exec(&["ss", "-Hltn"])?.contains(":5201"))).unwrap();
    let mut line = vec!["iperf3", "-c", NODE, "-t", "2", "-J"];
    line.extend(reverse.then_some("-R"));
    let report = scene.guest.exec(&line).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    report["end"]["sum_received"]["bytes"].as_u64().unwrap()
}

fn streams_both_ways(options: &[&str], offloads: Offloads) {
    let scene = scene("iperf", options, offloads);
    for (way, reverse) in [("to_network", false), ("to_guest", true)] {
        let before = traffic(&scene, way);
        let arrived = iperf(&scene, reverse);
        let after = traffic(&scene, way);
        let (frames, bytes) = (after.0 - before.0, after.1 - before.1);
        assert!(arrived > 0 && bytes >= arrived, "{way}: {arrived} octets arrived, {bytes} were counted");
        // Larger than the MTU on average: then at least one was. The node's segments are cut at the tap, behind us.
        let large = bytes / frames > 1514;
        assert_eq!(large, reverse || offloads == Offloads::Virtio, "{way}: {frames} frames of {bytes} octets");
    }
    scene.no_checksum_error().unwrap();
    assert_eq!(scene.dropped("too-big").unwrap(), 0);
}

#[test]
fn tcp_crosses_in_whole_segments_by_peer() {
    lab::require_root!();
    streams_both_ways(&["--to-network", "peer"], Offloads::Virtio);
}

#[test]
fn tcp_crosses_in_whole_segments_by_redirect() {
    lab::require_root!();
    streams_both_ways(&["--to-network", "redirect"], Offloads::Virtio);
}

#[test]
fn tcp_crosses_in_whole_segments_on_clsact() {
    lab::require_root!();
    streams_both_ways(&["--hook", "clsact"], Offloads::Virtio);
}

#[test]
fn tcp_of_a_guest_without_offloads_crosses_by_peer() {
    lab::require_root!();
    streams_both_ways(&["--to-network", "peer"], Offloads::None);
}

#[test]
fn tcp_of_a_guest_without_offloads_crosses_by_redirect() {
    lab::require_root!();
    streams_both_ways(&["--to-network", "redirect"], Offloads::None);
}

#[test]
fn tcp_of_a_guest_without_offloads_crosses_on_clsact() {
    lab::require_root!();
    streams_both_ways(&["--hook", "clsact"], Offloads::None);
}

/// A socket in a namespace.
fn socket(namespace: &Namespace, address: &str) -> UdpSocket {
    let socket = namespace.run(|| Ok(UdpSocket::bind((address, 7000))?)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Sends datagrams with numbers in them one way, never more at a time than a queue holds, and gives those that came.
fn numbers_that_came(from: &UdpSocket, to: &UdpSocket, count: u32) -> Vec<u32> {
    let address = to.local_addr().unwrap();
    let mut came = Vec::new();
    for batch in (0..count).collect::<Vec<_>>().chunks(50) {
        for number in batch {
            from.send_to(&number.to_be_bytes(), address).unwrap();
        }
        for _ in batch {
            let mut octets = [0; 4];
            // A timeout is a lost datagram.
            match to.recv(&mut octets) {
                Ok(4) => came.push(u32::from_be_bytes(octets)),
                other => panic!("{other:?} after {} datagrams", came.len()),
            }
        }
    }
    came
}

#[test]
fn every_datagram_arrives_once_in_order_and_is_counted() {
    lab::require_root!();
    for options in [["--to-network", "peer"], ["--to-network", "redirect"], ["--hook", "clsact"]] {
        let scene = scene("udp", &options, Offloads::Virtio);
        let guest = socket(&scene.guest.namespace, GUEST);
        let node = socket(&scene.pod.node, NODE);
        for (way, from, to) in [("to_network", &guest, &node), ("to_guest", &node, &guest)] {
            let before = traffic(&scene, way).0;
            let came = numbers_that_came(from, to, COUNT);
            assert!(came.iter().copied().eq(0..COUNT), "{options:?}, {way}: out of order");
            let counted = traffic(&scene, way).0 - before;
            // A few more are neighbours asking for each other.
            assert!((u64::from(COUNT)..u64::from(COUNT) + 50).contains(&counted), "{options:?}, {way}: {counted}");
        }
        scene.no_checksum_error().unwrap();
    }
}

#[test]
fn nothing_is_lost_while_no_process_runs_and_show_looks_on() {
    lab::require_root!();
    let scene = scene("looks", &[], Offloads::Virtio);
    let (guest, node) = (socket(&scene.guest.namespace, GUEST), socket(&scene.pod.node, NODE));
    assert!(scene.tapwire.processes().unwrap().is_empty());
    std::thread::scope(|scope| {
        let numbers = scope.spawn(|| numbers_that_came(&guest, &node, 20_000));
        wait_for("the datagrams", Duration::from_mins(1), || {
            scene.tapwire.show(BINDING)?;
            Ok(numbers.is_finished().then_some(()))
        })
        .unwrap();
        assert!(numbers.join().unwrap().into_iter().eq(0..20_000));
    });
}
