//! With traffic running, everything of ours is killed, attached again, upgraded and rolled back: no frame is lost.

use std::{process::Stdio, time::Duration};

use lab::{
    BINDING, Guest, Offloads, TapPort, cmd,
    interrupt::{changes, kill_after},
    scene,
    stream::{self, RATE},
    wait::wait_until,
};
use serde_json::Value;

use crate::{Lab, SOON, upgrade};

/// The node, as the guest sees it.
const NODE: &str = "10.244.1.1";
/// Frames each way, at least.
const LEAST: u64 = 3 * RATE as u64;

/// Everything that may happen to a binding that stays. After each, `look` is called.
fn everything(lab: &Lab, options: &[&str], look: &dyn Fn(&str)) {
    let attach_again = || {
        assert_eq!(lab.tapwire.attach(&lab.pod, BINDING, options).unwrap()["state"], "ready");
    };
    attach_again();
    look("attached again");
    for build in [&lab.other, &lab.layout] {
        let last = changes(build, &["upgrade", BINDING]).unwrap();
        let mut interrupted = 0;
        // While it ends, while the hooks change, and while it loads.
        for nth in (1..=last).rev().step_by(3).take(8) {
            upgrade(&lab.tapwire);
            kill_after(build, &["upgrade", BINDING], nth).unwrap();
            interrupted += usize::from(lab.show()["state"] != "ready");
            look("killed in the middle of an upgrade");
            attach_again();
            look("attached after that");
        }
        assert!(interrupted > 0, "no upgrade was killed half way");
        upgrade(build);
        look("upgraded");
        assert_eq!(upgrade(&lab.tapwire)["upgraded"][0]["name"], BINDING);
        look("rolled back");
    }
    upgrade(&lab.other);
    upgrade(&lab.layout);
    look("upgraded across layouts");
}

/// Every number in it is as large as the one before, or larger.
fn grown(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(name, value)| after.get(name).is_some_and(|after| grown(value, after)))
        }
        _ => before.as_u64() <= after.as_u64(),
    }
}

fn loses_no_frame_of_a_stream(label: &str, options: &[&str]) {
    let lab = Lab::new(label, options);
    let before = lab.count(&["to_network", "frames"]);
    assert_eq!(before, 0, "the guest has sent nothing");
    let ((), streamed) = stream::during(&lab.pod, LEAST, |tap: &TapPort| {
        let counters = std::cell::RefCell::new(lab.show()["counters"].clone());
        everything(&lab, options, &|when| {
            let shown = lab.show();
            assert_eq!(shown["warnings"].as_array().map(Vec::len), Some(0), "{when}: {shown}");
            assert!(grown(&counters.borrow(), &shown["counters"]), "{when}: {counters:?}, then {shown}");
            counters.replace(shown["counters"].clone());
            lab.lease_is_answered(tap);
        });
    })
    .unwrap();
    println!("{label}: {streamed}");
    assert_eq!(lab.count(&["to_network", "frames"]), streamed.to_network, "all that was sent is counted, once");
    // The node's own stack may say something as well.
    let to_guest = lab.count(&["to_guest", "frames"]);
    assert!((streamed.to_guest..streamed.to_guest + 50).contains(&to_guest), "{to_guest}, {streamed}");
    let dropped = lab.show()["counters"]["dropped"].clone();
    assert!(dropped["too-big"].is_null() && dropped["unreadable"].is_null(), "{dropped}");
}

#[test]
fn no_frame_of_a_stream_is_lost_whatever_happens_to_tapwire() {
    lab::require_root!();
    loses_no_frame_of_a_stream("stream-tcx", &[]);
}

#[test]
fn no_frame_of_a_stream_is_lost_on_clsact() {
    lab::require_root!();
    loses_no_frame_of_a_stream("stream-clsact", &["--hook", "clsact", "--mac-mode", "keep"]);
}

#[test]
fn tcp_runs_on_whatever_happens_to_tapwire() {
    lab::require_root!();
    let lab = Lab::new("tcp", &[]);
    let guest = Guest::with_offloads(&lab.pod, "tap0", &lab.pod.mac, Offloads::Virtio).unwrap();
    guest.configure("10.244.1.5/24", Some(NODE)).unwrap();
    scene::ping(&guest.namespace, NODE).unwrap();
    let mut server = cmd::command(&["iperf3", "-s", "-1", "-B", NODE]).unwrap();
    let _server = lab.pod.node.spawn(server.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    wait_until("iperf3 to listen", SOON, || Ok(lab.pod.node.exec(&["ss", "-Hltn"])?.contains(":5201"))).unwrap();
    let mut client = cmd::command(&["iperf3", "-c", NODE, "-t", "600", "--bidir", "-J"]).unwrap();
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = guest.namespace.spawn(client).unwrap();
    let octets = |way: &str| lab.count(&[way, "bytes"]);
    let flows = |when: &str| {
        let before = (octets("to_network"), octets("to_guest"));
        wait_until(&format!("TCP both ways, {when}"), SOON, || {
            // More than acknowledgements.
            Ok(octets("to_network") > before.0 + 1_000_000 && octets("to_guest") > before.1 + 1_000_000)
        })
        .unwrap();
    };
    flows("at first");
    everything(&lab, &[], &flows);
    assert!(client.ended().unwrap().is_none(), "iperf3 still runs");
    client.kill();
    // What the guest wrote into the tap was counted once, frame by frame, or answered by us, or dropped by name.
    let handed = || guest.pump().counters().to_network.load(std::sync::atomic::Ordering::Relaxed);
    wait_until("every frame of the guest to be counted", Duration::from_secs(10), || {
        let shown = lab.show();
        let dropped: u64 = shown["counters"]["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let arp = shown["counters"]["arp"]["replies"].as_u64().unwrap();
        Ok(shown["counters"]["to_network"]["frames"].as_u64().unwrap() + arp + dropped == handed())
    })
    .unwrap();
    println!("tcp: {} octets to the network, {} to the guest", octets("to_network"), octets("to_guest"));
}
