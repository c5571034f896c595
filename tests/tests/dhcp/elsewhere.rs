//! Servers of the network: kept from the guest while tapwire answers, and its only ones when it is told not to.

use std::net::Ipv4Addr;

use anyhow::Result;
use lab::{
    ClientKind, DhcpClient, Dnsmasq, DnsmasqConfig, Offloads, Pod, RawPort, Scene, guest::GUEST_NIC, scene::ping,
    wait::wait_until, watch,
};

use crate::{SOON, options};

fn server(pod: &Pod) -> Result<Dnsmasq> {
    Dnsmasq::start(&pod.node, &DnsmasqConfig::for_default_pod(&pod.host_side, &pod.mac))
}

/// An offer of a server, to all.
fn forged_offer(source_port: u16) -> Vec<u8> {
    let mut frame = vec![0; 342];
    frame[..6].fill(0xff);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&328_u16.to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    frame[26..34].copy_from_slice(&[10, 9, 9, 9, 255, 255, 255, 255]);
    frame[34..36].copy_from_slice(&source_port.to_be_bytes());
    frame[36..38].copy_from_slice(&68_u16.to_be_bytes());
    frame[38..40].copy_from_slice(&308_u16.to_be_bytes());
    frame
}

#[test]
fn no_server_of_the_network_answers_a_guest_that_tapwire_answers() {
    lab::require_root!();
    let pod = Pod::new("rogue").unwrap();
    let rogue = server(&pod).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let guest = RawPort::open(&scene.guest.namespace, GUEST_NIC).unwrap();
    let (_client, lease) = DhcpClient::acquire_on(&scene.guest.namespace, ClientKind::Udhcpc).unwrap();
    // dnsmasq gives 3600.
    assert_eq!(lease.lease_seconds, Some(86_400));
    assert_eq!(rogue.count("DHCPDISCOVER").unwrap() + rogue.count("DHCPREQUEST").unwrap(), 0);
    for port in [67, 1067] {
        host.send(&forged_offer(port)).unwrap();
    }
    // What comes after them shows that they would have come.
    ping(&scene.pod.node, "10.244.1.5").unwrap();
    let foreign = [10, 9, 9, 9];
    let came = watch::all(&guest).unwrap().into_iter().filter(|seen| seen.data.get(26..30) == Some(&foreign));
    assert_eq!(came.count(), 0);
    assert_eq!(scene.dropped("dhcp-server").unwrap(), 2);
    assert_eq!(scene.dhcp("discover").unwrap(), scene.dhcp("offer").unwrap());
}

fn leases_from_the_network(kind: ClientKind) {
    let pod = Pod::new("outside").unwrap();
    let outside = server(&pod).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let scene = Scene::new(pod, &["--dhcp", "off"], Offloads::Virtio).unwrap();
    assert!(scene.tapwire.show(lab::BINDING).unwrap()["lease"].is_null());
    let mut client = DhcpClient::start_with(&scene.guest.namespace, kind, options(kind)).unwrap();
    let lease = client.acquire(SOON).unwrap();
    assert_eq!((lease.lease_seconds, lease.address), (Some(3600), Some(Ipv4Addr::new(10, 244, 1, 5))));
    let acks = outside.count("DHCPACK").unwrap();
    client.renew(SOON).unwrap();
    // dhclient may have been about to renew when they were counted, and does it again soon.
    wait_until("an ACK from outside", SOON, || Ok(outside.count("DHCPACK")? > acks)).unwrap();
    assert_eq!(scene.dhcp("discover").unwrap() + scene.dhcp("request").unwrap(), 0);
    // This is what every other test must not see.
    assert!(watch::all(&host).unwrap().iter().any(|seen| watch::is_of_a_client(&seen.data)));
}

#[test]
fn udhcpc_leases_from_the_network_over_a_pure_wire() {
    lab::require_root!();
    leases_from_the_network(ClientKind::Udhcpc);
}

#[test]
fn dhclient_leases_from_the_network_over_a_pure_wire() {
    lab::require_root!();
    leases_from_the_network(ClientKind::Dhclient);
}

#[test]
fn dhcpcd_leases_from_the_network_over_a_pure_wire() {
    lab::require_root!();
    leases_from_the_network(ClientKind::Dhcpcd);
}

#[test]
fn a_pod_without_an_address_is_a_pure_wire() {
    lab::require_root!();
    let pod = Pod::builder("bare").addresses(&[]).routes(&[]).build().unwrap();
    let _outside = server(&pod).unwrap();
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let (_client, lease) = DhcpClient::acquire_on(&scene.guest.namespace, ClientKind::Udhcpc).unwrap();
    assert_eq!(lease.lease_seconds, Some(3600));
    ping(&scene.guest.namespace, "10.244.1.1").unwrap();
}

/// Its lease is from a server of its past, which is on the link and would answer.
#[test]
fn a_guest_that_renews_at_another_server_is_not_let_out_and_rebinds_here() {
    lab::require_root!();
    let addresses = ["10.244.1.2/24", "10.244.1.1/24"];
    let pod = Pod::builder("past").node_addresses(&addresses).build().unwrap();
    pod.add_tap("tap0").unwrap();
    let past = server(&pod).unwrap();
    let scene = Scene::new(pod, &["--dhcp", "off"], Offloads::Virtio).unwrap();
    let (mut client, lease) = DhcpClient::acquire_on(&scene.guest.namespace, ClientKind::Dhcpcd).unwrap();
    assert_eq!(lease.server_id, Some(Ipv4Addr::new(10, 244, 1, 2)));
    let acks = past.count("DHCPACK").unwrap();
    let host = RawPort::open(&scene.pod.node, &scene.pod.host_side).unwrap();
    scene.reattach(|_| Ok(()), &["--dhcp", "on"]).unwrap();
    // No answer is what it gets, so nothing can be waited for but the drop.
    let renewed = client.renew(std::time::Duration::ZERO);
    assert!(renewed.is_err(), "{renewed:?}");
    wait_until("the renewal at the other server", SOON, || Ok(scene.dropped("dhcp-other-server")? > 0)).unwrap();
    let lease = client.rebind(SOON).unwrap();
    assert_eq!(lease.server_id, Some(Ipv4Addr::new(10, 244, 1, 1)));
    assert_eq!(lease.lease_seconds, Some(86_400));
    assert_eq!(past.count("DHCPACK").unwrap(), acks);
    ping(&scene.guest.namespace, "10.244.1.2").unwrap();
    watch::heard_no_client(&host).unwrap();
}
