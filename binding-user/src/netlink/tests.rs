//! The verbs, against `ip` and `tc`.

use super::*;
use crate::lab::{HOST_SIDE, Lab, wait_for};

#[tokio::test]
async fn links_are_read_and_set() {
    let Some(lab) = Lab::new() else { return };
    let netlink = lab.netlink();
    let nic = netlink.nic("eth0").await.unwrap().unwrap();
    assert_eq!((nic.kind.as_str(), nic.mac.to_string().as_str(), nic.mtu), ("veth", "02:00:00:00:00:10", 1500));
    assert!(nic.up && nic.carrier && nic.running && nic.arp && !nic.xdp && nic.link_netnsid.is_some(), "{nic:?}");
    assert_eq!(netlink.nic_by_index(nic.ifindex).await.unwrap().unwrap(), nic);
    assert_eq!(netlink.nics().await.unwrap().len(), 2);
    for name in ["eth1", "", "a name that is far too long"] {
        assert_eq!(netlink.nic(name).await.unwrap(), None, "{name}");
    }
    assert_eq!(netlink.nic_by_index(4711).await.unwrap(), None);

    netlink.set_mtu(nic.ifindex, 1400).await.unwrap();
    netlink.set_arp(nic.ifindex, false).await.unwrap();
    netlink.set_down(nic.ifindex).await.unwrap();
    let mac = MacAddr([2, 0, 0, 0, 0, 0x77]);
    netlink.set_mac(nic.ifindex, mac).await.unwrap();
    let set = netlink.nic("eth0").await.unwrap().unwrap();
    assert_eq!((set.mtu, set.arp, set.up, set.mac), (1400, false, false, mac));
    netlink.set_up(nic.ifindex).await.unwrap();
    assert!(lab.pod.ip("link show dev eth0").contains(",UP"));

    netlink.delete_link(nic.ifindex).await.unwrap();
    netlink.delete_link(nic.ifindex).await.unwrap();
    assert_eq!(netlink.nic("eth0").await.unwrap(), None);
}

#[tokio::test]
async fn an_error_names_the_operation_the_object_and_the_errno() {
    let Some(lab) = Lab::new() else { return };
    let error = lab.netlink().set_mtu(4711, 1400).await.unwrap_err().to_string();
    assert!(error.contains("MTU 1400") && error.contains("4711") && error.contains("ENODEV"), "{error}");
}

#[tokio::test]
async fn objects_are_added_and_deleted() {
    let Some(lab) = Lab::new() else { return };
    lab.pod.ip("addr add 10.0.0.5/24 dev eth0");
    lab.pod.ip("route add 10.1.0.0/16 via 10.0.0.1");
    lab.pod.ip("neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 nud permanent dev eth0");
    let netlink = lab.netlink();
    let ifindex = netlink.nic("eth0").await.unwrap().unwrap().ifindex;
    let route = netlink
        .routes(ifindex)
        .await
        .unwrap()
        .into_iter()
        .find(|route| route.attribute(rtm::ROUTE_HEADER, rtm::RTA_GATEWAY).is_some());
    let neighbour = netlink.neighbours(ifindex).await.unwrap().remove(0);
    let address = netlink.addresses(ifindex).await.unwrap().remove(0);
    for object in [route.unwrap(), neighbour, address] {
        netlink.delete(&object).await.unwrap();
        netlink.delete(&object).await.unwrap();
    }
    let left = lab.pod.ip("-4 addr show dev eth0") + &lab.pod.ip("-4 route") + &lab.pod.ip("neigh show nud permanent");
    assert_eq!(left, "");
}

#[tokio::test]
async fn qdiscs_and_filters_are_seen() {
    let Some(lab) = Lab::new() else { return };
    let netlink = lab.netlink();
    let ifindex = netlink.nic("eth0").await.unwrap().unwrap().ifindex;
    let root = |kind: &str, handle| Some(tc::Qdisc { kind: kind.to_owned(), handle });
    assert_eq!(netlink.tc(ifindex).await.unwrap(), tc::Tc { root: root("noqueue", 0), ..Default::default() });

    let tc = |command: &str| lab.pod.exec(&format!("tc {command}"));
    tc("qdisc add dev eth0 clsact");
    assert_eq!(netlink.tc(ifindex).await.unwrap().hook_qdisc.as_deref(), Some("clsact"));
    assert!(!netlink.tc(ifindex).await.unwrap().has_filters());
    tc("filter add dev eth0 egress protocol ip pref 7 handle 800::1 u32 match u32 0 0");
    let found = netlink.tc(ifindex).await.unwrap();
    assert!(found.ingress.is_empty() && found.has_filters());
    let filter = &found.egress[0];
    assert_eq!((filter.kind.as_str(), filter.priority, filter.protocol), ("u32", 7, 0x0800));

    tc("qdisc del dev eth0 clsact");
    tc("qdisc add dev eth0 ingress");
    tc("filter add dev eth0 parent ffff: protocol all pref 3 u32 match u32 0 0");
    let found = netlink.tc(ifindex).await.unwrap();
    assert_eq!(found.hook_qdisc.as_deref(), Some("ingress"));
    assert!(!found.ingress.is_empty() && found.egress.is_empty(), "{found:?}");
    tc("qdisc add dev eth0 root handle 1: tbf rate 1gbit burst 100k latency 10ms");
    assert_eq!(netlink.tc(ifindex).await.unwrap().root, root("tbf", 0x1_0000));
}

#[tokio::test]
async fn namespaces_have_ids_for_each_other() {
    let Some(lab) = Lab::new() else { return };
    let netlink = lab.netlink();
    let nic = netlink.nic("eth0").await.unwrap().unwrap();
    assert_eq!(netlink.nsid(&lab.node.open()).await.unwrap(), nic.link_netnsid);
    let stranger = Lab::new().unwrap();
    assert_eq!(netlink.nsid(&stranger.pod.open()).await.unwrap(), None);
}

#[tokio::test]
async fn a_dropped_connection_lets_the_namespace_die() {
    let Some(lab) = Lab::new() else { return };
    let netlink = lab.netlink();
    netlink.nics().await.unwrap();
    let node = Netlink::open(&lab.node.open()).unwrap();
    let Lab { pod, node: _node } = &lab;
    pod.ip("netns list");
    std::process::Command::new("ip").args(["netns", "del", &pod.name]).status().unwrap();
    assert!(node.nic(HOST_SIDE).await.unwrap().is_some(), "the open sockets hold the namespace, and its veth");
    drop(netlink);
    tokio::task::yield_now().await;
    wait_for(|| !lab.node.ip("link").contains(HOST_SIDE));
}
