//! Programs of others that came to a hook of ours.

use lab::{BINDING, Foreign, Guest, Pod, Tapwire, Verdict, pod::POD_MAC};

use crate::{assert_degraded, assert_reaches, assert_said, bound, refusal, repair};

/// What is on the ingress of a device, by tapwire's own name for it.
fn on(pod: &Pod, device: &str) -> Vec<String> {
    use aya::programs::{SchedClassifier, TcAttachType};
    let query = || Ok(SchedClassifier::query_tcx(device, TcAttachType::Ingress)?.1);
    let programs = pod.namespace.run(query).unwrap();
    programs.iter().map(|program| program.name_as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_tcx_program_that_came_before_ours_is_named_and_passed_and_never_removed() {
    lab::require_root!();
    let (tapwire, pod) = bound("passed", "tcx", &["--to-guest", "redirect"]);
    let guest = Guest::new(&pod, "tap0", POD_MAC).unwrap();
    guest.configure("10.244.1.5/24", None).unwrap();
    assert_reaches(&guest);
    for (device, ours) in [("tap0", "tapwire_tap_in"), ("eth0", "tapwire_nic_in")] {
        let foreign = Foreign::first(&pod.namespace, device, "stranger", Verdict::Drop).unwrap();
        assert_eq!(on(&pod, device), ["stranger", ours]);
        assert!(guest.exec(&["busybox", "ping", "-c", "1", "-W", "1", "10.244.1.1"]).is_err());
        assert_degraded(&tapwire, &format!("the program stranger comes before ours on {device}"));
        assert_said(&repair(&tapwire), &format!("put {ours} before the program stranger on {device}"));
        assert_eq!(on(&pod, device), [ours, "stranger"]);
        assert_reaches(&guest);
        drop(foreign);
    }
    assert_eq!(std::fs::read_dir(tapwire.pins().join(BINDING)).unwrap().count(), 5, "no pin is left over");
}

#[test]
fn what_was_there_at_attach_keeps_its_place() {
    lab::require_root!();
    let pod = Pod::new("known").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let _observer = Foreign::first(&pod.namespace, "eth0", "observer", Verdict::Next).unwrap();
    let attached = tapwire.attach(&pod, BINDING, &["--hook", "tcx"]).unwrap();
    assert_eq!(attached["state"], "ready", "the operator was warned of it: {attached}");
    let _stranger = Foreign::first(&pod.namespace, "eth0", "stranger", Verdict::Next).unwrap();
    assert_eq!(on(&pod, "eth0"), ["stranger", "observer", "tapwire_nic_in"]);
    repair(&tapwire);
    // Ours comes before the stranger, and so before all that the stranger came before.
    assert_eq!(on(&pod, "eth0"), ["tapwire_nic_in", "stranger", "observer"]);
}

#[test]
fn a_filter_that_came_before_ours_is_named_and_left_to_its_owner() {
    lab::require_root!();
    let (tapwire, pod) = bound("filter", "clsact", &["--to-guest", "redirect"]);
    let filter = "tc filter add dev tap0 ingress protocol all prio 10 u32 match u32 0 0";
    pod.namespace.exec(&filter.split(' ').collect::<Vec<_>>()).unwrap();
    let reason = "the filter u32 (priority 10) comes before ours on tap0";
    assert_degraded(&tapwire, reason);
    let (error, hint) = refusal(&tapwire);
    assert!(error.contains(reason) && hint.contains("somebody's"), "{error}, {hint}");
    let shown = pod.namespace.exec(&["tc", "filter", "show", "dev", "tap0", "ingress"]).unwrap();
    assert!(shown.contains("pref 10 u32"), "{shown}");
    pod.namespace.exec(&["tc", "filter", "del", "dev", "tap0", "ingress", "prio", "10"]).unwrap();
    assert_eq!(tapwire.show(BINDING).unwrap()["state"], "ready");
    let _stranger = Foreign::first(&pod.namespace, "eth0", "stranger", Verdict::Next).unwrap();
    assert_degraded(&tapwire, "the program stranger comes before ours on eth0");
    let (_, hint) = refusal(&tapwire);
    assert!(hint.contains("--hook tcx"), "{hint}");
    assert_eq!(on(&pod, "eth0"), ["stranger"]);
}

#[test]
fn a_host_side_that_got_a_program_is_no_longer_jumped_to() {
    lab::require_root!();
    for hook in crate::HOOKS {
        let (tapwire, pod) = bound("host", hook, &[]);
        let guest = Guest::new(&pod, "tap0", POD_MAC).unwrap();
        guest.configure("10.244.1.5/24", None).unwrap();
        assert_eq!(tapwire.show(BINDING).unwrap()["wire"]["to_network"], "peer");
        let _policy = Foreign::first(&pod.node, &pod.host_side, "policy", Verdict::Next).unwrap();
        let (word, why) = crate::state(&tapwire);
        let by_peer =
            "frames go by peer, but the host side vethpod carries a TC program that is not known to work with it";
        assert!(word == "degraded" && why.contains(by_peer), "{word}: {why}");
        let said = repair(&tapwire);
        assert_said(&said, "frames to the network go by redirect, not by peer");
        assert_said(&said, "frames to the guest go by redirect, not through a portal");
        let wire = tapwire.show(BINDING).unwrap()["wire"].clone();
        assert_eq!((&wire["to_network"], &wire["to_guest"]), (&"redirect".into(), &"redirect".into()));
        assert_reaches(&guest);
    }
}
