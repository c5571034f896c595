//! What must work on every kernel: a binding from attach to detach, with a real DHCP client, traffic both ways, a changed
//! lease, and kills. `cargo xtask verify` runs this on other kernels as well.
//!
//! Only what a small guest has: busybox, iproute2, strace.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use binding_user::datapath::tcx;
use lab::{
    BINDING, ClientKind, DhcpClient, Guest, Namespace, Offloads, Pod, Scene, Tapwire, fingerprint,
    guest::GUEST_NIC,
    interrupt::{Fate, kill_after},
    portal,
    tapwire::attach_arguments,
    wait::wait_until,
};

const NODE: &str = "10.244.1.1";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const CHANGED: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 6);
/// Longest wait; an emulated CPU that others want too is slow.
const SOON: Duration = Duration::from_mins(1);
/// Datagrams each way.
const DATAGRAMS: u32 = 200;
/// Octets of a stream each way: enough for segments of 64 KiB.
const OCTETS: usize = 1 << 20;

/// A way to hang the programs, and options that take other ways through them with it.
#[derive(Clone, Copy)]
struct Way {
    hook: &'static str,
    options: &'static [&'static str],
}

const CLSACT: Way = Way { hook: "clsact", options: &["--hook", "clsact"] };
const CLSACT_KEEP: Way =
    Way { hook: "clsact", options: &["--hook", "clsact", "--mac-mode", "keep", "--to-network", "redirect"] };
const TCX: Way = Way { hook: "tcx", options: &["--hook", "tcx"] };
const TCX_KEEP: Way =
    Way { hook: "tcx", options: &["--hook", "tcx", "--mac-mode", "keep", "--to-network", "redirect"] };

/// The kernel's first two numbers.
fn version() -> (u32, u32) {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Whether this kernel has TCX, which came with 6.6. That it is found where it is, is a promise of its own.
fn has_tcx() -> bool {
    let found = tcx::is_supported("lo").unwrap();
    assert_eq!(found, version() >= (6, 6), "TCX on {:?}", version());
    found
}

/// Where the kernel lacks the hook, attach by its name is refused and changes nothing, and that is all there is to test.
fn is_there(way: Way) -> bool {
    if way.hook != "tcx" || has_tcx() {
        return true;
    }
    let pod = pod("no-tcx");
    let tapwire = Tapwire::new().unwrap();
    let before = pod.fingerprint().unwrap();
    let refusal = tapwire.refusal(&[&attach_arguments(&pod, BINDING), way.options].concat()).unwrap();
    assert!(refusal.error.contains("TCX") || refusal.error.contains("tcx"), "{}", refusal.error);
    assert_eq!(pod.fingerprint().unwrap(), before);
    assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0"]);
    false
}

/// A pod whose NIC has come to rest, so that what it has can be compared: a carrier is told of late, and a slow machine
/// shows it.
fn pod(label: &str) -> Pod {
    let pod = Pod::new(label).unwrap();
    wait_until("the pod NIC to come to rest", SOON, || {
        let link = pod.namespace.ip(&["addr", "show", "dev", &pod.nic])?;
        let routes = pod.namespace.ip(&["-6", "route", "show", "table", "all", "dev", &pod.nic])?;
        Ok(link.contains("state UP") && !link.contains("tentative") && routes.contains("ff00::/8"))
    })
    .unwrap();
    pod
}

fn start(way: Way, more: &[&str]) -> Scene {
    let scene = Scene::new(pod("kernel"), &[way.options, more].concat(), Offloads::Virtio).unwrap();
    assert_eq!(scene.tapwire.show(BINDING).unwrap()["wire"]["hook"], way.hook);
    scene
}

fn lease(guest: &Guest) -> (DhcpClient<'_>, Ipv4Addr) {
    let mut client = DhcpClient::start(&guest.namespace, ClientKind::Udhcpc).unwrap();
    let lease = client.acquire(SOON).unwrap();
    (client, lease.address.unwrap())
}

/// Datagrams with numbers in them and a stream, from the guest to the node and back; all of it must arrive.
fn traffic_both_ways(scene: &Scene, address: Ipv4Addr) {
    let (guest, node) = (&scene.guest.namespace, &scene.pod.node);
    let address = address.to_string();
    datagrams((guest, &address), (node, NODE));
    datagrams((node, NODE), (guest, &address));
    stream((guest, &address), (node, NODE));
    stream((node, NODE), (guest, &address));
    scene.no_checksum_error().unwrap();
}

fn datagrams(from: (&Namespace, &str), to: (&Namespace, &str)) {
    let socket = |(namespace, address): (&Namespace, &str)| {
        let socket = namespace.run(|| Ok(UdpSocket::bind((address, 0))?)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    };
    let (from, to) = (socket(from), socket(to));
    for number in 0..DATAGRAMS {
        from.send_to(&number.to_be_bytes(), to.local_addr().unwrap()).unwrap();
        let mut octets = [0; 4];
        assert_eq!(to.recv(&mut octets).unwrap(), 4);
        assert_eq!(u32::from_be_bytes(octets), number);
    }
}

fn stream(from: (&Namespace, &str), to: (&Namespace, &str)) {
    let sent: Vec<u8> = (0..OCTETS).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let listener = to.0.run(|| Ok(TcpListener::bind((to.1, 7001))?)).unwrap();
    let mut sender = from.0.run(|| Ok(TcpStream::connect((to.1, 7001))?)).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    for socket in [&sender, &receiver] {
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
    }
    let received = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).unwrap();
            received
        });
        sender.write_all(&sent).unwrap();
        drop(sender);
        reading.join().unwrap()
    });
    assert!(received == sent, "{} octets arrived of {}", received.len(), sent.len());
}

/// The guard drops what the guest sends from an address that is not its own, and names it.
fn guard_holds(scene: &Scene) {
    let guest = &scene.guest.namespace;
    guest.ip(&["addr", "add", "10.244.1.77/32", "dev", GUEST_NIC]).unwrap();
    let socket = guest.run(|| Ok(UdpSocket::bind(("10.244.1.77", 7002))?)).unwrap();
    let dropped = scene.dropped("spoofed-ipv4").unwrap();
    wait_until("the guard to drop", SOON, || {
        socket.send_to(b"spoofed", (NODE, 7002))?;
        Ok(scene.dropped("spoofed-ipv4")? > dropped)
    })
    .unwrap();
    guest.ip(&["addr", "del", "10.244.1.77/32", "dev", GUEST_NIC]).unwrap();
}

/// The whole life, with the checks that belong to it.
fn lives(way: Way) {
    if !is_there(way) {
        return;
    }
    let pod = pod("kernel");
    let before = pod.fingerprint().unwrap();
    let scene = Scene::new(pod, way.options, Offloads::Virtio).unwrap();
    assert_eq!(scene.tapwire.show(BINDING).unwrap()["wire"]["hook"], way.hook);
    let (mut client, address) = lease(&scene.guest);
    assert_eq!(address, ADDRESS);
    traffic_both_ways(&scene, ADDRESS);
    guard_holds(&scene);

    let changed = scene.tapwire.json(&["lease", "set", BINDING, "--address", "10.244.1.6/24"]).unwrap();
    assert_eq!(changed["state"], "ready");
    scene.pod.node.ip(&["neigh", "flush", "dev", &scene.pod.host_side]).unwrap();
    assert_eq!(client.renew(SOON).unwrap().address, Some(CHANGED));
    traffic_both_ways(&scene, CHANGED);

    if verbs(&scene.tapwire).iter().any(|verb| verb == "upgrade") {
        let counted = scene.counter(&["to_network", "frames"]).unwrap();
        scene.tapwire.run(&["upgrade", BINDING]).unwrap();
        assert!(scene.counter(&["to_network", "frames"]).unwrap() >= counted, "the counters go on");
        assert_eq!(scene.tapwire.show(BINDING).unwrap()["state"], "ready");
        traffic_both_ways(&scene, CHANGED);
    }
    drop(client);
    let Scene { guest, tapwire, pod } = scene;
    drop(guest);
    tapwire.run(&["detach", BINDING]).unwrap();
    assert_restored(&pod, &tapwire, &before, "detach");
}

/// Whether frames into a portal that is gone are noticed (`bpf_check_mtu`, 5.12).
fn notices_loss() -> bool {
    version() >= (5, 12)
}

/// The portal's life: taken, used for all that goes to the guest, deleted by hand, made again, withdrawn at detach.
fn portal_lives(way: Way) {
    if !is_there(way) {
        return;
    }
    let pod = pod("portal");
    let before = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
    let scene = Scene::new(pod, &[way.options, &["--to-guest", "portal"]].concat(), Offloads::Virtio).unwrap();
    portal::wait_until_ready(&scene.pod.node, 1).unwrap();
    scene.guest.configure("10.244.1.5/24", None).unwrap();
    // Both learn where the other is.
    lab::scene::ping(&scene.guest.namespace, NODE).unwrap();
    let (sent, by_veth) = (portal::only(&scene.pod.node).unwrap().sent, portal::by_veth(&scene.pod).unwrap());
    traffic_both_ways(&scene, ADDRESS);
    let after = portal::only(&scene.pod.node).unwrap();
    assert!(after.sent >= sent + u64::from(DATAGRAMS), "{after:?}");
    assert_eq!(after.received, 0);
    assert_eq!(portal::by_veth(&scene.pod).unwrap(), by_veth, "frames went by the veth");
    guard_holds(&scene);

    scene.pod.node.ip(&["link", "del", &after.name]).unwrap();
    if notices_loss() {
        traffic_both_ways(&scene, ADDRESS);
    }
    scene.tapwire.run(&["repair", BINDING]).unwrap();
    portal::wait_until_ready(&scene.pod.node, 1).unwrap();
    traffic_both_ways(&scene, ADDRESS);
    assert!(portal::only(&scene.pod.node).unwrap().sent >= u64::from(DATAGRAMS));

    let Scene { guest, tapwire, pod } = scene;
    drop(guest);
    tapwire.run(&["detach", BINDING]).unwrap();
    assert_restored(&pod, &tapwire, &before.0, "detach");
    let after = pod.host_fingerprint().unwrap();
    assert!(after == before.1, "{}", fingerprint::difference(&before.1, &after));
    assert_eq!(portal::all(&pod.node).unwrap(), []);
}

#[test]
fn a_portal_lives_on_clsact() {
    lab::require_root!();
    portal_lives(CLSACT);
}

#[test]
fn a_portal_lives_on_tcx_beside_a_nic_that_keeps_its_mac() {
    lab::require_root!();
    portal_lives(TCX_KEEP);
}

#[test]
fn auto_takes_a_portal_where_its_loss_is_noticed() {
    lab::require_root!();
    let scene = start(CLSACT, &[]);
    let wire = scene.tapwire.show(BINDING).unwrap()["wire"].clone();
    assert_eq!(wire["to_guest"], if notices_loss() { "portal" } else { "redirect" }, "{wire}");
    assert_eq!(portal::all(&scene.pod.node).unwrap().len(), usize::from(notices_loss()));
}

/// What this build of tapwire can do.
fn verbs(tapwire: &Tapwire) -> Vec<String> {
    let help = tapwire.run(&["--help"]).unwrap();
    help.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn assert_restored(pod: &Pod, tapwire: &Tapwire, before: &str, when: &str) {
    let after = pod.fingerprint().unwrap();
    assert!(after == before, "{when}:\n{}", fingerprint::difference(before, &after));
    assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0"], "{when}");
    assert!(!tapwire.pins().join(BINDING).exists(), "{when}: pins are left");
    assert!(!tapwire.state().join(format!("{BINDING}.json")).exists(), "{when}: a journal is left");
}

#[test]
fn a_binding_lives_on_clsact() {
    lab::require_root!();
    lives(CLSACT);
}

#[test]
fn a_binding_that_keeps_the_macs_and_redirects_lives_on_clsact() {
    lab::require_root!();
    lives(CLSACT_KEEP);
}

#[test]
fn a_binding_lives_on_tcx_or_is_refused_where_there_is_none() {
    lab::require_root!();
    lives(TCX);
}

#[test]
fn a_binding_that_keeps_the_macs_and_redirects_lives_on_tcx() {
    lab::require_root!();
    lives(TCX_KEEP);
}

/// The guest's MAC is another than the network knows: the programs rewrite what goes either way.
#[test]
fn a_guest_whose_mac_is_learnt_has_a_lease_and_traffic() {
    lab::require_root!();
    let pod = pod("learn");
    let options = ["--guest-mac", "learn"];
    let scene = Scene::with_mac(pod, &options, Offloads::Virtio, "02:00:00:00:00:77").unwrap();
    let (_client, address) = lease(&scene.guest);
    assert_eq!(address, ADDRESS);
    traffic_both_ways(&scene, ADDRESS);
    assert_eq!(scene.tapwire.show(BINDING).unwrap()["lease"]["mac"], "02:00:00:00:00:77");
}

/// Everything of ours is killed, again and again, and the guest takes its lease and has its traffic all the same.
#[test]
fn no_process_of_ours_is_needed_after_attach() {
    lab::require_root!();
    let scene = start(CLSACT, &[]);
    for process in scene.tapwire.processes().unwrap() {
        lab::cmd::run(&["kill", "-9", &process.to_string()]).unwrap();
    }
    wait_until("the end of every process", SOON, || Ok(scene.tapwire.processes()?.is_empty())).unwrap();
    let (_client, address) = lease(&scene.guest);
    traffic_both_ways(&scene, address);
    assert!(scene.tapwire.processes().unwrap().is_empty());
}

/// Killed after each power of two of its changes: a walk through all of them takes minutes on an emulated CPU.
fn killed(way: Way) {
    if !is_there(way) {
        return;
    }
    let pod = pod("killed");
    let tapwire = Tapwire::new().unwrap();
    let before = pod.fingerprint().unwrap();
    let arguments = [&attach_arguments(&pod, BINDING), way.options].concat();
    let mut half_way = 0;
    for nth in (0..).map(|power| 1_usize << power) {
        let fate = kill_after(&tapwire, &arguments, nth).unwrap();
        let has_journal = tapwire.state().join(format!("{BINDING}.json")).exists();
        if fate == Fate::Killed && has_journal {
            half_way += 1;
            // In turn: the same attach again completes it, or detach undoes it.
            if half_way % 2 == 0 {
                assert_eq!(tapwire.attach(&pod, BINDING, way.options).unwrap()["state"], "ready");
            }
        }
        if has_journal {
            tapwire.run(&["detach", BINDING]).unwrap();
        }
        assert_restored(&pod, &tapwire, &before, &format!("killed after change {nth}"));
        if fate == Fate::Finished {
            assert!(half_way >= 2, "only {half_way} kills met changes");
            return;
        }
    }
}

#[test]
fn an_attach_killed_half_way_is_completed_or_undone_on_clsact() {
    lab::require_root!();
    killed(CLSACT);
}

#[test]
fn an_attach_killed_half_way_is_completed_or_undone_on_tcx() {
    lab::require_root!();
    killed(TCX);
}
