//! A guest that comes with an address which is no longer its own: it is told so at once, and gets the right one.

use std::{net::Ipv4Addr, time::Duration};

use lab::{ClientKind, DhcpClient, Offloads, Pod, RawPort, Scene, clients::ClientOptions, scene::ping, watch};

use crate::{SOON, life::nothing_was_amiss, options};

/// Gives the pod another address, as a CNI does when the pod is made anew.
pub(crate) fn move_pod(pod: &Pod) -> anyhow::Result<()> {
    pod.namespace.ip(&["addr", "flush", "dev", &pod.nic])?;
    pod.namespace.ip(&["addr", "add", "10.244.1.6/24", "dev", &pod.nic])?;
    pod.namespace.ip(&["route", "add", "default", "via", "10.244.1.1"])?;
    Ok(())
}

/// A guest that lives on while its pod gets a new address renews the old one.
fn renews_a_lost_address(kind: ClientKind) {
    let pod = Pod::new("lost").unwrap();
    pod.add_tap("tap0").unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let mut client = DhcpClient::start_with(&scene.guest.namespace, kind, options(kind)).unwrap();
    client.acquire(SOON).unwrap();
    scene.reattach(move_pod, &[]).unwrap();
    let lease = client.renew(SOON).unwrap();
    assert_eq!(lease.address, Some(Ipv4Addr::new(10, 244, 1, 6)));
    assert!(scene.dhcp("nak").unwrap() > 0);
    ping(&scene.guest.namespace, "10.244.1.1").unwrap();
    watch::heard_no_client(&host).unwrap();
}

#[test]
fn udhcpc_is_told_that_its_address_is_lost() {
    lab::require_root!();
    renews_a_lost_address(ClientKind::Udhcpc);
}

#[test]
fn dhclient_is_told_that_its_address_is_lost() {
    lab::require_root!();
    renews_a_lost_address(ClientKind::Dhclient);
}

#[test]
fn dhcpcd_is_told_that_its_address_is_lost() {
    lab::require_root!();
    renews_a_lost_address(ClientKind::Dhcpcd);
}

#[test]
fn networkd_is_told_that_its_address_is_lost() {
    lab::require_root!();
    renews_a_lost_address(ClientKind::Networkd);
}

/// A guest that comes up with a lease from before asks for that first. Gives the NAKs and requests that it took.
fn boots_with(kind: ClientKind, remembered: [u8; 4]) -> (u64, u64) {
    let pod = Pod::new("reboot").unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let options = ClientOptions { remembers: Some(remembered.into()), ..ClientOptions::default() };
    let mut client = DhcpClient::start_with(&scene.guest.namespace, kind, options).unwrap();
    let lease = client.acquire(Duration::from_secs(40)).unwrap();
    assert_eq!(lease.address, Some(Ipv4Addr::new(10, 244, 1, 5)));
    ping(&scene.guest.namespace, "10.244.1.1").unwrap();
    nothing_was_amiss(&scene, &host);
    (scene.dhcp("nak").unwrap(), scene.dhcp("request").unwrap())
}

/// The NAK comes before any offer.
fn boots_with_a_lost_address(kind: ClientKind) {
    assert_eq!(boots_with(kind, [10, 9, 9, 9]), (1, 2));
}

#[test]
fn a_guest_that_boots_with_its_own_address_is_told_at_once_that_it_may_keep_it() {
    lab::require_root!();
    for kind in [ClientKind::Dhclient, ClientKind::Networkd, ClientKind::NetworkManager] {
        assert_eq!(boots_with(kind, [10, 244, 1, 5]), (0, 1), "{kind:?}");
    }
}

#[test]
fn dhclient_boots_with_a_lost_address_and_gets_a_nak_and_then_its_lease() {
    lab::require_root!();
    boots_with_a_lost_address(ClientKind::Dhclient);
}

#[test]
fn networkd_boots_with_a_lost_address_and_gets_a_nak_and_then_its_lease() {
    lab::require_root!();
    boots_with_a_lost_address(ClientKind::Networkd);
}

#[test]
fn network_manager_boots_with_a_lost_address_and_gets_a_nak_and_then_its_lease() {
    lab::require_root!();
    boots_with_a_lost_address(ClientKind::NetworkManager);
}
