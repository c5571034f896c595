//! A tap and a host side, joined by tapwire: frames go in and out of them one by one.

use std::time::Duration;

use lab::{
    BINDING, Offloads, Pod, RawPort, TapPort, Tapwire,
    portal::{self, Portal},
};
use serde_json::Value;

/// Longest wait for what is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Ethertype for experiments (IEEE 802): no kernel does anything with it.
pub(crate) const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// The guest's MAC.
pub(crate) const GUEST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x05];
/// That of the host side.
pub(crate) const HOST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x01];
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

pub(crate) struct Wire {
    pub(crate) tap: TapPort,
    pub(crate) host: RawPort,
    // After the ports: a tap that is held cannot be taken away cleanly.
    pub(crate) tapwire: Tapwire,
    pub(crate) pod: Pod,
}

impl Wire {
    /// Attaches a fresh pod.
    pub(crate) fn new(label: &str, options: &[&str]) -> Self {
        Self::of(Pod::new(label).unwrap(), options)
    }

    /// Attaches a pod.
    pub(crate) fn of(pod: Pod, options: &[&str]) -> Self {
        Self::with(pod, options, Offloads::None)
    }

    /// Attaches a pod, whose tap has a reader that takes these in one piece.
    pub(crate) fn with(pod: Pod, options: &[&str], offloads: Offloads) -> Self {
        let tapwire = Tapwire::new().unwrap();
        let options = [&["--allow-ethertype", "0x88b5"], options].concat();
        tapwire.attach(&pod, BINDING, &options).unwrap();
        let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
        let tap = TapPort::ready(&pod.namespace, "tap0", offloads).unwrap();
        portal::wait_until_ready(&pod.node, portal::all(&pod.node).unwrap().len()).unwrap();
        Self { tap, host, tapwire, pod }
    }

    /// The one portal of the node.
    pub(crate) fn portal(&self) -> Portal {
        portal::only(&self.pod.node).unwrap()
    }

    /// How frames go to the guest, and why.
    pub(crate) fn way(&self) -> (String, String) {
        way(&self.tapwire, BINDING)
    }

    /// A counter of the binding.
    pub(crate) fn count(&self, path: &[&str]) -> u64 {
        self.tapwire.counter(BINDING, path).unwrap()
    }

    /// Sends a frame out of the host side, and waits for the same at the tap.
    pub(crate) fn to_guest(&self, frame: &[u8]) {
        self.host.send(frame).unwrap();
        self.arrives(frame);
    }

    /// Sends a frame out of the host side that may be dropped. Of a drop at egress the kernel tells the sender, of one
    /// behind it not.
    pub(crate) fn try_to_guest(&self, frame: &[u8]) {
        let _ = self.host.send(frame);
    }

    /// Waits for a frame at the tap.
    pub(crate) fn arrives(&self, frame: &[u8]) {
        self.tap.expect(&format!("{} octets", frame.len()), SOON, |seen| seen == frame).unwrap();
    }

    /// Sends a frame into the tap, and waits for the same on the host side.
    pub(crate) fn to_network(&self, frame: &[u8]) {
        self.tap.send(frame).unwrap();
        let what = format!("{} octets", frame.len());
        self.host.expect(&what, SOON, |seen| !seen.outgoing && seen.data == frame).unwrap();
    }

    /// A frame gets to the guest, and by the portal.
    pub(crate) fn goes_by_portal(&self, mark: u8) {
        let before = self.portal().sent;
        self.to_guest(&frame(mark));
        assert!(self.portal().sent > before, "the portal sent nothing");
    }

    /// A frame gets to the guest, and not by a portal.
    pub(crate) fn goes_by_veth(&self, mark: u8) {
        let before = portal::by_veth(&self.pod).unwrap();
        self.to_guest(&frame(mark));
        assert!(portal::by_veth(&self.pod).unwrap() > before, "the pod NIC received nothing");
        let sent = portal::all(&self.pod.node).unwrap().iter().map(|portal| portal.sent).sum::<u64>();
        self.to_guest(&frame(mark.wrapping_add(100)));
        let after = portal::all(&self.pod.node).unwrap().iter().map(|portal| portal.sent).sum::<u64>();
        assert_eq!(sent, after, "a portal sent it");
    }

    /// What was sent before did not reach the guest: the first of the tests' frames that does is sent now.
    pub(crate) fn nothing_came(&self, what: &str) {
        let marker = frame(0xfe);
        self.host.send(&marker).unwrap();
        let (_, first) =
            self.tap.expect("a frame after it", SOON, |seen| seen.get(12..14) == Some(&EXPERIMENT)).unwrap();
        assert!(first == marker, "{what}: the guest got {first:02x?}");
    }

    /// Repairs, and gives what was done.
    pub(crate) fn repair(&self) -> Vec<String> {
        let outcome = self.tapwire.json(&["repair", BINDING]).unwrap()["bindings"][0].clone();
        assert_eq!(outcome["state"], "ready", "{outcome}");
        outcome["done"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// State and reason.
    pub(crate) fn state(&self) -> (String, String) {
        let shown = self.tapwire.show(BINDING).unwrap();
        (text(&shown["state"]), text(&shown["reason"]))
    }
}

/// How frames go to the guest of a binding, and why.
pub(crate) fn way(tapwire: &Tapwire, name: &str) -> (String, String) {
    let shown = tapwire.show(name).unwrap();
    (text(&shown["wire"]["to_guest"]), text(&shown["wire"]["to_guest_why"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A frame of the node to the guest that tells its mark.
pub(crate) fn frame(mark: u8) -> Vec<u8> {
    addressed(GUEST, HOST, mark)
}

/// A frame that tells its mark.
pub(crate) fn addressed(to: [u8; 6], from: [u8; 6], mark: u8) -> Vec<u8> {
    [&to[..], &from, &EXPERIMENT, &[mark; 46]].concat()
}
