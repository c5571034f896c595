//! Every layout that CNIs leave in a pod gives a guest a network: a real client takes the lease, has the routes that the
//! table expects, and reaches the gateway, another pod of the node and a host beyond the node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{net::Ipv4Addr, time::Duration};

use lab::{
    ClientKind, DhcpClient, Dnsmasq, DnsmasqConfig, Joint, Namespace, Offloads, Pod, Scene, Tapwire,
    guest::GUEST_NIC,
    layouts::{self, BEYOND, Layout, bare, host_of, table},
    pod::LAN,
};
use serde_json::{Value, json};

/// Longest wait for a client.
const SOON: Duration = Duration::from_secs(25);
/// Octets of the IPv4 and ICMP headers of a ping.
const PING_HEADERS: u32 = 28;

/// What discover says of the pod is what the table expects, and attach must say the same of the lease.
fn discovers(layout: &Layout, pod: &Pod) -> Value {
    let found = Tapwire::new().unwrap().json(&["discover", "--netns", pod.namespace.name()]).unwrap();
    let (lease, expected) = (&found["lease"], &layout.expected);
    assert_eq!(lease["address"], expected.address, "{found:#}");
    assert_eq!(lease["gateway"], expected.gateway);
    assert_eq!(lease["server_id"], expected.gateway);
    assert_eq!(lease["mtu"], expected.mtu);
    assert_eq!(lease["mac"], layout.mac);
    let routes: Vec<_> = lease["routes"].as_array().unwrap().iter().map(layouts::route).collect();
    assert_eq!(routes, expected.routes);
    assert_eq!(found["warnings"], json!([]), "DHCP says all of it");
    lease.clone()
}

/// Pings once with as much as the MTU takes, and twice with little.
fn ping(from: &Namespace, to: &str, mtu: u32) {
    let size = (mtu - PING_HEADERS).to_string();
    for (count, size) in [("1", size.as_str()), ("2", "56")] {
        from.exec(&["busybox", "ping", "-c", count, "-i", "0.1", "-W", "5", "-s", size, to]).unwrap();
    }
}

/// The guest reaches all that there is, and finds its gateway where the layout has it.
fn reaches(layout: &Layout, guest: &Namespace) {
    let expected = &layout.expected;
    for to in [expected.at_gateway(), host_of(layout.beside), BEYOND] {
        ping(guest, to, expected.mtu);
    }
    let neighbour = guest.ip(&["neigh", "show", expected.gateway, "dev", GUEST_NIC]).unwrap();
    assert!(neighbour.contains(layout.node_mac), "the gateway is at {neighbour:?}");
}

fn comes_up(layout: &Layout) {
    comes_up_with(layout, &[ClientKind::Dhclient, ClientKind::Udhcpc]);
}

fn comes_up_with(layout: &Layout, kinds: &[ClientKind]) {
    let pod = layout.build().unwrap();
    let _around = layout.surround(&pod).unwrap();
    let discovered = discovers(layout, &pod);
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let shown = scene.tapwire.show(lab::BINDING).unwrap();
    assert_eq!(shown["lease"], discovered);
    assert_eq!(shown["wire"]["mac_mode"], if layout.joint == Joint::Macvlan { "keep" } else { "swap" });
    let (guest, expected) = (&scene.guest.namespace, &layout.expected);
    let gateway = expected.gateway.parse().ok();
    for kind in kinds {
        let mut client = DhcpClient::start(guest, *kind).unwrap();
        let lease = client.acquire(SOON).unwrap();
        let address = format!("{}/{}", lease.address.unwrap(), lease.prefix);
        assert_eq!((address.as_str(), lease.router, lease.server_id), (expected.address, gateway, gateway), "{kind:?}");
        // What ipconfig is told, only the link shows.
        let mtu = if *kind == ClientKind::Ipconfig { Some(lease.link_mtu) } else { lease.mtu };
        assert_eq!(mtu, Some(expected.mtu), "{kind:?}");
        match kind {
            ClientKind::Dhclient => assert_eq!(lease.routes, expected.guest),
            ClientKind::Udhcpc => assert_eq!(lease.routes, expected.guest_by_router),
            // These have a protocol, a metric and more on their routes, and some more routes: networkd one to each DNS server.
            _ => {
                let has: Vec<_> = lease.routes.iter().map(|route| bare(route)).collect();
                let lacks: Vec<_> = expected.guest.iter().filter(|route| !has.contains(&bare(route))).collect();
                assert!(lacks.is_empty(), "{kind:?} lacks {lacks:?} among {:?}", lease.routes);
            }
        }
        reaches(layout, guest);
    }
    scene.no_checksum_error().unwrap();
}

#[test]
fn flannel() {
    lab::require_root!();
    comes_up(&table::FLANNEL);
}

#[test]
fn the_bridge_plugin() {
    lab::require_root!();
    comes_up(&table::BRIDGE);
}

#[test]
fn ptp() {
    lab::require_root!();
    comes_up(&table::PTP);
}

#[test]
fn kindnet() {
    lab::require_root!();
    comes_up(&table::KINDNET);
}

#[test]
fn gke() {
    lab::require_root!();
    comes_up(&table::GKE);
}

/// A single address with its gateway outside is where clients differ most.
#[test]
fn calico() {
    lab::require_root!();
    let kinds = [ClientKind::Dhclient, ClientKind::Udhcpc, ClientKind::Dhcpcd];
    let further = [ClientKind::Networkd, ClientKind::NetworkManager, ClientKind::Ipconfig];
    comes_up_with(&table::CALICO, &[kinds, further].concat());
}

/// dhcpcd too: it asks whether anybody has the address that it was given, where somebody answers for all others.
#[test]
fn cilium() {
    lab::require_root!();
    comes_up_with(&table::CILIUM, &[ClientKind::Dhclient, ClientKind::Udhcpc, ClientKind::Dhcpcd]);
}

#[test]
fn azure() {
    lab::require_root!();
    comes_up(&table::AZURE);
}

#[test]
fn ovn_kubernetes() {
    lab::require_root!();
    comes_up(&table::OVN_KUBERNETES);
}

#[test]
fn kube_ovn() {
    lab::require_root!();
    comes_up(&table::KUBE_OVN);
}

#[test]
fn antrea() {
    lab::require_root!();
    comes_up(&table::ANTREA);
}

#[test]
fn macvlan() {
    lab::require_root!();
    comes_up(&table::MACVLAN);
}

/// As Kube-OVN, OVN-Kubernetes and macvlan leave it where addresses are another server's affair.
#[test]
fn macvlan_without_addresses() {
    lab::require_root!();
    let pod = Pod::builder("noipam").joint(Joint::Macvlan).addresses(&[]).routes(&[]).build().unwrap();
    let _outside = Dnsmasq::start(&pod.node, &DnsmasqConfig::for_default_pod(LAN, &pod.mac)).unwrap();
    let found = Tapwire::new().unwrap().json(&["discover", "--netns", pod.namespace.name()]).unwrap();
    assert!(found["lease"].is_null(), "{found:#}");
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    let guest = &scene.guest.namespace;
    let (_client, lease) = DhcpClient::acquire_on(guest, ClientKind::Dhclient).unwrap();
    // It is dnsmasq's time.
    assert_eq!((lease.address, lease.lease_seconds), (Some(Ipv4Addr::new(10, 244, 1, 5)), Some(3600)));
    ping(guest, "10.244.1.1", 1500);
}

#[test]
fn aws() {
    lab::require_root!();
    comes_up(&table::AWS);
}

#[test]
fn what_dhcp_cannot_say_of_the_routes_is_a_warning_and_the_guest_has_a_network() {
    lab::require_root!();
    let routes = [
        "default nexthop via 10.244.1.1 dev eth0 nexthop via 10.244.1.2 dev eth0",
        "default via 10.244.1.3 metric 9",
        "blackhole 10.9.0.0/16",
        "10.10.0.0/16 via 10.244.1.1 mtu 1400",
    ];
    let pod = Pod::builder("beyond").routes(&routes).build().unwrap();
    let found = Tapwire::new().unwrap().json(&["discover", "--netns", pod.namespace.name()]).unwrap();
    let told = "the guest is not told of it";
    let expected = json!([
        "the route to 0.0.0.0/0 has several paths; the guest is told of one, via 10.244.1.1",
        format!("the pod refuses 10.9.0.0/16 by a route; {told}"),
        format!("the route to 0.0.0.0/0 via 10.244.1.3 of metric 9 has a better one beside it; {told}"),
        "the route to 10.10.0.0/16 has the MTU 1400; the guest is told 1500 for all routes",
    ]);
    assert_eq!(found["warnings"], expected);
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    assert_eq!(scene.tapwire.show(lab::BINDING).unwrap()["warnings"], expected);
    let guest = &scene.guest.namespace;
    let (_client, lease) = DhcpClient::acquire_on(guest, ClientKind::Dhclient).unwrap();
    let routes = [
        "10.10.0.0/16 via 10.244.1.1 dev eth0",
        "10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.5",
        "default via 10.244.1.1 dev eth0",
    ];
    assert_eq!(lease.routes, routes);
    ping(guest, "10.244.1.1", 1500);
}
