//! Whatever goes wrong: nothing that guest or node sends comes out of the portal into the node's stack.

use std::{fs, net::UdpSocket, time::Duration};

use lab::{
    BINDING, Pod, RawPort,
    portal::{self},
    stream::{datagram, octets},
    wait::wait_until,
};

use crate::wire::{BROADCAST, EXPERIMENT, GUEST, HOST, SOON, Wire, addressed, frame};

const NODE4: [u8; 4] = [10, 244, 1, 1];
const GUEST4: [u8; 4] = [10, 244, 1, 5];

/// Takes our program off the tap, as nobody should.
fn expose(wire: &Wire, hook: &str) {
    if hook == "tcx" {
        fs::remove_file(wire.tapwire.pins().join(BINDING).join("link_tapwire_tap_in")).unwrap();
    } else {
        wire.pod.namespace.exec(&["tc", "qdisc", "del", "dev", "tap0", "clsact"]).unwrap();
    }
    // The kernel takes a program off some time after its last holder let it go.
    wait_until("the program to be gone", SOON, || {
        let before = wire.count(&["to_network", "frames"]);
        wire.tap.send(&addressed(HOST, GUEST, 9))?;
        Ok(wire.count(&["to_network", "frames"]) == before)
    })
    .unwrap();
}

/// All that a guest could try: to the portal itself, to the node, to all.
fn tries(senders: &[[u8; 6]], portal: [u8; 6]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for &from in senders {
        for to in [portal, HOST, BROADCAST, [0x01, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
            all.push(addressed(to, from, 1));
            all.push(datagram(&to, &from, [GUEST4, NODE4]));
            all.push(datagram(&to, &from, [[10, 244, 1, 1], [127, 0, 0, 1]]));
        }
    }
    all
}

/// What tells that something came to the node's stack: a socket for all that is sent to the port of the tries.
struct Ear {
    udp: UdpSocket,
}

impl Ear {
    fn open(pod: &Pod) -> Self {
        let udp = pod.node.run(|| Ok(UdpSocket::bind(("0.0.0.0", 7000))?)).unwrap();
        udp.set_nonblocking(true).unwrap();
        Self { udp }
    }

    fn heard(&self) -> bool {
        self.udp.recv(&mut [0; 64]).is_ok()
    }
}

fn mac(wire: &Wire) -> [u8; 6] {
    let text = lab::pod::mac_of(&wire.pod.node, &wire.portal().name).unwrap();
    octets(&text).unwrap().try_into().unwrap()
}

#[test]
fn nothing_of_the_guest_comes_out_of_the_portal_even_without_the_taps_program() {
    lab::require_root!();
    for hook in ["tcx", "clsact"] {
        let wire = Wire::new("exposed", &["--hook", hook, "--guard", "off"]);
        let (name, ear, own) = (wire.portal().name, Ear::open(&wire.pod), mac(&wire));
        let inside = RawPort::open(&wire.pod.node, &name).unwrap();
        // With it, frames go to the host side, and the node hears them there.
        wire.to_network(&addressed(HOST, GUEST, 1));
        expose(&wire, hook);
        for frame in tries(&[GUEST, [2, 0, 0, 0, 0, 0x66]], own) {
            wire.tap.send(&frame).unwrap();
        }
        // In this kernel a frame into the tap has gone all its way when it was taken.
        let came = inside.collect(Duration::ZERO).unwrap();
        assert!(came.iter().all(|seen| seen.outgoing), "{hook}: {came:02x?}");
        assert_eq!(wire.portal().received, 0, "{hook}");
        // A macvlan takes for its own what is for all and says to come from its own MAC, which no guest can know. The
        // portal's program drops it.
        let dropped = wire.count(&["dropped", "portal"]);
        for frame in tries(&[own], own) {
            wire.tap.send(&frame).unwrap();
        }
        wait_until("the drops to be counted", SOON, || Ok(wire.count(&["dropped", "portal"]) >= dropped + 9)).unwrap();
        assert!(!ear.heard(), "{hook}: the node's stack heard the guest");
        // Towards the guest all is as it was.
        wire.goes_by_portal(3);
    }
}

#[test]
fn what_is_let_into_the_portal_by_force_is_dropped_there_by_name() {
    lab::require_root!();
    for hook in ["tcx", "clsact"] {
        let wire = Wire::new("forced", &["--hook", hook, "--guard", "off"]);
        let (name, ear) = (wire.portal().name, Ear::open(&wire.pod));
        // The list of sources is what a macvlan of this mode lets in.
        wire.pod.node.ip(&["link", "set", &name, "type", "macvlan", "macaddr", "add", lab::pod::POD_MAC]).unwrap();
        expose(&wire, hook);
        let count = |wire: &Wire| wire.count(&["dropped", "portal"]);
        let before = count(&wire);
        for to in [HOST, BROADCAST] {
            wire.tap.send(&datagram(&to, &GUEST, [GUEST4, NODE4])).unwrap();
        }
        wait_until("the drops to be counted", SOON, || Ok(count(&wire) >= before + 2)).unwrap();
        assert!(!ear.heard(), "{hook}: the node's stack heard the guest");
    }
}

#[test]
fn the_node_says_nothing_of_its_own_through_the_portal() {
    lab::require_root!();
    let wire = Wire::new("mute", &[]);
    let portal = wire.portal();
    let conf = |family: &str, key: &str| {
        let path = format!("/proc/sys/net/{family}/conf/{}/{key}", portal.name);
        wire.pod.node.run(|| Ok(fs::read_to_string(&path)?)).unwrap().trim().to_owned()
    };
    assert_eq!(conf("ipv6", "disable_ipv6"), "1");
    assert_eq!(conf("ipv4", "forwarding"), "0");
    let link = wire.pod.node.ip(&["-d", "link", "show", "dev", &portal.name]).unwrap();
    assert!(link.contains("NOARP") && link.contains("mode source"), "{link}");
    let addresses = wire.pod.node.ip(&["-o", "addr", "show", "dev", &portal.name]).unwrap();
    assert_eq!(addresses, "", "a portal has no address");
    // Only what the program at the host side sends goes out by it.
    let outside = RawPort::open(&wire.pod.node, &portal.name).unwrap();
    let counted = wire.count(&["to_guest", "frames"]);
    for mark in 0..20 {
        wire.to_guest(&frame(mark));
    }
    let went = outside.collect(Duration::ZERO).unwrap();
    let of_ours = went.iter().filter(|seen| seen.data[12..14] == EXPERIMENT).count();
    assert_eq!(of_ours, 20);
    assert_eq!(wire.count(&["to_guest", "frames"]) - counted, went.len() as u64, "{went:02x?}");
}

#[test]
fn what_the_node_sends_out_of_the_portal_does_not_come_back_to_it() {
    lab::require_root!();
    let wire = Wire::new("echo", &[]);
    let (name, own, ear) = (wire.portal().name, mac(&wire), Ear::open(&wire.pod));
    let port = RawPort::open(&wire.pod.node, &name).unwrap();
    for to in [own, BROADCAST, HOST] {
        port.send(&datagram(&to, &HOST, [GUEST4, NODE4])).unwrap();
    }
    wire.nothing_came("nothing of the experiments'");
    assert!(!ear.heard());
    assert_eq!(portal::only(&wire.pod.node).unwrap().received, 0);
}
