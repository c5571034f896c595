//! Leases of the layouts that CNIs make, and the lease that other tests take.

use std::path::PathBuf;

use super::*;
use crate::{
    facts::{Address, NetnsFacts},
    netns::NetnsId,
    nic::Nic,
    resolv::Resolv,
};

/// The facts of a pod NIC: its address, and its routes as (destination, next hop).
pub(crate) fn facts(address: &str, routes: &[(&str, &str)]) -> Facts {
    let address =
        Address { address: address.parse().unwrap(), peer: None, scope: Scope::Global, flags: Vec::new(), label: None };
    let route = |(dst, via): &(&str, &str)| Route {
        dst: dst.parse().unwrap(),
        via: via.parse().ok(),
        scope: if via.is_empty() { Scope::Link } else { Scope::Global },
        table: 254,
        metric: 0,
        prefsrc: None,
        onlink: false,
        protocol: 3,
        mtu: None,
        kind: RouteKind::Unicast,
        multipath: false,
    };
    Facts {
        netns: NetnsFacts {
            spec: "pod".to_owned(),
            path: PathBuf::from("/run/netns/pod"),
            id: NetnsId { dev: 4, ino: 1, cookie: None },
        },
        nic: Nic {
            name: "eth0".to_owned(),
            ifindex: 2,
            kind: "veth".to_owned(),
            mac: MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]),
            mtu: 1500,
            up: true,
            carrier: true,
            running: true,
            arp: true,
            master: None,
            link: None,
            link_netnsid: None,
            xdp: false,
            netkit_l3: false,
            queues: 1,
        },
        addresses: vec![address],
        routes: routes.iter().map(route).collect(),
        neighbours: Vec::new(),
        resolv: Resolv::default(),
        warnings: Vec::new(),
        lost_default: None,
    }
}

/// A lease without DNS, for the tests of what is made of it.
pub(crate) fn lease(address: &str, routes: &[(&str, &str)]) -> Lease {
    Lease::from_facts(&facts(address, routes), &LeaseOptions::default()).unwrap().unwrap()
}

/// The routes of a lease, as text.
fn told(lease: &Lease) -> Vec<String> {
    let via = |route: &LeaseRoute| route.via.map_or("link".to_owned(), |via| via.to_string());
    lease.routes.iter().map(|route| format!("{} {}", route.dst, via(route))).collect()
}

#[test]
fn a_connected_prefix_and_a_gateway_in_it_need_no_classless_routes() {
    let lease = lease("10.244.1.5/24", &[("0.0.0.0/0", "10.244.1.1"), ("10.244.1.0/24", "")]);
    assert_eq!(lease.address.to_string(), "10.244.1.5/24");
    assert_eq!(told(&lease), ["0.0.0.0/0 10.244.1.1"]);
    assert!(!lease.needs_classless_routes());
    assert_eq!(lease.server_id, Ipv4Addr::new(10, 244, 1, 1));
}

#[test]
fn flannel_routes_come_before_the_default() {
    let routes = [("0.0.0.0/0", "10.244.1.1"), ("10.244.0.0/16", "10.244.1.1"), ("10.244.1.0/24", "")];
    let lease = lease("10.244.1.5/24", &routes);
    assert_eq!(told(&lease), ["10.244.0.0/16 10.244.1.1", "0.0.0.0/0 10.244.1.1"]);
    assert!(lease.needs_classless_routes());
}

#[test]
fn calico_has_a_host_address_and_the_way_to_its_gateway_first() {
    let lease = lease("192.168.1.10/32", &[("0.0.0.0/0", "169.254.1.1"), ("169.254.1.1/32", "")]);
    assert_eq!(lease.address.to_string(), "192.168.1.10/32");
    assert_eq!(told(&lease), ["169.254.1.1/32 link", "0.0.0.0/0 169.254.1.1"]);
}

#[test]
fn a_prefix_without_a_connected_route_is_not_believed() {
    // ptp, kindnet: the prefix is reached by the gateway.
    let routes = [("0.0.0.0/0", "10.1.2.1"), ("10.1.2.0/24", "10.1.2.1"), ("10.1.2.1/32", "")];
    let lease = lease("10.1.2.5/24", &routes);
    assert_eq!(lease.address.to_string(), "10.1.2.5/32");
    assert_eq!(told(&lease), ["10.1.2.1/32 link", "10.1.2.0/24 10.1.2.1", "0.0.0.0/0 10.1.2.1"]);
}

#[test]
fn a_gateway_that_the_cni_took_for_on_link_gets_a_route_of_its_own() {
    let lease = lease("10.0.0.5/32", &[("0.0.0.0/0", "10.0.0.1")]);
    assert_eq!(told(&lease), ["10.0.0.1/32 link", "0.0.0.0/0 10.0.0.1"]);
}

#[test]
fn without_a_gateway_the_server_stands_in_and_is_routed() {
    let lease = lease("10.244.1.5/24", &[("10.244.1.0/24", "")]);
    assert_eq!(lease.gateway, None);
    assert_eq!(lease.server_id, Ipv4Addr::from(LINK_LOCAL_SERVER));
    assert_eq!(told(&lease), ["169.254.75.10/32 link"]);
    assert!(lease.answers_for_server());
}

#[test]
fn the_mtu_is_the_least_of_nic_and_default_route_and_never_more() {
    let mut facts = facts("10.244.1.5/24", &[("0.0.0.0/0", "10.244.1.1"), ("10.244.1.0/24", "")]);
    facts.routes[0].mtu = Some(1400);
    let with = |mtu| Lease::from_facts(&facts, &LeaseOptions { mtu, ..LeaseOptions::default() });
    assert_eq!(with(None).unwrap().unwrap().mtu, 1400);
    assert_eq!(with(Some(1500)).unwrap().unwrap().mtu, 1500);
    assert!(with(Some(1501)).unwrap_err().hint().unwrap().contains("--mtu 1500"));
}

#[test]
fn what_a_route_has_beyond_dhcp_is_a_warning() {
    let routes = [("0.0.0.0/0", "10.244.1.1"), ("10.96.0.0/12", "10.244.1.1"), ("10.244.1.0/24", "")];
    let mut facts = facts("10.244.1.5/24", &routes);
    facts.routes[0].prefsrc = Some("10.244.1.5".parse().unwrap());
    let warned = |facts: &Facts| {
        let lease = Lease::from_facts(facts, &LeaseOptions::default()).unwrap().unwrap();
        warnings(facts, &lease)
    };
    assert_eq!(warned(&facts), [""; 0]);
    facts.routes[1].prefsrc = Some("10.244.1.6".parse().unwrap());
    facts.routes[1].mtu = Some(1400);
    let expected = [
        "the pod sends to 10.96.0.0/12 as 10.244.1.6, which is not the guest's address",
        "the route to 10.96.0.0/12 has the MTU 1400; the guest is told 1500 for all routes",
    ];
    assert_eq!(warned(&facts), expected);
    // The guest is told the smaller one.
    facts.routes[0].mtu = Some(1400);
    assert_eq!(warned(&facts), expected[..1]);
}

#[test]
fn without_the_pods_default_route_there_is_no_lease() {
    let mut facts = facts("10.244.1.5/24", &[("10.244.1.0/24", "")]);
    facts.lost_default = Some("the route to 0.0.0.0/0 has an IPv6 next hop".to_owned());
    let error = Lease::from_facts(&facts, &LeaseOptions::default()).unwrap_err();
    assert!(error.to_string().contains("IPv6 next hop"), "{error}");
    assert!(error.hint().unwrap().contains("--dhcp off"));
}

#[test]
fn a_nic_without_a_global_address_has_no_lease() {
    let mut facts = facts("169.254.3.3/16", &[]);
    facts.addresses[0].scope = Scope::Link;
    assert_eq!(Lease::from_facts(&facts, &LeaseOptions::default()).unwrap(), None);
}
