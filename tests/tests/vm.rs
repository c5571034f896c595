//! A real machine: the clients run in a guest with a kernel and drivers of its own.
//!
//! One guest serves for all three clients, one after the other: under emulation the boot is what takes long.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::{net::Ipv4Addr, time::Duration};

use lab::{
    BINDING, Pod, RawPort, Tapwire, Vm, VmConfig, pod::mac_of, scene::ping, vm::WITHOUT_OFFLOADS, wait::wait_until,
    watch,
};

const SOON: Duration = Duration::from_mins(1);
/// After that a client is told again.
const PATIENCE: Duration = Duration::from_secs(5);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);

/// What a person would type for a client: to start it in the background, to renew, to rebind, to release, and to end it where that is not
/// the same.
struct Client {
    program: &'static str,
    start: &'static str,
    renew: &'static str,
    rebind: &'static str,
    release: &'static str,
    end: &'static str,
}

const UDHCPC: Client = Client {
    program: "udhcpc",
    start: "udhcpc -i eth0 -b -t 10 -T 1 -p /run/udhcpc.pid >/dev/null 2>&1",
    renew: "kill -USR1 $(cat /run/udhcpc.pid)",
    // It broadcasts when it cannot send from its address.
    rebind: "ip -4 addr flush dev eth0; kill -USR1 $(cat /run/udhcpc.pid)",
    release: "kill -USR2 $(cat /run/udhcpc.pid)",
    end: "kill $(cat /run/udhcpc.pid)",
};

/// It renews by the clock alone.
const DHCLIENT: Client = Client {
    program: "dhclient",
    start: "cp /etc/dhcp/dhclient.conf /tmp/conf; \
            echo 'supersede dhcp-renewal-time 3; supersede dhcp-rebinding-time 8;' >>/tmp/conf; \
            dhclient -cf /tmp/conf -pf /run/dhclient.pid eth0 >/dev/null 2>&1",
    renew: "true",
    rebind: "ip route replace prohibit 10.244.1.1/32",
    release: "ip route flush type prohibit; dhclient -cf /tmp/conf -pf /run/dhclient.pid -r eth0",
    end: "true",
};

const DHCPCD: Client = Client {
    program: "dhcpcd",
    start: "dhcpcd -4 -b eth0 >/dev/null 2>&1",
    renew: "dhcpcd -4 -N eth0",
    rebind: "dhcpcd -4 -n eth0",
    release: "dhcpcd -4 -k eth0",
    end: "true",
};

struct Machine {
    // QEMU first: it holds the tap.
    vm: Vm,
    tap: RawPort,
    tapwire: Tapwire,
    pod: Pod,
}

impl Machine {
    fn dhcp(&self, message: &str) -> u64 {
        self.tapwire.counter(BINDING, &["dhcp", message]).unwrap()
    }

    fn run(&mut self, command: &str) {
        self.vm.run(command, SOON).unwrap();
    }

    fn wait_for_address(&mut self, there: bool) {
        let vm = &mut self.vm;
        wait_until(&format!("the address to be there: {there}"), SOON, || {
            let text = vm.run("ip -4 -br addr show dev eth0", SOON)?;
            Ok(text.contains(if there { " 10.244.1.5/24" } else { "." }) == there)
        })
        .unwrap();
    }

    /// Makes the client give its lease back, which must be counted once, and must take the address along.
    ///
    /// dhcpcd's command waits ten seconds for the client to end and then fails; under emulation that may be too short
    /// for a release that went out all the same. It is told again only if none did, for it may have missed the signal.
    fn released(&mut self, &Client { program, release, end, .. }: &Client) {
        let before = self.dhcp("release");
        let mut said = String::new();
        wait_until(&format!("{program} to release"), SOON, || {
            said = self.vm.ask(release, SOON)?.output;
            let counted = || Ok(self.dhcp("release") > before);
            Ok(wait_until("the release", PATIENCE, counted).is_ok())
        })
        .unwrap_or_else(|error| panic!("{error:#}; it said: {said}"));
        self.wait_for_address(false);
        self.run(end);
        let search = format!("pidof {program}");
        let vm = &mut self.vm;
        wait_until(&format!("{program} to end"), SOON, || Ok(vm.ask(&search, SOON)?.status != 0)).unwrap();
        assert_eq!(self.dhcp("release"), before + 1);
    }

    /// Runs a command, after which the client must have asked at this address and been answered.
    ///
    /// dhcpcd forgets a signal that comes while its script runs, so a client that does not act is told again.
    fn confirmed(&mut self, program: &str, command: &str, to: Ipv4Addr) {
        let before = (self.dhcp("request"), self.dhcp("ack"));
        watch::all(&self.tap).unwrap();
        let mut sent = Vec::new();
        let mut asked = |tap: &RawPort| {
            wait_until("the client to ask", PATIENCE, || {
                sent.extend(watch::sent_to(tap)?);
                Ok(sent.contains(&to))
            })
        };
        wait_until(&format!("{program} to ask at {to}"), SOON, || {
            self.vm.run(command, SOON)?;
            Ok(asked(&self.tap).is_ok())
        })
        .unwrap();
        wait_until("the answer", SOON, || Ok(self.dhcp("request") > before.0 && self.dhcp("ack") > before.1)).unwrap();
    }

    fn life_of_a_lease(&mut self, client: &Client) {
        let &Client { program, start, renew, rebind, .. } = client;
        self.run(start);
        self.wait_for_address(true);
        self.run("ping -c 2 -i 0.1 -W 5 10.244.1.1");
        self.confirmed(program, renew, GATEWAY);
        self.confirmed(program, rebind, Ipv4Addr::BROADCAST);
        self.wait_for_address(true);
        self.released(client);
        self.run(start);
        self.wait_for_address(true);
        self.run("ping -c 2 -i 0.1 -W 5 10.244.1.1");
        ping(&self.pod.node, "10.244.1.5").unwrap();
        self.released(client);
    }
}

#[test]
fn every_client_lives_on_the_lease_in_a_real_machine() {
    lab::require_root!();
    let pod = Pod::new("vm").unwrap();
    let tapwire = Tapwire::private().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = RawPort::open(&pod.namespace, "tap0").unwrap();
    let vm = Vm::boot(&pod.namespace, &VmConfig::new("tap0", &pod.mac)).unwrap();
    let mut machine = Machine { vm, tap, tapwire, pod };
    for client in [UDHCPC, DHCLIENT, DHCPCD] {
        machine.life_of_a_lease(&client);
    }
    assert!(machine.tapwire.processes().unwrap().is_empty());
    assert_eq!(machine.dhcp("nak"), 0);
    watch::heard_no_client(&host).unwrap();
}

/// A second NIC of a pod, `net1` with 10.245.1.5/24, and its host side.
fn add_second_nic(pod: &Pod) {
    let peer = ["peer", "name", "vethnet1", "netns", pod.node.name()];
    let add = [&["link", "add", "net1", "address", "0a:58:0a:f5:01:05", "type", "veth"], peer.as_slice()].concat();
    pod.namespace.ip(&add).unwrap();
    pod.namespace.ip(&["addr", "add", "10.245.1.5/24", "dev", "net1"]).unwrap();
    pod.node.ip(&["addr", "add", "10.245.1.1/24", "dev", "vethnet1"]).unwrap();
    pod.node.ip(&["link", "set", "vethnet1", "up"]).unwrap();
    pod.namespace.ip(&["link", "set", "net1", "up"]).unwrap();
}

/// Without offloads the tap hands out frames with finished checksums only, those of replies included.
#[test]
fn two_bindings_of_a_pod_serve_the_two_nics_of_a_machine_without_offloads() {
    lab::require_root!();
    let pod = Pod::new("two-nics").unwrap();
    add_second_nic(&pod);
    let tapwire = Tapwire::new().unwrap();
    let mac = mac_of(&pod.namespace, "net1").unwrap();
    let (netns, node) = (pod.namespace.name(), pod.node.name());
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    let second =
        ["attach", "--netns", netns, "--node-netns", node, "--nic", "net1", "--tap", "tap1", "--name", "second"];
    tapwire.run(&second).unwrap();
    let tap = RawPort::open(&pod.namespace, "tap0").unwrap();
    let second = Some(("tap1".to_owned(), mac));
    let config = VmConfig { second, model: WITHOUT_OFFLOADS.to_owned(), ..VmConfig::new("tap0", &pod.mac) };
    let vm = Vm::boot(&pod.namespace, &config).unwrap();
    let mut machine = Machine { vm, tap, tapwire, pod };
    // One character for each bit: checksums are the first two, segments 7 to 14.
    machine.run("grep -q '^00.....00000000' /sys/class/net/eth0/device/features");
    machine.life_of_a_lease(&UDHCPC);
    for (nic, name, address, node) in
        [("eth0", BINDING, "10.244.1.5", "10.244.1.1"), ("eth1", "second", "10.245.1.5", "10.245.1.1")]
    {
        machine.run(&format!("ip link set {nic} up && udhcpc -i {nic} -n -q -t 10 -T 1"));
        machine.run(&format!("ip -4 addr show dev {nic} | grep -q 'inet {address}/24'"));
        machine.run(&format!("ping -c 2 -i 0.1 -W 5 {node}"));
        ping(&machine.pod.node, address).unwrap();
        let counter = |path: &[&str]| machine.tapwire.counter(name, path).unwrap();
        assert_eq!(counter(&["dhcp", "nak"]), 0);
        assert_eq!(counter(&["dhcp", "discover"]), counter(&["dhcp", "offer"]));
        assert!(counter(&["to_network", "frames"]) >= 4);
    }
}
