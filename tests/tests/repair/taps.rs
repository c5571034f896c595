//! The tap is another one, or there is none.

use lab::{BINDING, Pod, Tapwire, pod::POD_MAC};

use crate::{HOOKS, assert_degraded, assert_said, assert_works, bound, refusal, repair, to_guest};

#[test]
fn a_tap_that_somebody_made_anew_is_taken() {
    lab::require_root!();
    for hook in HOOKS {
        for queues in [&[][..], &["multi_queue"]] {
            let (tapwire, pod) = bound("newtap", hook, &[]);
            assert_works(&pod, POD_MAC, "10.244.1.5");
            let before = to_guest(&tapwire);
            pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
            let add = ["tuntap", "add", "tap0", "mode", "tap", "vnet_hdr"];
            pod.namespace.ip(&[&add[..], queues].concat()).unwrap();
            pod.namespace.ip(&["link", "set", "tap0", "mtu", "1300"]).unwrap();
            assert_degraded(&tapwire, "the tap tap0 is another device than the one that was attached");
            assert_said(&repair(&tapwire), "took the new tap tap0 (index ");
            assert_works(&pod, POD_MAC, "10.244.1.5");
            let shown = tapwire.show(BINDING).unwrap();
            assert_eq!(shown["tap"]["mtu"], 1500, "the guest is told as much");
            assert!(to_guest(&tapwire) > before, "the counters go on");
            tapwire.run(&["detach", BINDING]).unwrap();
            let link = pod.namespace.ip(&["link", "show", "dev", "tap0"]).unwrap();
            let given_back = link.contains("mtu 1300") && !link.contains("NOARP") && !link.contains("UP");
            assert!(given_back, "it is theirs, and as it was: {link}");
        }
    }
}

#[test]
fn a_tap_that_attach_had_made_is_made_again() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("made", hook, &["--tap-owner", "107"]);
        let nic = || pod.namespace.ip(&["-d", "addr", "show", "dev", "eth0"]).unwrap();
        let before = nic();
        pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
        assert_degraded(&tapwire, "the tap tap0 is gone");
        assert_said(&repair(&tapwire), "made the tap tap0 anew");
        assert_eq!(nic(), before, "the pod NIC was not touched");
        let tap = pod.namespace.ip(&["-d", "link", "show", "dev", "tap0"]).unwrap();
        assert!(tap.contains("user 107"), "{tap}");
        assert_works(&pod, POD_MAC, "10.244.1.5");
        tapwire.run(&["detach", BINDING]).unwrap();
        assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0"], "detach deletes it as ever");
    }
}

#[test]
fn a_tap_that_attach_had_not_made_is_waited_for() {
    lab::require_root!();
    let pod = Pod::new("waits").unwrap();
    let tapwire = Tapwire::new().unwrap();
    pod.add_tap("tap0").unwrap();
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    let (error, hint) = refusal(&tapwire);
    assert!(error.contains("the tap tap0 is gone") && hint.contains("start the VM"), "{error}, {hint}");
    assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0"]);
    pod.add_tap("tap0").unwrap();
    assert_said(&repair(&tapwire), "took the new tap tap0");
    assert_works(&pod, POD_MAC, "10.244.1.5");
}

#[test]
fn a_new_tap_that_is_of_no_use_is_told_and_left_alone() {
    lab::require_root!();
    let (tapwire, pod) = bound("address", "tcx", &[]);
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    pod.add_tap("tap0").unwrap();
    pod.namespace.ip(&["addr", "add", "192.0.2.1/24", "dev", "tap0"]).unwrap();
    let links = pod.namespace.ip(&["-d", "link"]).unwrap();
    let (error, hint) = refusal(&tapwire);
    assert!(error.contains("it has an address") && hint.contains("remove it"), "{error}, {hint}");
    assert_eq!(pod.namespace.ip(&["-d", "link"]).unwrap(), links);
    assert_degraded(&tapwire, "the tap tap0 is another device than the one that was attached");
    pod.namespace.ip(&["addr", "flush", "dev", "tap0"]).unwrap();
    repair(&tapwire);
    assert_works(&pod, POD_MAC, "10.244.1.5");
}
