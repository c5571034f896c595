//! `tapwire upgrade`, and everything else that may happen to tapwire's processes: nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod all;
mod at_once;
mod killed;
mod layout;
mod nothing_lost;
mod swap;

use std::time::Duration;

use aya::programs::links::{FdLink, PinnedLink};
use lab::{BINDING, Offloads, Pod, TapPort, Tapwire, wait::wait_until};
use serde_json::Value;

/// Longest wait for what is to happen at once.
const SOON: Duration = Duration::from_secs(25);

/// The MACs of the pod and of the node.
const GUEST: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 1, 5];
const NODE: [u8; 6] = [0x0a, 0x58, 0x0a, 0xf4, 1, 1];

/// A pod with its one binding, and the builds of tapwire.
struct Lab {
    pod: Pod,
    /// The build under test. It owns the state.
    tapwire: Tapwire,
    /// Another build of the programs.
    other: Tapwire,
    /// Another one, whose pinned maps have another layout.
    layout: Tapwire,
}

impl Lab {
    fn new(label: &str, options: &[&str]) -> Self {
        let (pod, tapwire) = (Pod::new(label).unwrap(), Tapwire::new().unwrap());
        tapwire.attach(&pod, BINDING, options).unwrap();
        let [other, layout] = ["other-build", "other-layout"].map(|build| tapwire.other(build).unwrap());
        Self { pod, tapwire, other, layout }
    }

    fn tap(&self) -> TapPort {
        TapPort::behind(&self.pod, "tap0", Offloads::None).unwrap()
    }

    fn show(&self) -> Value {
        self.tapwire.show(BINDING).unwrap()
    }

    fn count(&self, path: &[&str]) -> u64 {
        self.tapwire.counter(BINDING, path).unwrap()
    }

    /// Ids of the programs on the hooks.
    fn programs(&self) -> Vec<u32> {
        let hook = self.show()["wire"]["hook"].as_str().unwrap().to_owned();
        if hook == "tcx" {
            return ["tapwire_tap_in", "tapwire_nic_in"].map(|program| link_program(&self.tapwire, program)).to_vec();
        }
        let of = |device: &str| {
            let filters = self.pod.namespace.exec(&["tc", "filter", "show", "dev", device, "ingress"]).unwrap();
            let id = filters.split_once(" id ").unwrap().1.split_whitespace().next().unwrap();
            id.parse().unwrap()
        };
        vec![of("tap0"), of("eth0")]
    }

    /// The guest asks for an offer, and the programs that are there now answer. What comes of it is read by nobody here.
    fn lease_is_answered(&self, tap: &TapPort) {
        let before = self.count(&["dhcp", "offer"]);
        tap.send(&lab::discover(GUEST, 0)).unwrap();
        wait_until("an offer", SOON, || Ok(self.count(&["dhcp", "offer"]) > before)).unwrap();
    }
}

/// Runs `upgrade` of a build on the one binding.
fn upgrade(build: &Tapwire) -> Value {
    build.json(&["upgrade", BINDING]).unwrap()
}

/// Id of the program that a pinned link has.
fn link_program(tapwire: &Tapwire, program: &str) -> u32 {
    let link = PinnedLink::from_pin(tapwire.pins().join(BINDING).join(format!("link_{program}"))).unwrap();
    FdLink::from(link).info().unwrap().program_id()
}
