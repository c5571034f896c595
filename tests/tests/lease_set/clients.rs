//! What real clients make of it: the one that renews has the new values, the one whose address is gone the new address.

use std::net::Ipv4Addr;

use lab::{
    ClientKind, DhcpClient, Offloads, Pod, RawPort, Scene, clients::ClientOptions, scene::ping, wait::wait_for, watch,
};

use crate::{SOON, set};

fn client(scene: &Scene, kind: ClientKind) -> DhcpClient<'_> {
    // It renews by the clock alone.
    let times = (kind == ClientKind::Dhclient).then_some((2, 5));
    let options = ClientOptions { times, ..ClientOptions::default() };
    let mut client = DhcpClient::start_with(&scene.guest.namespace, kind, options).unwrap();
    client.acquire(SOON).unwrap();
    client
}

/// Names, MTU, routes and the lease time, with the address left as it is.
fn renews_with_the_new_values(kind: ClientKind, options: &[&str]) {
    let pod = Pod::new("new-values").unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, options, Offloads::Virtio).unwrap();
    let mut client = client(&scene, kind);
    let counted = scene.dhcp("ack").unwrap();
    let change = ["--dns", "10.96.0.99", "--search", "new.example", "--hostname", "new", "--mtu", "1400"];
    let routes = ["--route", "10.9.0.0/16 via 10.244.1.1,default via 10.244.1.1", "--lease-time", "7200"];
    let shown = set(&scene.tapwire, &[change.as_slice(), &routes].concat());
    assert_eq!(shown["state"], "ready");
    assert!(scene.dhcp("ack").unwrap() >= counted, "the counters go on");
    let mut lease = client.renew(SOON).unwrap();
    if kind == ClientKind::Networkd {
        // What it has is read from its files, which it writes a moment after it says so.
        lease = wait_for("its files", SOON, || Ok(Some(client.renew(SOON)?).filter(|lease| lease.mtu == Some(1400))))
            .unwrap();
    }
    assert_eq!(lease.address, Some(Ipv4Addr::new(10, 244, 1, 5)));
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 96, 0, 99)], "{}", lease.resolv_conf);
    assert_eq!((lease.domain.as_deref(), lease.mtu), (Some("new.example"), Some(1400)));
    assert_eq!((lease.hostname.as_deref(), lease.lease_seconds), (Some("new"), Some(7200)));
    if kind == ClientKind::Dhcpcd {
        assert!(
            lease.routes.iter().any(|route| route.starts_with("10.9.0.0/16 via 10.244.1.1 ")),
            "{:?}",
            lease.routes
        );
        assert!(!lease.routes.iter().any(|route| route.starts_with("10.244.0.0/16 ")), "{:?}", lease.routes);
    }
    ping(&scene.guest.namespace, "10.244.1.1").unwrap();
    assert_eq!(scene.dhcp("nak").unwrap(), 0);
    assert!(scene.tapwire.processes().unwrap().is_empty());
    watch::heard_no_client(&host).unwrap();
}

#[test]
fn udhcpc_renews_with_the_new_values() {
    lab::require_root!();
    renews_with_the_new_values(ClientKind::Udhcpc, &[]);
}

#[test]
fn dhclient_renews_with_the_new_values_on_clsact() {
    lab::require_root!();
    renews_with_the_new_values(ClientKind::Dhclient, &["--hook", "clsact"]);
}

#[test]
fn dhcpcd_renews_with_the_new_values_while_the_nic_keeps_its_mac() {
    lab::require_root!();
    renews_with_the_new_values(ClientKind::Dhcpcd, &["--mac-mode", "keep"]);
}

#[test]
fn networkd_renews_with_the_new_values() {
    lab::require_root!();
    renews_with_the_new_values(ClientKind::Networkd, &[]);
}

/// Another address and another gateway. The client renews at the server that it knows, the old gateway.
fn is_told_that_its_address_is_gone(kind: ClientKind) {
    let pod = Pod::builder("moved").node_addresses(&["10.244.1.1/24", "10.244.1.254/24"]).build().unwrap();
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let mut client = client(&scene, kind);
    let shown = set(&scene.tapwire, &["--address", "10.244.1.77/24", "--route", "default via 10.244.1.254"]);
    assert_eq!(
        (&shown["lease"]["gateway"], &shown["lease"]["server_id"]),
        (&"10.244.1.254".into(), &"10.244.1.1".into())
    );
    let lease = client.renew(SOON).unwrap();
    assert_eq!(lease.address, Some(Ipv4Addr::new(10, 244, 1, 77)));
    assert_eq!(lease.router, Some(Ipv4Addr::new(10, 244, 1, 254)));
    assert!(scene.dhcp("nak").unwrap() > 0);
    ping(&scene.guest.namespace, "10.244.1.254").unwrap();
    ping(&scene.pod.node, "10.244.1.77").unwrap();
}

#[test]
fn udhcpc_is_told_that_its_address_is_gone() {
    lab::require_root!();
    is_told_that_its_address_is_gone(ClientKind::Udhcpc);
}

#[test]
fn dhclient_is_told_that_its_address_is_gone() {
    lab::require_root!();
    is_told_that_its_address_is_gone(ClientKind::Dhclient);
}

#[test]
fn dhcpcd_is_told_that_its_address_is_gone() {
    lab::require_root!();
    is_told_that_its_address_is_gone(ClientKind::Dhcpcd);
}

#[test]
fn networkd_is_told_that_its_address_is_gone() {
    lab::require_root!();
    is_told_that_its_address_is_gone(ClientKind::Networkd);
}
