//! ARP where the network answers too much, or nothing at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use lab::{ClientKind, DhcpClient, Offloads, Pod, RawPort, Scene, pod::HOST_MAC, scene::ping, stop::Stop};

/// A gateway that answers for every address, that of the pod included (RFC 1027 without a thought).
fn answer_all(host: &RawPort, stop: &Stop) {
    while !stop.is_said() {
        let Some(seen) = host.receive(Duration::from_millis(50)).unwrap() else { continue };
        let request = &seen.data;
        if seen.outgoing || request.get(12..14) != Some(&[8, 6]) || request[21] != 1 {
            continue;
        }
        let mac = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x01];
        let head = [&request[6..12], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac, &request[38..42]].concat();
        host.send(&[head.as_slice(), &request[22..32]].concat()).unwrap();
    }
}

#[test]
fn a_gateway_that_answers_for_every_address_does_not_have_the_guest_decline_its_own() {
    lab::require_root!();
    let pod = Pod::new("answers-all").unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let stop = Stop::default();
    std::thread::scope(|scope| {
        scope.spawn(|| answer_all(&host, &stop));
        let _ends = stop.guard();
        // It probes the address before it takes it (RFC 5227).
        let (_client, _) = DhcpClient::acquire_on(&scene.guest.namespace, ClientKind::Dhcpcd).unwrap();
        ping(&scene.guest.namespace, "10.244.1.1").unwrap();
    });
    assert!(scene.dropped("arp-conflict").unwrap() > 0, "nobody had asked");
    assert_eq!(scene.dhcp("decline").unwrap(), 0);
}

#[test]
fn a_guest_finds_a_gateway_that_answers_no_arp_when_all_are_answered_for() {
    lab::require_root!();
    let pod = Pod::new("answers-none").unwrap();
    let mac = pod.mac.clone();
    let host_side = pod.host_side.clone();
    pod.node.ip(&["link", "set", &host_side, "arp", "off"]).unwrap();
    pod.node.ip(&["neigh", "replace", "10.244.1.5", "lladdr", &mac, "dev", &host_side]).unwrap();
    let scene = Scene::new(pod, &["--arp-reply-all"], Offloads::Virtio).unwrap();
    let neighbours = &scene.tapwire.show(lab::BINDING).unwrap()["lease"]["neighbours"];
    assert_eq!(neighbours, &serde_json::json!([{ "address": null, "mac": HOST_MAC }]));
    let (_client, _) = DhcpClient::acquire_on(&scene.guest.namespace, ClientKind::Dhcpcd).unwrap();
    ping(&scene.guest.namespace, "10.244.1.1").unwrap();
    assert!(scene.counter(&["arp", "replies"]).unwrap() > 0);
    assert_eq!(scene.dhcp("decline").unwrap(), 0);
}
