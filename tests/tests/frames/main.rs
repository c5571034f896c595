//! Single frames over real devices: every size, every kind, both ways, by every wire. What arrives is what was sent.
//!
//! The frames go into the tap as a VM monitor writes them, and are read on the host side, and the other way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod kinds;
mod segments;
mod silence;
mod sizes;

use std::time::Duration;

use lab::{BINDING, Offloads, Pod, RawPort, TapPort, Tapwire};

/// Longest wait for a frame, which in truth is there at once.
const SOON: Duration = Duration::from_secs(5);
/// The wires that differ in the way of a frame: hook, and how it leaves the pod.
const WIRES: [&[&str]; 3] = [&["--to-network", "peer"], &["--to-network", "redirect"], &["--hook", "clsact"]];

/// EtherType for experiments (IEEE 802): no kernel does anything with it.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
const GUEST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x05];
const HOST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x01];

/// A tap and the host side, joined by tapwire.
struct Wire {
    tap: TapPort,
    host: RawPort,
    // After the ports: a tap that is held cannot be taken away cleanly.
    tapwire: Tapwire,
    pod: Pod,
}

impl Wire {
    fn new(pod: Pod, options: &[&str], offloads: Offloads) -> Self {
        let tapwire = Tapwire::new().unwrap();
        let options = [&["--allow-ethertype", "0x88b5"], options].concat();
        tapwire.attach(&pod, BINDING, &options).unwrap();
        let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
        let tap = TapPort::behind(&pod, "tap0", offloads).unwrap();
        Self { tap, host, tapwire, pod }
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.tapwire.counter(BINDING, &["dropped", reason]).unwrap()
    }

    fn traffic(&self, way: &str) -> (u64, u64) {
        let count = |what| self.tapwire.counter(BINDING, &[way, what]).unwrap();
        (count("frames"), count("bytes"))
    }

    /// Sends a frame from the guest, and waits for the same on the host side.
    fn to_network(&self, frame: &[u8]) {
        self.tap.send(frame).unwrap();
        let what = format!("{} octets of {:02x?}", frame.len(), &frame[12..14]);
        self.host.expect(&what, SOON, |seen| !seen.outgoing && seen.data == frame).unwrap();
    }

    /// Sends a frame from the host side, and waits for the same at the tap.
    fn to_guest(&self, frame: &[u8]) {
        self.host.send(frame).unwrap();
        let what = format!("{} octets of {:02x?}", frame.len(), &frame[12..14]);
        self.tap.expect(&what, SOON, |seen| seen == frame).unwrap();
    }
}

/// A frame whose octets tell its length and their place.
fn frame(to: [u8; 6], from: [u8; 6], kind: [u8; 2], len: usize) -> Vec<u8> {
    let mut frame = [to.as_slice(), &from, &kind].concat();
    // 251 is the largest prime that an octet holds: no power of two hides a shift.
    frame.extend((0..=250).cycle().skip(len % 251).step_by(7).take(len - 14));
    frame
}
