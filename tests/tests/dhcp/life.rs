//! The life of a lease: taken, renewed, rebound, given back, taken again.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use lab::{
    BINDING, ClientKind, DhcpClient, LeaseSeen, Offloads, Pod, RawPort, Scene, guest::GUEST_NIC, scene::ping,
    wait::wait_until, watch,
};

use crate::{LATER, SOON, applies_routes, options, rebinds_when_told, releases, renews_when_told};

pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);

pub(crate) fn assert_is_the_pods(kind: ClientKind, seconds: u32, lease: &LeaseSeen) {
    let has_route = |start: &str| lease.routes.iter().any(|route| route.starts_with(start));
    assert_eq!((lease.address, lease.prefix), (Some(Ipv4Addr::new(10, 244, 1, 5)), 24));
    assert_eq!(lease.router, Some(GATEWAY));
    assert!(has_route("default via 10.244.1.1 "), "{:?}", lease.routes);
    assert_eq!(has_route("10.244.0.0/16 via 10.244.1.1 "), applies_routes(kind), "{:?}", lease.routes);
    let classless = lease.classless.as_deref().unwrap_or_default();
    assert!(
        classless.contains("244") && classless.contains("10.244.1.1") || kind == ClientKind::Dhclient,
        "{classless}"
    );
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 96, 0, 10)], "{}", lease.resolv_conf);
    assert_eq!(lease.domain.as_deref(), Some("default.svc.cluster.local"));
    assert_eq!(lease.search, ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
    // klibc's does not tell.
    assert_eq!(lease.mtu, (kind != ClientKind::Ipconfig).then_some(1450));
    // dhcpcd puts it on the routes.
    assert_eq!(lease.link_mtu, if kind == ClientKind::Dhcpcd { 1500 } else { 1450 });
    assert_eq!(lease.server_id, Some(GATEWAY));
    assert_eq!(lease.lease_seconds, Some(seconds));
    assert_eq!(lease.hostname.as_deref(), Some("vm-1"));
}

/// Looks whether a request and its answer were counted, and whether it was sent where it should.
pub(crate) fn asks(scene: &Scene, to: Ipv4Addr, ask: impl FnOnce() -> LeaseSeen) -> LeaseSeen {
    let guest = RawPort::open(&scene.guest.namespace, GUEST_NIC).unwrap();
    let (requests, acks) = (scene.dhcp("request").unwrap(), scene.dhcp("ack").unwrap());
    let lease = ask();
    // A client that goes by the clock may have been about to ask when the counters were read: its next turn shows it.
    let mut sent = Vec::new();
    let asked = wait_until(&format!("a request to {to} and its answer"), SOON, || {
        sent.extend(watch::sent_to(&guest)?);
        Ok(sent.contains(&to) && scene.dhcp("request")? > requests && scene.dhcp("ack")? > acks)
    });
    asked.with_context(|| format!("it asked at {sent:?}")).unwrap();
    assert!(scene.tapwire.processes().unwrap().is_empty());
    lease
}

fn life_of_a_lease(kind: ClientKind, offloads: Offloads, more: &[&str]) {
    let pod = Pod::builder("life").mtu(1450).build().unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let arguments = [&["--hostname", "vm-1", "--lease-time", "3600"], more].concat();
    let scene = Scene::new(pod, &arguments, offloads).unwrap();
    let nobody_is_needed = || assert!(scene.tapwire.processes().unwrap().is_empty());
    let guest = &scene.guest.namespace;
    nobody_is_needed();

    let mut client = DhcpClient::start_with(guest, kind, options(kind)).unwrap();
    assert_is_the_pods(kind, 3600, &client.acquire(SOON).unwrap());
    // On the first try.
    assert_eq!((scene.dhcp("discover").unwrap(), scene.dhcp("nak").unwrap()), (1, 0));
    // It asks for the ACK at once (RFC 4039); the others choose from offers.
    assert_eq!(scene.dhcp("offer").unwrap() == 0, kind == ClientKind::Dhcpcd);
    if renews_when_told(kind) {
        let lease = asks(&scene, GATEWAY, || client.renew(SOON).unwrap());
        assert_is_the_pods(kind, 3600, &lease);
    }
    if rebinds_when_told(kind) {
        let lease = asks(&scene, Ipv4Addr::BROADCAST, || client.rebind(LATER).unwrap());
        assert_is_the_pods(kind, 3600, &lease);
    }
    nobody_is_needed();
    ping(guest, "10.244.1.1").unwrap();
    ping(&scene.pod.node, "10.244.1.5").unwrap();

    leaves(&scene, client, kind);
    let mut client = DhcpClient::start_with(guest, kind, options(kind)).unwrap();
    assert_is_the_pods(kind, 3600, &client.acquire(SOON).unwrap());
    ping(guest, "10.244.1.1").unwrap();
    nobody_is_needed();

    assert_eq!(scene.dhcp("nak").unwrap(), 0);
    nothing_was_amiss(&scene, &host);
}

/// Gives the lease back where the client does that, and else goes without a word.
fn leaves(scene: &Scene, mut client: DhcpClient<'_>, kind: ClientKind) {
    if releases(kind) {
        client.release(SOON).unwrap();
        wait_until("the release", SOON, || Ok(scene.dhcp("release")? == 1)).unwrap();
    }
    drop(client);
    scene.guest.namespace.ip(&["-4", "addr", "flush", "dev", GUEST_NIC]).unwrap();
}

/// No message of the client got out, nothing of it was dropped, no checksum was wrong.
pub(crate) fn nothing_was_amiss(scene: &Scene, host: &RawPort) {
    nothing_was_amiss_but(scene, host, &[]);
}

/// The same, but for drops that are right.
pub(crate) fn nothing_was_amiss_but(scene: &Scene, host: &RawPort, reasons: &[&str]) {
    watch::heard_no_client(host).unwrap();
    let mut shown = scene.tapwire.show(BINDING).unwrap();
    let dropped = shown["counters"]["dropped"].as_object_mut().unwrap();
    // A NIC that keeps its MAC has a stack of the pod behind it, which is no client.
    for reason in reasons.iter().chain(&["pod-stack"]) {
        dropped.remove(*reason);
    }
    assert!(dropped.is_empty(), "{dropped:?}");
    scene.no_checksum_error().unwrap();
}

#[test]
fn udhcpc_lives_on_the_lease() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Udhcpc, Offloads::Virtio, &[]);
}

#[test]
fn udhcpc_lives_on_the_lease_without_offloads_on_clsact() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Udhcpc, Offloads::None, &["--hook", "clsact"]);
}

#[test]
fn dhclient_lives_on_the_lease() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Dhclient, Offloads::Virtio, &[]);
}

#[test]
fn dhclient_lives_on_the_lease_without_offloads_by_redirect() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Dhclient, Offloads::None, &["--to-network", "redirect"]);
}

#[test]
fn dhcpcd_lives_on_the_lease() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Dhcpcd, Offloads::None, &[]);
}

#[test]
fn dhcpcd_lives_on_the_lease_while_the_nic_keeps_its_mac() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Dhcpcd, Offloads::Virtio, &["--mac-mode", "keep"]);
}

#[test]
fn networkd_lives_on_the_lease() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Networkd, Offloads::Virtio, &[]);
}

#[test]
fn networkd_lives_on_the_lease_without_offloads() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Networkd, Offloads::None, &[]);
}

#[test]
fn network_manager_lives_on_the_lease() {
    lab::require_root!();
    life_of_a_lease(ClientKind::NetworkManager, Offloads::Virtio, &[]);
}

#[test]
fn network_manager_lives_on_the_lease_without_offloads() {
    lab::require_root!();
    life_of_a_lease(ClientKind::NetworkManager, Offloads::None, &[]);
}

#[test]
fn ipconfig_takes_the_lease() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Ipconfig, Offloads::Virtio, &[]);
}

#[test]
fn ipconfig_takes_the_lease_without_offloads() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Ipconfig, Offloads::None, &[]);
}

/// Without a gateway the server is at an address that only the programs have.
pub(crate) fn finds_the_stand_in(kind: ClientKind, more: &[&str]) {
    let pod = Pod::builder("stand-in").routes(&[]).build().unwrap();
    let scene = Scene::new(pod, more, Offloads::Virtio).unwrap();
    let stand_in = Ipv4Addr::new(169, 254, 75, 10);
    let mut client = DhcpClient::start_with(&scene.guest.namespace, kind, options(kind)).unwrap();
    let lease = client.acquire(SOON).unwrap();
    assert_eq!((lease.server_id, lease.router), (Some(stand_in), None));
    assert!(lease.routes.iter().any(|route| route.starts_with("169.254.75.10 ")), "{:?}", lease.routes);
    let guest = RawPort::open(&scene.guest.namespace, GUEST_NIC).unwrap();
    client.renew(SOON).unwrap();
    let sent = watch::sent_to(&guest).unwrap();
    assert!(sent.contains(&stand_in), "{sent:?}");
    assert!(scene.counter(&["arp", "replies"]).unwrap() > 0);
}

#[test]
fn dhclient_renews_where_there_is_no_gateway() {
    lab::require_root!();
    finds_the_stand_in(ClientKind::Dhclient, &[]);
}

#[test]
fn dhcpcd_renews_where_there_is_no_gateway() {
    lab::require_root!();
    finds_the_stand_in(ClientKind::Dhcpcd, &[]);
}

#[test]
fn networkd_renews_where_there_is_no_gateway() {
    lab::require_root!();
    finds_the_stand_in(ClientKind::Networkd, &[]);
}
