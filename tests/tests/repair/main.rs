//! `tapwire repair`: what drifted is put right and told, on real devices, and a guest behind them has its network again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod journal;
mod killed;
mod links;
mod nics;
mod order;
mod pins;
mod taps;

use std::time::Duration;

use lab::{BINDING, Guest, Pod, Tapwire, pod::HOST_MAC};
use serde_json::Value;

/// Both interfaces of the kernel.
const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// A pod with a binding by this kind of hook.
fn bound(label: &str, hook: &str, more: &[&str]) -> (Tapwire, Pod) {
    let pod = Pod::new(label).unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[&["--hook", hook], more].concat()).unwrap();
    (tapwire, pod)
}

/// The guest asks for a lease, takes its address, and reaches the node.
fn assert_works(pod: &Pod, mac: &str, address: &str) {
    let guest = Guest::new(pod, "tap0", mac).unwrap();
    let client = "busybox udhcpc -i eth0 -n -q -f -t 20 -T 1 -s /bin/true 2>&1";
    let said = guest.exec(&["sh", "-c", client]).unwrap();
    assert!(said.contains(&format!("lease of {address} obtained")), "{said}");
    guest.configure(&format!("{address}/24"), None).unwrap();
    assert_reaches(&guest);
}

fn assert_reaches(guest: &Guest) {
    let ping = || Ok(guest.exec(&["busybox", "ping", "-c", "1", "-W", "1", "10.244.1.1"]).is_ok());
    lab::wait::wait_until("an answer of the node", Duration::from_secs(20), ping).unwrap();
}

/// State and reason of the binding.
fn state(tapwire: &Tapwire) -> (String, String) {
    let shown = tapwire.show(BINDING).unwrap();
    let text = |key: &str| shown[key].as_str().unwrap().to_owned();
    (text("state"), text("reason"))
}

/// It is degraded for this reason, and no other.
fn assert_degraded(tapwire: &Tapwire, reason: &str) {
    assert_eq!(state(tapwire), ("degraded".to_owned(), reason.to_owned()));
}

/// Repairs, after which the binding is ready and there is nothing to do; gives what was done.
fn repair(tapwire: &Tapwire) -> Vec<String> {
    let outcome = tapwire.json(&["repair", BINDING]).unwrap()["bindings"][0].clone();
    assert_eq!((&outcome["state"], &outcome["reason"]), (&"ready".into(), &"".into()), "{outcome}");
    assert_eq!(state(tapwire).0, "ready");
    let again = tapwire.json(&["repair", BINDING]).unwrap();
    assert_eq!(again["bindings"][0]["done"], serde_json::json!([]), "nothing is left to do");
    lines(&outcome)
}

/// Repairs what cannot all be put right; gives the error and the hint.
fn refusal(tapwire: &Tapwire) -> (String, String) {
    let refusal = tapwire.refusal(&["repair", BINDING]).unwrap();
    (refusal.error, refusal.hint.unwrap_or_default())
}

fn lines(outcome: &Value) -> Vec<String> {
    outcome["done"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// Some line begins like this.
fn assert_said(lines: &[String], begin: &str) {
    assert!(lines.iter().any(|line| line.starts_with(begin)), "{begin:?} is not in {lines:?}");
}

/// Frames that reached the guest.
fn to_guest(tapwire: &Tapwire) -> u64 {
    tapwire.counter(BINDING, &["to_guest", "frames"]).unwrap()
}

/// The CNI makes the pod NIC anew.
fn new_nic(pod: &Pod, mac: &str, address: Option<&str>) {
    let Pod { namespace, node, nic, host_side, .. } = pod;
    // It may be gone already.
    let _ = namespace.ip(&["link", "del", nic]);
    let peer = ["type", "veth", "peer", "name", host_side, "address", HOST_MAC, "netns", node.name()];
    namespace.ip(&[&["link", "add", nic, "address", mac][..], &peer].concat()).unwrap();
    node.ip(&["link", "set", host_side, "up"]).unwrap();
    node.ip(&["addr", "add", "10.244.1.1/24", "dev", host_side]).unwrap();
    namespace.ip(&["link", "set", nic, "up"]).unwrap();
    if let Some(address) = address {
        namespace.ip(&["addr", "add", address, "dev", nic]).unwrap();
        namespace.ip(&["route", "add", "default", "via", "10.244.1.1"]).unwrap();
    }
}
