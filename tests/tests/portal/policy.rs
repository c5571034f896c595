//! The node's policy that is no program: queues, packet filters, bridges. It holds for frames that go by the portal, or the
//! portal is not taken.

use std::{net::UdpSocket, time::Duration};

use lab::{
    Namespace, Pod, RawPort,
    pair::{self, NODE, Pair, SECOND},
    pod::Joint,
    portal,
    wait::wait_until,
};

use crate::wire::{BROADCAST, EXPERIMENT, GUEST, SOON, Wire, addressed, frame};

/// What the bandwidth plugin of the CNI project puts on a host side.
const TBF: [&str; 8] = ["root", "tbf", "rate", "100mbit", "burst", "64kb", "latency", "50ms"];

fn add_tbf(pod: &Pod) {
    pod.node.exec(&[&["tc", "qdisc", "add", "dev", &pod.host_side][..], &TBF].concat()).unwrap();
}

/// Frames that went through the queue of the host side.
fn through_tbf(pod: &Pod) -> u64 {
    let text = pod.node.exec(&["tc", "-s", "-j", "qdisc", "show", "dev", &pod.host_side, "root"]).unwrap();
    let qdiscs: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(qdiscs[0]["kind"], "tbf");
    qdiscs[0]["packets"].as_u64().unwrap()
}

#[test]
fn a_queue_on_the_host_side_keeps_the_portal_away() {
    lab::require_root!();
    let pod = Pod::new("tbf").unwrap();
    add_tbf(&pod);
    let wire = Wire::of(pod, &[]);
    let (way, why) = wire.way();
    assert!(way == "redirect" && why.contains("tbf"), "{way}: {why}");
    assert_eq!(portal::all(&wire.pod.node).unwrap(), []);
    let before = through_tbf(&wire.pod);
    wire.goes_by_veth(1);
    assert!(through_tbf(&wire.pod) > before);
}

#[test]
fn repair_withdraws_the_portal_from_a_host_side_that_got_a_queue() {
    lab::require_root!();
    let wire = Wire::new("tbf-later", &[]);
    assert_eq!(wire.way().0, "portal");
    add_tbf(&wire.pod);
    let (state, reason) = wire.state();
    assert!(state == "degraded" && reason.contains("tbf"), "{state}: {reason}");
    wire.repair();
    assert_eq!(wire.way().0, "redirect");
    assert_eq!(portal::all(&wire.pod.node).unwrap(), []);
    let before = through_tbf(&wire.pod);
    wire.goes_by_veth(1);
    assert!(through_tbf(&wire.pod) > before);
}

fn nft(node: &Namespace, rules: &str) {
    node.exec(&["nft", rules]).unwrap();
}

#[test]
fn a_rule_at_the_egress_of_the_host_side_drops_before_the_portal() {
    lab::require_root!();
    let wire = Wire::new("netdev", &[]);
    wire.goes_by_portal(1);
    let chain = format!("chain t e {{ type filter hook egress device \"{}\" priority 0; }}", wire.pod.host_side);
    nft(&wire.pod.node, &format!("add table netdev t; add {}", chain.replace("chain t", "chain netdev t")));
    nft(&wire.pod.node, "add rule netdev t e ether type 0x88b5 drop");
    // Else the node's own stack may say something, which no rule is about.
    wire.pod.node.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    let counted = wire.count(&["to_guest", "frames"]);
    for mark in 2..12 {
        wire.try_to_guest(&frame(mark));
    }
    assert_eq!(wire.count(&["to_guest", "frames"]), counted);
    nft(&wire.pod.node, "flush chain netdev t e");
    wire.nothing_came("a rule at egress");
    wire.goes_by_portal(12);
}

/// A datagram to a port of the guest arrives, and one to a port that a rule of the node is about does not.
fn rule_holds(pair: &Pair, from: &Namespace, to: usize, address: &str) {
    let socket = |port: u16| {
        let socket = pair.guests[to].namespace.run(|| Ok(UdpSocket::bind((address, port))?)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let (blocked, open) = (socket(9), socket(10));
    let from = from.run(|| Ok(UdpSocket::bind("0.0.0.0:0")?)).unwrap();
    // In this order: when the second is there, the first would be.
    wait_until("a datagram that no rule is about", SOON, || {
        from.send_to(b"blocked", (address, 9))?;
        from.send_to(b"open", (address, 10))?;
        let mut buffer = [0; 16];
        Ok(open.recv(&mut buffer).is_ok())
    })
    .unwrap();
    let mut buffer = [0; 16];
    assert!(blocked.recv(&mut buffer).is_err(), "a datagram came in spite of the rule");
}

#[test]
fn a_rule_at_forward_holds_between_guests_that_the_node_routes_between() {
    lab::require_root!();
    let pair = Pair::new("forward", Joint::Veth, &[]).unwrap();
    assert_eq!(portal::all(&pair.pod.node).unwrap().len(), 2);
    nft(
        &pair.pod.node,
        "add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f udp dport 9 drop",
    );
    let [first, second] = &pair.guests;
    rule_holds(&pair, &first.namespace, 1, SECOND);
    rule_holds(&pair, &second.namespace, 0, pair::FIRST);
}

#[test]
fn a_rule_of_the_bridge_holds_between_guests_on_one_bridge() {
    lab::require_root!();
    let pair = Pair::new("bridged", Joint::Bridge, &[]).unwrap();
    assert_eq!(portal::all(&pair.pod.node).unwrap().len(), 2);
    nft(
        &pair.pod.node,
        "add table bridge t; add chain bridge t f { type filter hook forward priority 0; }; \
         add rule bridge t f ether type ip udp dport 9 drop",
    );
    rule_holds(&pair, &pair.guests[0].namespace, 1, SECOND);
}

/// Whether this kernel hands bridged packets to the rules of IPv4. As `br_netfilter` does, which Kubernetes wants.
fn calls_iptables(node: &Namespace) -> bool {
    node.set_sysctl("net/bridge/bridge-nf-call-iptables", "1").is_ok()
}

#[test]
fn a_rule_of_ipv4_holds_between_guests_on_one_bridge_with_br_netfilter() {
    lab::require_root!();
    let pair = Pair::new("brnf", Joint::Bridge, &[]).unwrap();
    if !calls_iptables(&pair.pod.node) {
        eprintln!("skipped: this kernel has no br_netfilter");
        return;
    }
    nft(
        &pair.pod.node,
        "add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f udp dport 9 drop",
    );
    rule_holds(&pair, &pair.guests[0].namespace, 1, SECOND);
    rule_holds(&pair, &pair.guests[1].namespace, 0, pair::FIRST);
}

/// Sends a broadcast from a guest whose port of the bridge sends back to where it came from; gives whether it came back, and
/// whether it was dropped as the guest's own.
fn hairpin(options: &[&str]) -> (bool, bool) {
    let pod = pair::builder("hairpin", Joint::Bridge, pair::FIRST).build().unwrap();
    pod.node.ip(&["link", "set", &pod.host_side, "type", "bridge_slave", "hairpin", "on"]).unwrap();
    calls_iptables(&pod.node);
    let wire = Wire::of(pod, options);
    let bridge = RawPort::open(&wire.pod.node, "cni0").unwrap();
    let own = addressed(BROADCAST, GUEST, 7);
    wire.tap.send(&own).unwrap();
    bridge.expect("the broadcast", SOON, |seen| !seen.outgoing && seen.data == own).unwrap();
    // From the bridge's own address: it comes after whatever came back.
    let marker = addressed(GUEST, [2, 0, 0, 0, 0, 9], 8);
    bridge.send(&marker).unwrap();
    let mut back = false;
    wire.tap
        .expect("a frame of the bridge", SOON, |seen| {
            back |= seen == own;
            seen == marker
        })
        .unwrap();
    (back, wire.count(&["dropped", "looped"]) > 0)
}

#[test]
fn a_hairpin_port_gives_the_guest_what_it_gives_by_redirect() {
    lab::require_root!();
    for guard in ["on", "off"] {
        let by_portal = hairpin(&["--guard", guard, "--to-guest", "portal"]);
        let by_redirect = hairpin(&["--guard", guard, "--to-guest", "redirect"]);
        assert_eq!(by_portal, by_redirect, "guard {guard}");
        assert_eq!(by_portal, if guard == "on" { (false, true) } else { (true, false) });
    }
}

#[test]
fn a_guest_reaches_itself_by_a_service_as_it_does_by_redirect() {
    lab::require_root!();
    let reached = |way: &str| {
        let options = ["--to-guest", way, "--guard", "off"];
        let pair = Pair::new("service", Joint::Bridge, &options).unwrap();
        let node = &pair.pod.node;
        calls_iptables(node);
        node.ip(&["link", "set", &pair.pod.host_side, "type", "bridge_slave", "hairpin", "on"]).unwrap();
        nft(
            node,
            "add table ip t; add chain ip t p { type nat hook prerouting priority -100; }; \
             add chain ip t s { type nat hook postrouting priority 100; }; \
             add rule ip t p ip daddr 10.96.0.10 dnat to 10.244.1.5; \
             add rule ip t s ip saddr 10.244.1.5 ip daddr 10.244.1.5 masquerade",
        );
        let guest = &pair.guests[0].namespace;
        let server = guest.run(|| Ok(UdpSocket::bind((pair::FIRST, 53))?)).unwrap();
        let client = guest.run(|| Ok(UdpSocket::bind((pair::FIRST, 0))?)).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        client.send_to(b"question", ("10.96.0.10", 53)).unwrap();
        let mut buffer = [0; 16];
        let Ok((_, from)) = server.recv_from(&mut buffer) else { return false };
        assert_eq!(from.ip().to_string(), NODE, "{way}: it was not told to come from the node");
        server.send_to(b"answer", from).unwrap();
        client.recv(&mut buffer).is_ok_and(|size| size == 6)
    };
    assert!(reached("redirect"), "the lab's Service does not work");
    assert!(reached("portal"));
}

#[test]
fn what_a_bridge_floods_reaches_the_guest_once() {
    lab::require_root!();
    let pair = Pair::new("flood", Joint::Bridge, &["--allow-ethertype", "0x88b5"]).unwrap();
    let seen = RawPort::open(&pair.guests[1].namespace, "eth0").unwrap();
    let sender = RawPort::open(&pair.guests[0].namespace, "eth0").unwrap();
    for to in [BROADCAST, [0x01, 0, 0x5e, 0, 0, 0xfb], [0x33, 0x33, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0xee]] {
        sender.send(&addressed(to, GUEST, 1)).unwrap();
        sender.send(&addressed(BROADCAST, GUEST, 2)).unwrap();
        let mut count = 0;
        seen.expect("the frame after it", SOON, |frame| {
            count += usize::from(frame.data == addressed(to, GUEST, 1));
            frame.data == addressed(BROADCAST, GUEST, 2)
        })
        .unwrap();
        assert_eq!(count, 1, "{to:02x?}");
    }
    let back = RawPort::open(&pair.guests[0].namespace, "eth0").unwrap();
    sender.send(&addressed(BROADCAST, GUEST, 3)).unwrap();
    seen.expect("the last", SOON, |frame| frame.data == addressed(BROADCAST, GUEST, 3)).unwrap();
    let came_back = back
        .collect(Duration::ZERO)
        .unwrap()
        .into_iter()
        .filter(|seen| !seen.outgoing && seen.data[12..14] == EXPERIMENT);
    assert_eq!(came_back.count(), 0);
}
