//! Another pod NIC under the name of the old one.

use lab::{BINDING, Pod, pod::POD_MAC};

use crate::{HOOKS, assert_degraded, assert_said, assert_works, bound, new_nic, refusal, repair, to_guest};

const NEW_MAC: &str = "0a:58:0a:f4:01:77";

#[test]
fn a_new_nic_with_the_old_address_keeps_lease_counters_and_the_guests_mac() {
    lab::require_root!();
    for (hook, mode) in [("tcx", "swap"), ("clsact", "swap"), ("tcx", "keep")] {
        let (tapwire, pod) = bound("newnic", hook, &["--mac-mode", mode]);
        tapwire.run(&["lease", "set", BINDING, "--dns", "10.96.0.99"]).unwrap();
        assert_works(&pod, POD_MAC, "10.244.1.5");
        let (told, counted) = (tapwire.show(BINDING).unwrap()["lease"].clone(), to_guest(&tapwire));
        new_nic(&pod, NEW_MAC, Some("10.244.1.5/24"));
        let (before, host_before) = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
        assert_degraded(&tapwire, "the pod NIC eth0 is another device than the one that was attached");
        let said = repair(&tapwire);
        assert_said(&said, "bound the new eth0");
        assert_said(&said, "the guest keeps its lease of 10.244.1.5/24");
        assert_said(&said, &format!("the new NIC has the MAC {NEW_MAC}, which the network sees"));
        assert_works(&pod, POD_MAC, "10.244.1.5");
        let neighbours = pod.node.ip(&["neigh", "show", "10.244.1.5"]).unwrap();
        assert!(neighbours.contains(NEW_MAC), "the network sees the new NIC's MAC: {neighbours}");
        let shown = tapwire.show(BINDING).unwrap();
        assert_eq!(shown["lease"], told);
        assert!(to_guest(&tapwire) > counted, "the counters go on");
        tapwire.run(&["detach", BINDING]).unwrap();
        assert_eq!(pod.fingerprint().unwrap(), before, "the new NIC gets back what it had");
        assert_eq!(pod.host_fingerprint().unwrap(), host_before);
    }
}

#[test]
fn a_new_nic_with_another_address_changes_the_lease() {
    lab::require_root!();
    let (tapwire, pod) = bound("moved", "tcx", &[]);
    tapwire.run(&["lease", "set", BINDING, "--hostname", "vm-1"]).unwrap();
    new_nic(&pod, POD_MAC, Some("10.244.1.9/24"));
    assert_said(&repair(&tapwire), "the lease is 10.244.1.9/24, was 10.244.1.5/24");
    assert_works(&pod, POD_MAC, "10.244.1.9");
    let lease = tapwire.show(BINDING).unwrap()["lease"].clone();
    assert_eq!((&lease["server_id"], &lease["hostname"]), (&"10.244.1.1".into(), &"vm-1".into()));
}

#[test]
fn a_new_nic_without_an_address_is_waited_for() {
    lab::require_root!();
    let (tapwire, pod) = bound("bare", "clsact", &[]);
    new_nic(&pod, POD_MAC, None);
    let before = pod.fingerprint().unwrap();
    let (error, hint) = refusal(&tapwire);
    assert!(error.contains("it has no IPv4 address") && hint.contains("tapwire repair b"), "{error}, {hint}");
    assert_eq!(pod.fingerprint().unwrap(), before, "nothing is half bound");
    assert_degraded(&tapwire, "the pod NIC eth0 is another device than the one that was attached");
    new_nic(&pod, POD_MAC, Some("10.244.1.5/24"));
    repair(&tapwire);
    assert_works(&pod, POD_MAC, "10.244.1.5");
}

#[test]
fn a_nic_that_is_gone_or_renamed_is_told() {
    lab::require_root!();
    let (tapwire, pod) = bound("renamed", "tcx", &[]);
    pod.namespace.ip(&["link", "set", "eth0", "down"]).unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "name", "net0"]).unwrap();
    assert_degraded(&tapwire, "the pod NIC eth0 is called net0");
    let (_, hint) = refusal(&tapwire);
    assert!(hint.contains("ip link set net0 name eth0"), "{hint}");
    pod.namespace.ip(&["link", "set", "net0", "name", "eth0"]).unwrap();
    repair(&tapwire);
    assert_works(&pod, POD_MAC, "10.244.1.5");
    pod.namespace.ip(&["link", "del", "eth0"]).unwrap();
    let (error, _) = refusal(&tapwire);
    assert!(error.contains("the pod NIC eth0 is gone"), "{error}");
    assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "tap0"]);
}

#[test]
fn nic_and_tap_are_both_new() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("both", hook, &[]);
        pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
        new_nic(&pod, POD_MAC, Some("10.244.1.5/24"));
        pod.add_tap("tap0").unwrap();
        let said = repair(&tapwire);
        assert_said(&said, "bound the new eth0");
        assert_said(&said, "took the new tap tap0");
        assert_works(&pod, POD_MAC, "10.244.1.5");
        tapwire.run(&["detach", BINDING]).unwrap();
        assert_eq!(Pod::links(&pod.namespace).unwrap().len(), 3);
    }
}

#[test]
fn a_namespace_that_may_be_another_one_is_left_alone() {
    lab::require_root!();
    let (tapwire, pod) = bound("cookie", "clsact", &[]);
    // As on a kernel before 5.14.
    let path = tapwire.state().join(format!("{BINDING}.json"));
    let mut journal: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    journal["netns"]["cookie"] = serde_json::Value::Null;
    std::fs::write(&path, journal.to_string()).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    repair(&tapwire);
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    new_nic(&pod, POD_MAC, Some("10.244.1.5/24"));
    let before = pod.fingerprint().unwrap();
    let (error, _) = refusal(&tapwire);
    assert!(error.contains("nothing of it is in its namespace"), "{error}");
    assert_eq!(pod.fingerprint().unwrap(), before);
}
