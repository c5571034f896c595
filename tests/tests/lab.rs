//! The lab's own smoke test: without tapwire, do pump, clients, servers and virtual machines do what tests rely on?

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use lab::{
    BridgeBinding, ClientKind, DhcpClient, Dnsmasq, DnsmasqConfig, Guest, Pod, Vm, VmConfig,
    clients::ClientOptions,
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
    assert_eq!(
        lease.dns,
        ["10.96.0.10".parse::<std::net::Ipv4Addr>().unwrap()]
    );
    assert_eq!(lease.domain.as_deref(), Some("default.svc.cluster.local"));
    assert_eq!(lease.server_id.unwrap().to_string(), "10.244.1.1");
    assert_eq!(lease.lease_seconds, Some(3600));
    assert!(
        lease
            .routes
            .iter()
            .any(|route| route.starts_with("default via 10.244.1.1")),
        "{:?}",
        lease.routes
    );
    let acks = server.count("DHCPACK").unwrap();
    client.renew(SOON).unwrap();
    assert!(
        server.count("DHCPACK").unwrap() > acks,
        "{}",
        server.log().unwrap()
    );
    client
        .rebind(Duration::from_secs(40))
        .unwrap_or_else(|error| panic!("{error:#}: {}", client.log().unwrap()));
    println!("{kind:?}: {:?}", client.events().unwrap());
    client.release(SOON).unwrap();
    lab::wait::wait_until("the release at the server", SOON, || {
        Ok(server.count("DHCPRELEASE")? == 1)
    })
    .unwrap();
}

#[test]
fn udhcpc_takes_renews_and_releases() {
    lab::require_root!();
    life_of_a_lease(ClientKind::Udhcpc, ClientOptions::default());
}

#[test]
fn dhclient_takes_renews_and_releases() {
    lab::require_root!();
    life_of_a_lease(
        ClientKind::Dhclient,
        ClientOptions {
            times: Some((2, 5)),
            ..ClientOptions::default()
        },
    );
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
    guest
        .exec(&[
            "busybox",
            "ping",
            "-c",
            "2",
            "-i",
            "0.1",
            "-W",
            "5",
            "10.244.1.1",
        ])
        .unwrap();
    pod.node
        .exec(&[
            "busybox",
            "ping",
            "-c",
            "2",
            "-i",
            "0.1",
            "-W",
            "5",
            "10.244.1.5",
        ])
        .unwrap();
    drop(guest);
    binding.teardown(&pod).unwrap();
    let after = pod.fingerprint().unwrap();
    assert_eq!(
        before,
        after,
        "{}",
        lab::fingerprint::difference(&before, &after)
    );
}

#[test]
fn a_real_machine_takes_a_lease() {
    lab::require_root!();
    let pod = Pod::new("vm").unwrap();
    let _binding = BridgeBinding::with_dhcp(&pod, "tap0").unwrap();
    let start = std::time::Instant::now();
    let mut vm = Vm::boot(&pod.namespace, &VmConfig::new("tap0", &pod.mac)).unwrap();
    println!(
        "booted under {} in {:.1} s",
        vm.accelerator(),
        start.elapsed().as_secs_f64()
    );
    let text = vm
        .run(
            "udhcpc -i eth0 -n -q -t 10 -T 1 && ip addr show eth0 && cat /etc/resolv.conf",
            SOON,
        )
        .unwrap();
    assert!(text.contains("inet 10.244.1.5/24"), "{text}");
    assert!(text.contains("nameserver 10.96.0.10"), "{text}");
    vm.run("ping -c 2 -i 0.1 -W 5 10.244.1.1", SOON).unwrap();
    assert_eq!(vm.ask("exit 7", SOON).unwrap().status, 7);
    for client in ["dhclient -v -1 eth0", "dhcpcd -4 -1 -t 20 eth0"] {
        vm.run("ip addr flush dev eth0", SOON).unwrap();
        let text = vm.run(client, Duration::from_secs(40)).unwrap();
        println!("{text}");
        assert!(
            vm.run("ip addr show eth0", SOON)
                .unwrap()
                .contains("inet 10.244.1.5/24"),
            "{text}"
        );
    }
}
