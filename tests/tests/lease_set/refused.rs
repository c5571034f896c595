//! What cannot be is refused in a line, with the lease left as it is.

use lab::{BINDING, Pod, Tapwire};

#[test]
fn what_the_guest_cannot_be_told_is_refused_and_changes_nothing() {
    lab::require_root!();
    let pod = Pod::builder("refused").mtu(1450).build().unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &["--arp-reply-all"]).unwrap();
    // All but the counters: the node may say something at any time.
    let look = || {
        let mut shown = tapwire.show(BINDING).unwrap();
        shown["counters"].take();
        shown
    };
    let before = look();
    let many: Vec<_> = (0..60).map(|n| format!("10.{n}.0.0/16 via 10.244.1.1")).collect();
    let many = format!("{},default via 10.244.1.1", many.join(","));
    for (change, error) in [
        (["--mtu", "1500"], "1500 is over the pod NIC's 1450"),
        (["--route", "default via 10.244.1.1,default via 10.244.1.2"], "there are two default routes"),
        (["--route", "default via 10.244.1.2"], "all ARP requests are answered with the MAC of the old one"),
        (["--route", many.as_str()], "does not fit"),
        (["--address", "10.244.1.1/24"], "it is that of a gateway"),
        (["--resolv-conf", "/nonexistent"], "No such file"),
    ] {
        let refusal = tapwire.refusal(&[&["lease", "set", BINDING], change.as_slice()].concat()).unwrap();
        assert!(refusal.error.contains(error), "{change:?}: {}", refusal.error);
        assert!(refusal.hint.is_some(), "{change:?}");
        assert_eq!(look(), before, "{change:?}");
    }
    let refusal = tapwire.refusal(&["lease", "set", "nobody", "--dns", "none"]).unwrap();
    assert!(refusal.error.contains("there is none of this name"), "{}", refusal.error);
}

#[test]
fn a_pure_wire_has_no_lease_to_change_but_its_guest_may_get_another_mac() {
    lab::require_root!();
    let pod = Pod::new("pure").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let attached = tapwire.attach(&pod, BINDING, &["--dhcp", "off", "--hostname", "vm"]).unwrap();
    let warning = attached["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("a pure wire tells the guest nothing"), "{warning}");
    let refusal = tapwire.refusal(&["lease", "set", BINDING, "--dns", "10.96.0.99"]).unwrap();
    assert!(refusal.error.contains("it is a pure wire"), "{}", refusal.error);
    let shown = tapwire.json(&["lease", "set", BINDING, "--guest-mac", "learn"]).unwrap();
    assert_eq!((&shown["state"], &shown["wire"]["guest_mac"]), (&"ready".into(), &"learn".into()));
}

#[test]
fn a_binding_that_is_not_whole_is_made_so_before_its_lease_changes() {
    lab::require_root!();
    let pod = Pod::new("broken").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let refusal = tapwire.refusal(&["lease", "set", BINDING, "--dns", "none"]).unwrap();
    assert!(refusal.error.contains("the tap tap0 is gone"), "{}", refusal.error);
    assert!(refusal.hint.unwrap().contains("attach it again"));
}
