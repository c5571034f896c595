//! The cases of KubeVirt's own tests of its DHCP server, byte for byte: a guest that comes from there finds the same.

use std::net::Ipv4Addr;

use binding_common::dhcp::{Destination, Exchange, decide::Reply};

use super::Replies;
use crate::lease::{Lease, LeaseRoute, PrivateOption, tests::lease};

/// The options of an ACK as (code, value), parts of one option put together.
fn options(lease: &Lease) -> Vec<(u8, Vec<u8>)> {
    let replies = Replies::new(lease).unwrap();
    let mut exchange = Exchange::default();
    exchange.answer(Reply::Ack, Destination::default());
    let frame = replies.templates[Reply::Ack as usize].render(&replies.options, &mut exchange).unwrap();
    let mut rest = &frame[42 + 240..exchange.progress.frame_len()];
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    while let [code, len, more @ ..] = rest
        && *code != 255
    {
        let (value, next) = more.split_at(usize::from(*len));
        match options.iter_mut().find(|(known, _)| known == code) {
            Some((_, known)) => known.extend_from_slice(value),
            None => options.push((*code, value.to_vec())),
        }
        rest = next;
    }
    options
}

fn option(lease: &Lease, code: u8) -> Option<Vec<u8>> {
    options(lease).into_iter().find(|(found, _)| *found == code).map(|(_, value)| value)
}

/// A lease with just these routes, in this order.
fn routed(routes: &[(&str, &str)]) -> Lease {
    let route = |(dst, via): &(&str, &str)| LeaseRoute { dst: dst.parse().unwrap(), via: via.parse().ok() };
    Lease { routes: routes.iter().map(route).collect(), ..lease("192.168.2.5/24", &[]) }
}

#[test]
fn routes_are_encoded_as_destination_and_next_hop() {
    let flannel = routed(&[("224.0.0.0/4", ""), ("192.168.1.0/24", "192.168.2.1")]);
    assert_eq!(option(&flannel, 121).unwrap(), [4, 224, 0, 0, 0, 0, 24, 192, 168, 1, 192, 168, 2, 1]);
}

#[test]
fn an_openshift_pod_is_told_its_links_first_and_its_default_route_last() {
    let expected = [14, 10, 128, 0, 0, 0, 0, 4, 224, 0, 0, 0, 0, 0, 10, 129, 0, 1];
    let in_kubevirts_order = routed(&[("10.128.0.0/14", ""), ("224.0.0.0/4", ""), ("0.0.0.0/0", "10.129.0.1")]);
    assert_eq!(option(&in_kubevirts_order, 121).unwrap(), expected);
    // The pod's own table, in the order of the kernel. The network of the address itself is in the mask.
    let table = [("0.0.0.0/0", "10.129.0.1"), ("10.128.0.0/14", ""), ("10.129.0.0/23", ""), ("224.0.0.0/4", "")];
    let pod = lease("10.129.0.5/23", &table);
    assert_eq!(option(&pod, 121).unwrap(), expected);
    assert_eq!(option(&pod, 1).unwrap(), [255, 255, 254, 0]);
}

#[test]
fn a_calico_pod_is_told_the_way_to_its_gateway_first() {
    let pod = lease("192.168.1.10/32", &[("0.0.0.0/0", "169.254.1.1"), ("169.254.1.1/32", "")]);
    assert_eq!(option(&pod, 121).unwrap(), [32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1]);
}

#[test]
fn search_domains_are_names_of_rfc_1035() {
    let searching = Lease { search: vec!["foo.com".to_owned(), "foo.local".to_owned()], ..plain() };
    assert_eq!(option(&searching, 119).unwrap(), *b"\x03foo\x03com\0\x03foo\x05local\0");
}

#[test]
fn the_domain_name_is_the_longest_search_domain() {
    let search = ["cluster.local", "default.svc.cluster.local", "svc.cluster.local"].map(str::to_owned).to_vec();
    assert_eq!(option(&Lease { search, ..plain() }, 15).unwrap(), b"default.svc.cluster.local");
}

#[test]
fn addresses_have_four_octets_each() {
    let servers = vec![Ipv4Addr::new(10, 96, 0, 10), Ipv4Addr::new(10, 96, 0, 11)];
    let lease = Lease { dns: servers.clone(), ntp_servers: servers, ..plain() };
    assert_eq!(option(&lease, 3).unwrap(), [10, 244, 1, 1]);
    assert_eq!(option(&lease, 54).unwrap(), [10, 244, 1, 1]);
    assert_eq!(option(&lease, 6).unwrap(), [10, 96, 0, 10, 10, 96, 0, 11]);
    assert_eq!(option(&lease, 42).unwrap(), [10, 96, 0, 10, 10, 96, 0, 11]);
}

#[test]
fn custom_options_are_sent_as_they_are() {
    let lease = Lease {
        tftp_server_name: Some("tftp.kubevirt.io".to_owned()),
        boot_file_name: Some("config".to_owned()),
        ntp_servers: vec![Ipv4Addr::new(192, 168, 2, 2)],
        private_options: vec![PrivateOption { option: 240, value: "private.options.kubevirt.io".to_owned() }],
        ..plain()
    };
    assert_eq!(option(&lease, 66).unwrap(), b"tftp.kubevirt.io");
    assert_eq!(option(&lease, 67).unwrap(), b"config");
    assert_eq!(option(&lease, 42).unwrap(), [192, 168, 2, 2]);
    assert_eq!(option(&lease, 240).unwrap(), b"private.options.kubevirt.io");
}

#[test]
fn what_a_lease_has_not_is_left_out() {
    let codes = |lease: &Lease| options(lease).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes(&plain()), [53, 54, 51, 58, 59, 1, 3, 26]);
    let alone = Lease { gateway: None, routes: Vec::new(), ..plain() };
    assert_eq!(codes(&alone), [53, 54, 51, 58, 59, 1, 26], "no router, no routes");
}

/// A pod with a gateway on its link, and no more.
fn plain() -> Lease {
    lease("10.244.1.5/24", &[("0.0.0.0/0", "10.244.1.1"), ("10.244.1.0/24", "")])
}
