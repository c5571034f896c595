//! The lab's own smoke test: without tapwire, do pump, clients, servers and virtual machines do what tests rely on?

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use lab::{
    BridgeBinding, ClientKind, DhcpClient, Dnsmasq, DnsmasqConfig, Guest, Observer, Offloads, Pod, RawPort, TapPort,
    Vm, VmConfig,
    clients::ClientOptions,
    observer::{Act, Place, Side},
};

const SOON: Duration = Duration::from_secs(15);

/// A pod whose bridge binding has no server of its own; the server is on the node, so that unicast reaches it.
fn pod_with_server(label: &str) -> (Pod, BridgeBinding, Guest, Dnsmasq) {
    let pod = Pod::new(label).unwrap();
    let binding = BridgeBinding::wire_only(&pod, "tap0").unwrap();
    let config = DnsmasqConfig::for_default_pod(&pod.host_side, &pod.mac);
    let server = Dnsmasq::start(&pod.node, &config).unwrap();
    let guest = Guest::new(&pod, "tap0", &pod.mac).unwrap();
    (pod, binding, guest, server)
}

fn life_of_a_lease(kind: ClientKind, options: ClientOptions) {
    let (_pod, _binding, guest, server) = pod_with_server("lease");
    let mut client = DhcpClient::start_with(&guest.namespace, kind, options).unwrap();
    let lease = client.acquire(SOON).unwrap();
    assert_eq!(lease.address.unwrap().to_string(), "10.244.1.5");
    assert_eq!(lease.prefix, 24);
    assert_eq!(lease.dns, ["10.96.0.10".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(lease.domain.as_deref(), Some("default.svc.cluster.local"));
    assert_eq!(lease.server_id.unwrap().to_string(), "10.244.1.1");
    assert_eq!(lease.lease_seconds, Some(3600));
    assert!(lease.routes.iter().any(|route| route.starts_with("default via 10.244.1.1")), "{:?}", lease.routes);
    let acks = server.count("DHCPACK").unwrap();
    client.renew(SOON).unwrap();
    // dhclient may have been about to renew when they were counted, and does it again soon.
    let acked = lab::wait::wait_until("an ACK", SOON, || Ok(server.count("DHCPACK")? > acks));
    acked.unwrap_or_else(|error| panic!("{error:#}: {}", server.log().unwrap()));
    client.rebind(Duration::from_secs(40)).unwrap_or_else(|error| panic!("{error:#}: {}", client.log().unwrap()));
    println!("{kind:?}: {:?}", client.events().unwrap());
    client.release(SOON).unwrap();
    lab::wait::wait_until("the release at the server", SOON, || Ok(server.count("DHCPRELEASE")? == 1)).unwrap();
}

#[test]
fn udhcpc_takes_renews_and_releases() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Udhcpc, ClientOptions::default());
}

#[test]
fn dhclient_takes_renews_and_releases() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Dhclient, ClientOptions { times: Some((2, 5)), ..ClientOptions::default() });
}

#[test]
fn dhcpcd_takes_renews_and_releases() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Dhcpcd, ClientOptions::default());
}

#[test]
fn bridge_binding_gives_everything_back() {
    lab::require_root!();
    let pod = Pod::new("bridge").unwrap();
    let before = pod.fingerprint().unwrap();
    let binding = BridgeBinding::with_dhcp(&pod, "tap0").unwrap();
    let guest = Guest::new(&pod, "tap0", &pod.mac).unwrap();
    let (_client, lease) = DhcpClient::acquire_on(&guest.namespace, ClientKind::Udhcpc).unwrap();
    assert_eq!(lease.server_id.unwrap().to_string(), "169.254.75.10");
    guest.exec(&["busybox", "ping", "-c", "2", "-i", "0.1", "-W", "5", "10.244.1.1"]).unwrap();
    pod.node.exec(&["busybox", "ping", "-c", "2", "-i", "0.1", "-W", "5", "10.244.1.5"]).unwrap();
    drop(guest);
    binding.teardown(&pod).unwrap();
    let after = pod.fingerprint().unwrap();
    assert_eq!(before, after, "{}", lab::fingerprint::difference(&before, &after));
}

#[test]
fn a_real_machine_takes_a_lease() {
    lab::require_root!();
    let pod = Pod::new("vm").unwrap();
    let _binding = BridgeBinding::with_dhcp(&pod, "tap0").unwrap();
    let start = std::time::Instant::now();
    let mut vm = Vm::boot(&pod.namespace, &VmConfig::new("tap0", &pod.mac)).unwrap();
    println!("booted under {} in {:.1} s", vm.accelerator(), start.elapsed().as_secs_f64());
    let text = vm.run("udhcpc -i eth0 -n -q -t 10 -T 1 && ip addr show eth0 && cat /etc/resolv.conf", SOON).unwrap();
    assert!(text.contains("inet 10.244.1.5/24"), "{text}");
    assert!(text.contains("nameserver 10.96.0.10"), "{text}");
    vm.run("ping -c 2 -i 0.1 -W 5 10.244.1.1", SOON).unwrap();
    assert_eq!(vm.ask("exit 7", SOON).unwrap().status, 7);
    for client in ["dhclient -v -1 eth0", "dhcpcd -4 -1 -t 20 eth0"] {
        vm.run("ip addr flush dev eth0", SOON).unwrap();
        let text = vm.run(client, Duration::from_secs(40)).unwrap();
        println!("{text}");
        assert!(vm.run("ip addr show eth0", SOON).unwrap().contains("inet 10.244.1.5/24"), "{text}");
    }
}

/// A broadcast frame of a made-up protocol, which no stack answers.
fn frame(from: [u8; 6], text: &[u8]) -> Vec<u8> {
    let mut frame = [&[0xff; 6], &from[..], &[0x88, 0xb5], text].concat();
    frame.resize(60, 0);
    frame
}

#[test]
fn single_frames_pass_both_ways() {
    lab::require_root!();
    let pod = Pod::new("frames").unwrap();
    let _binding = BridgeBinding::wire_only(&pod, "tap0").unwrap();
    let tap = TapPort::open(&pod.namespace, "tap0", Offloads::None).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let (up, down) = (frame([2, 0, 0, 0, 0, 1], b"up"), frame([2, 0, 0, 0, 0, 2], b"down"));
    lab::wait::wait_until("a frame from the tap", SOON, || {
        // The bridge's port forwards once its carrier is known.
        tap.send(&up)?;
        let seen = host.receive(Duration::from_millis(50))?;
        Ok(seen.is_some_and(|seen| seen.data == up && !seen.outgoing))
    })
    .unwrap();
    host.send(&down).unwrap();
    let (_, seen) = tap.expect("the other way", SOON, |seen| seen[..] == down[..]).unwrap();
    assert_eq!(seen.len(), 60);
    assert!(tap.expect("nothing", Duration::from_millis(20), |seen| seen == b"never").is_err());
}

#[test]
fn pump_carries_tcp_with_and_without_offloads() {
    lab::require_root!();
    let pod = Pod::builder("pump").addresses(&[]).routes(&[]).build().unwrap();
    let _binding = BridgeBinding::wire_only(&pod, "tap0").unwrap();
    let mut server = lab::cmd::command(&["iperf3", "-s"]).unwrap();
    let _server = pod.node.spawn(server.stdout(std::process::Stdio::null())).unwrap();
    for offloads in [Offloads::Virtio, Offloads::None] {
        let guest = Guest::with_offloads(&pod, "tap0", &pod.mac, offloads).unwrap();
        guest.configure("10.244.1.5/24", None).unwrap();
        for way in [&["-t", "1"][..], &["-t", "1", "-R"][..]] {
            let line = [&["iperf3", "-J", "-c", "10.244.1.1"], way].concat();
            let report: serde_json::Value = serde_json::from_str(&guest.exec(&line).unwrap()).unwrap();
            let rate = report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap();
            println!("{offloads:?} {way:?}: {:.0} Mbit/s", rate / 1e6);
            assert!(rate > 5e7, "{rate} bit/s");
        }
    }
}

#[test]
fn pods_of_other_layouts() {
    lab::require_root!();
    let pod = Pod::builder("layout")
        .mtu(1450)
        .addresses(&["192.168.7.9/32", "fd00:7::9/128"])
        .routes(&[
            "169.254.1.1 dev eth0 scope link",
            "default via 169.254.1.1",
            "fe80::1 dev eth0",
            "default via fe80::1 dev eth0",
        ])
        .node_addresses(&[])
        .node_routes(&["192.168.7.9 dev {dev}", "fd00:7::9 dev {dev}"])
        .resolv_conf(None)
        .build()
        .unwrap();
    let text = pod.fingerprint().unwrap();
    for part in ["mtu 1450", "192.168.7.9/32", "default via 169.254.1.1", "fd00:7::9", "default via fe80::1"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(text, pod.fingerprint().unwrap());
}

#[test]
fn a_machine_with_two_queues() {
    lab::require_root!();
    let pod = Pod::new("queues").unwrap();
    pod.namespace.ip(&["tuntap", "add", "tap0", "mode", "tap", "vnet_hdr", "multi_queue"]).unwrap();
    drop(TapPort::open(&pod.namespace, "tap0", Offloads::Virtio).unwrap());
    let config = VmConfig { queues: 2, ..VmConfig::new("tap0", &pod.mac) };
    let mut vm = Vm::boot(&pod.namespace, &config).unwrap();
    let text = vm.run("ls -d /sys/class/net/eth0/queues/rx-*", SOON).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn observers_see_pass_drop_and_tag_wherever_they_hang() {
    lab::require_root!();
    let pod = Pod::new("observed").unwrap();
    let (from, to) =
        (RawPort::open(&pod.node, &pod.host_side).unwrap(), RawPort::open(&pod.namespace, "eth0").unwrap());
    let places = [Place::TcxFirst, Place::TcxLast, Place::Filter(1, 1), Place::Filter(65535, 2), Place::XdpNative];
    let places = places.into_iter().chain([Place::XdpGeneric]);
    for (mark, place) in places.enumerate() {
        let (namespace, link, side) = match place {
            Place::XdpNative | Place::XdpGeneric => (&pod.namespace, "eth0", Side::Ingress),
            _ => (&pod.node, pod.host_side.as_str(), Side::Egress),
        };
        let hang = |act| Observer::hang(namespace, link, side, place, act).unwrap();
        let frame = |what: &str| frame([2, 0, 0, 0, 0, 9], format!("{what} {mark}").as_bytes());
        let arrives = |what: &str| {
            from.send(&frame(what)).unwrap();
            to.expect(&format!("{place:?}: the frame {what}"), SOON, |seen| {
                assert!(seen.data != frame("dropped"), "{place:?}: a frame came that was dropped");
                seen.data == frame(what)
            })
            .unwrap();
        };
        let observer = hang(Act::Pass);
        arrives("passed");
        assert!(observer.seen().unwrap() > 0, "{place:?}");
        drop(observer);
        let observer = hang(Act::Drop);
        // Of a drop at egress the sender is told.
        let _ = from.send(&frame("dropped"));
        assert!(observer.seen().unwrap() > 0, "{place:?}");
        drop(observer);
        arrives("afterwards");
    }
    let _tagger = Observer::hang(&pod.node, &pod.host_side, Side::Egress, Place::TcxLast, Act::Tag(100)).unwrap();
    from.send(&frame([2, 0, 0, 0, 0, 9], b"tagged")).unwrap();
    to.expect("a tagged frame", SOON, |seen| seen.data[12..16] == [0x81, 0, 0, 100]).unwrap();
}

#[test]
fn a_crowd_sends_from_every_cpu_and_counts() {
    lab::require_root!();
    let pod = Pod::new("crowd").unwrap();
    let _binding = BridgeBinding::wire_only(&pod, "tap0").unwrap();
    let ((), sent) = lab::crowd::during(&pod, lab::crowd::Order::Kept, 1000, || ()).unwrap();
    assert!(!sent.is_empty() && sent.iter().all(|sent| *sent >= 1000), "{sent:?}");
}
