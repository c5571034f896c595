//! Clients that renew or rebind by the clock alone.
//!
//! The shortest lease that tapwire gives is 30 seconds, so they wait for long, and do it all at once, in threads.

use std::{net::Ipv4Addr, thread};

use lab::{ClientKind, DhcpClient, Offloads, Pod, RawPort, Scene, scene::ping};

use crate::{
    LATER, SOON,
    life::{GATEWAY, asks, assert_is_the_pods, finds_the_stand_in, nothing_was_amiss, nothing_was_amiss_but},
    lost::move_pod,
};

const SECONDS: u32 = 30;

/// The shortest lease to live on.
fn scene(label: &str, offloads: Offloads) -> (RawPort, Scene) {
    let pod = Pod::builder(label).mtu(1450).build().unwrap();
    pod.add_tap("tap0").unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, &["--hostname", "vm-1", "--lease-time", "30"], offloads).unwrap();
    (host, scene)
}

/// In the middle of its lease.
fn renews(kind: ClientKind, offloads: Offloads) {
    let (host, scene) = scene("renew", offloads);
    let (mut client, lease) = DhcpClient::acquire_on(&scene.guest.namespace, kind).unwrap();
    assert_is_the_pods(kind, SECONDS, &lease);
    let lease = asks(&scene, GATEWAY, || client.renew(SOON).unwrap());
    assert_is_the_pods(kind, SECONDS, &lease);
    nothing_was_amiss(&scene, &host);
}

/// Near the end of its lease, when its server did not answer.
fn rebinds(kind: ClientKind, offloads: Offloads) {
    let (host, scene) = scene("rebind", offloads);
    let (mut client, lease) = DhcpClient::acquire_on(&scene.guest.namespace, kind).unwrap();
    assert_is_the_pods(kind, SECONDS, &lease);
    let discovers = scene.dhcp("discover").unwrap();
    let lease = asks(&scene, Ipv4Addr::BROADCAST, || client.rebind(LATER).unwrap());
    assert_is_the_pods(kind, SECONDS, &lease);
    // It is still the same lease, and none that was taken anew.
    assert_eq!(scene.dhcp("discover").unwrap(), discovers);
    nothing_was_amiss(&scene, &host);
}

/// In the middle of its lease, when its pod has another address since.
fn is_told_that_its_address_is_lost(kind: ClientKind) {
    let (host, scene) = scene("lost", Offloads::Virtio);
    let (mut client, _lease) = DhcpClient::acquire_on(&scene.guest.namespace, kind).unwrap();
    scene.reattach(move_pod, &["--lease-time", "30"]).unwrap();
    let lease = client.renew(SOON).unwrap();
    assert_eq!(lease.address, Some(Ipv4Addr::new(10, 244, 1, 6)));
    assert_eq!(scene.dhcp("nak").unwrap(), 1);
    ping(&scene.guest.namespace, "10.244.1.1").unwrap();
    // What it says as the lost address beside looking for its server is not its own to say.
    nothing_was_amiss_but(&scene, &host, &["spoofed-arp", "spoofed-ipv4"]);
}

#[test]
fn clients_that_go_by_the_clock_renew_and_rebind_and_hear_of_a_lost_address() {
    lab::require_root!();
    thread::scope(|scope| {
        for offloads in [Offloads::Virtio, Offloads::None] {
            scope.spawn(move || renews(ClientKind::NetworkManager, offloads));
            scope.spawn(move || rebinds(ClientKind::NetworkManager, offloads));
            scope.spawn(move || rebinds(ClientKind::Networkd, offloads));
        }
        scope.spawn(|| finds_the_stand_in(ClientKind::NetworkManager, &["--lease-time", "30"]));
        scope.spawn(|| is_told_that_its_address_is_lost(ClientKind::NetworkManager));
    });
}
