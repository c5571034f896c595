//! Many frames: several CPUs, several queues, segments, and offloads that change while TCP runs.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use lab::{
    BINDING, Guest, Namespace, Observer, Offloads, Pod, TapPort, Tapwire,
    crowd::{self, Order},
    gso::{self, GsoPort, HEADERS},
    observer::{Act, Place, Side},
    pair::{self, NODE},
    pod::{POD_MAC, mac_of},
    portal, scene,
    stream::{self, RATE, datagram, octets},
    wait::wait_until,
};

use crate::wire::{GUEST, HOST, SOON, Wire};

/// Frames of each sender, at least.
const LEAST: u64 = 20_000;

#[test]
fn frames_of_all_cpus_at_once_arrive_once_and_in_their_order() {
    lab::require_root!();
    let Wire { tap, host, tapwire: _tapwire, pod } = Wire::new("crowd", &[]);
    drop((tap, host));
    let before = portal::only(&pod.node).unwrap().sent;
    let ((), sent) = crowd::during(&pod, Order::Kept, LEAST, || ()).unwrap();
    assert!(portal::only(&pod.node).unwrap().sent - before >= sent.iter().sum::<u64>());
    println!("frames of each CPU: {sent:?}");
}

#[test]
fn no_frame_is_lost_or_overtaken_while_the_programs_are_replaced() {
    lab::require_root!();
    let Wire { tap, host, tapwire, pod } = Wire::new("replaced", &[]);
    drop((tap, host));
    let before = portal::only(&pod.node).unwrap();
    let ((), sent) = crowd::during(&pod, Order::Kept, LEAST, || {
        for _ in 0..5 {
            tapwire.run(&["upgrade", BINDING]).unwrap();
        }
        for search in ["one.example", "two.example"] {
            tapwire.run(&["lease", "set", BINDING, "--search", search]).unwrap();
        }
    })
    .unwrap();
    let after = portal::only(&pod.node).unwrap();
    assert_eq!(after.ifindex, before.ifindex, "the portal stayed");
    assert!(after.sent - before.sent >= sent.iter().sum::<u64>(), "all went by the portal");
}

#[test]
fn both_ways_at_once_lose_nothing() {
    lab::require_root!();
    let Wire { tap, host, tapwire, pod } = Wire::new("stream", &[]);
    drop((tap, host));
    let ((), streamed) = stream::during(&pod, u64::from(RATE), |_| ()).unwrap();
    let counted = |way: &str| tapwire.counter(BINDING, &[way, "frames"]).unwrap();
    assert_eq!(counted("to_network"), streamed.to_network);
    // The node's own stack may say something as well.
    assert!((streamed.to_guest..streamed.to_guest + 50).contains(&counted("to_guest")));
}

/// Flows from beyond the node, all received by one queue of its NIC. Gives the queue of the guest that each came to.
fn spread(way: &str) -> BTreeMap<u16, usize> {
    const FLOWS: u16 = 400;
    let pod = Pod::new("queues").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &["--queues", "4", "--to-guest", way]).unwrap();
    let node = &pod.node;
    node.ip(&["tuntap", "add", "uplink0", "mode", "tap", "vnet_hdr", "multi_queue"]).unwrap();
    node.ip(&["link", "set", "uplink0", "up"]).unwrap();
    node.ip(&["addr", "add", "198.51.100.1/24", "dev", "uplink0"]).unwrap();
    node.ip(&["neigh", "add", "10.244.1.5", "lladdr", POD_MAC, "dev", &pod.host_side]).unwrap();
    node.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
    let open = |namespace: &Namespace, tap: &str| -> Vec<TapPort> {
        (0..4).map(|_| TapPort::ready(namespace, tap, Offloads::None).unwrap()).collect()
    };
    let (uplink, guest) = (open(node, "uplink0"), open(&pod.namespace, "tap0"));
    portal::wait_for(&pod, "tap0").unwrap();
    let mac = octets(&mac_of(node, "uplink0").unwrap()).unwrap();
    let mut queues = BTreeMap::new();
    for port in 1000..1000 + FLOWS {
        let mut frame = datagram(&mac, &[2, 0, 0, 0, 0, 9], [[198, 51, 100, 2], [10, 244, 1, 5]]);
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        uplink[3].send(&frame).unwrap();
    }
    wait_until("all flows at the guest", SOON, || {
        for (queue, tap) in guest.iter().enumerate() {
            while let Some((_, frame)) = tap.receive(Duration::ZERO)? {
                if frame[12..14] == [8, 0] && frame[26..30] == [198, 51, 100, 2] {
                    queues.insert(u16::from_be_bytes([frame[34], frame[35]]), queue);
                }
            }
        }
        Ok(queues.len() == usize::from(FLOWS))
    })
    .unwrap();
    queues
}

#[test]
fn flows_spread_over_the_guests_queues_as_they_do_by_redirect() {
    lab::require_root!();
    let by_portal = spread("portal");
    for queue in 0..4 {
        let flows = by_portal.values().filter(|other| **other == queue).count();
        assert!(flows > 40, "queue {queue} has {flows} of {} flows", by_portal.len());
    }
    assert_eq!(by_portal, spread("redirect"), "each flow has the queue that it has by redirect");
}

/// Octets that arrived.
type Progress = AtomicU64;

/// A stream of octets that tell their place, until the sender is told to stop; gives how many arrived, all as they were.
fn endless(from: &Namespace, to: (&Namespace, &str), port: u16, progress: &Progress, stop: &lab::stop::Stop) -> u64 {
    let listener = to.0.run(|| Ok(TcpListener::bind((to.1, port))?)).unwrap();
    let mut sender = from.run(|| Ok(TcpStream::connect((to.1, port))?)).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    for socket in [&sender, &receiver] {
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
    }
    // A multiple of the pattern, so that each piece begins alike; longer than what is read at once, wherever that begins.
    let piece: Vec<u8> = (0..=250).cycle().take(251 * 264).collect();
    thread::scope(|scope| {
        let piece = &piece;
        let sending = scope.spawn(move || {
            let mut sent = 0;
            while !stop.is_said() {
                sender.write_all(piece).unwrap();
                sent += piece.len() as u64;
            }
            sent
        });
        let (mut buffer, mut arrived) = (vec![0; 1 << 16], 0_u64);
        loop {
            let size = receiver.read(&mut buffer).unwrap();
            if size == 0 {
                break;
            }
            let start = usize::try_from(arrived % 251).unwrap();
            assert!(buffer[..size] == piece[start..start + size], "the stream changed on its way");
            arrived += size as u64;
            progress.store(arrived, Ordering::Relaxed);
        }
        assert_eq!(arrived, sending.join().unwrap());
        arrived
    })
}

/// Switches offloads of guest, tap and host side, and after each switch waits until both ways made progress.
fn toggle(pod: &Pod, guest: &Guest, progress: [&Progress; 2]) {
    let moved = |what: &str| {
        let before = progress.map(|way| way.load(Ordering::Relaxed));
        wait_until(&format!("TCP both ways, {what}"), SOON, || {
            Ok(progress.iter().zip(before).all(|(way, before)| way.load(Ordering::Relaxed) > before + 500_000))
        })
        .unwrap();
    };
    moved("at first");
    for offloads in [Offloads::None, Offloads::Virtio, Offloads::Checksum, Offloads::Virtio, Offloads::None] {
        guest.pump().set_offloads(offloads).unwrap();
        moved(&format!("the guest takes {offloads:?}"));
    }
    guest.pump().set_offloads(Offloads::Virtio).unwrap();
    for (namespace, link) in [(&pod.node, pod.host_side.as_str()), (&pod.namespace, "tap0")] {
        for (feature, switch) in
            [("tso", "off"), ("tx", "off"), ("gso", "off"), ("gso", "on"), ("tx", "on"), ("tso", "on")]
        {
            namespace.exec(&["ethtool", "-K", link, feature, switch]).unwrap();
            moved(&format!("{link} has {feature} {switch}"));
        }
    }
}

#[test]
fn offloads_that_change_during_tcp_lose_no_connection_and_spoil_no_checksum() {
    lab::require_root!();
    let scene = lab::Scene::new(Pod::new("toggled").unwrap(), &[], Offloads::Virtio).unwrap();
    scene.guest.configure("10.244.1.5/24", Some(NODE)).unwrap();
    scene::ping(&scene.guest.namespace, NODE).unwrap();
    let (guest, node) = (&scene.guest.namespace, &scene.pod.node);
    let (down, up, stop) = (Progress::default(), Progress::default(), lab::stop::Stop::default());
    thread::scope(|scope| {
        let ends = stop.guard();
        let threads = [
            scope.spawn(|| endless(node, (guest, pair::FIRST), 7001, &down, &stop)),
            scope.spawn(|| endless(guest, (node, NODE), 7002, &up, &stop)),
        ];
        toggle(&scene.pod, &scene.guest, [&down, &up]);
        drop(ends);
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
    });
    scene.no_checksum_error().unwrap();
    assert_eq!(scene.dropped("too-big").unwrap(), 0);
}

/// The payload of a segment that the node sent with a tag, as it came to a guest: whole, or cut and summed.
fn tagged_segments(way: &str, offloads: Offloads) -> (Vec<u8>, usize) {
    const LEN: usize = 9000;
    let wire = Wire::with(Pod::new("tagged").unwrap(), &["--to-guest", way, "--guard", "off"], offloads);
    let tagger = Observer::hang(&wire.pod.node, &wire.pod.host_side, Side::Egress, Place::TcxFirst, Act::Tag(100));
    let tagger = tagger.unwrap();
    let frame = gso::tcp([GUEST, HOST], [[10, 244, 1, 99], [10, 244, 1, 5]], LEN).unwrap();
    GsoPort::open(&wire.pod.node, &wire.pod.host_side).unwrap().send(&frame, 1446).unwrap();
    let (mut all, mut longest) = (vec![None; LEN - HEADERS], 0);
    while all.contains(&None) {
        let (header, mut seen) = wire
            .tap
            .expect("a tagged segment", SOON, |seen| seen.len() > 58 && seen[12..18] == [0x81, 0, 0, 100, 8, 0])
            .unwrap();
        longest = longest.max(seen.len());
        seen.drain(12..16);
        // Still to be summed, at the place that the tag moved; or summed.
        let is_open = header.flags & lab::tap::VnetHeader::NEEDS_CSUM != 0;
        assert!(if is_open { header.csum_start == 38 } else { gso::is_summed(&seen) }, "{way}: {header:?}");
        let at = u32::from_be_bytes([seen[38], seen[39], seen[40], seen[41]]) as usize;
        for (place, octet) in all[at..].iter_mut().zip(&seen[HEADERS..]) {
            *place = Some(*octet);
        }
    }
    assert!(tagger.seen().unwrap() > 0);
    let arrived: Vec<u8> = all.into_iter().flatten().collect();
    assert!(arrived == frame[HEADERS..], "{way}: the payload changed");
    (arrived, longest)
}

#[test]
fn a_segment_with_a_tag_reaches_the_guest_as_it_does_by_redirect() {
    lab::require_root!();
    for offloads in [Offloads::Virtio, Offloads::Checksum, Offloads::None] {
        let by_portal = tagged_segments("portal", offloads);
        assert_eq!(by_portal, tagged_segments("redirect", offloads), "{offloads:?}");
        assert!(offloads == Offloads::Virtio || by_portal.1 <= 1518, "{offloads:?}: {}", by_portal.1);
    }
}
