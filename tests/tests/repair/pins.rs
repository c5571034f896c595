//! Pins and filters that somebody removed.

use std::fs;

use lab::{BINDING, Guest, pod::POD_MAC};

use crate::{HOOKS, assert_degraded, assert_reaches, assert_said, bound, repair, state, to_guest};

#[test]
fn all_pins_removed_by_hand() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("pins", hook, &["--mac-mode", "keep", "--to-guest", "redirect"]);
        let guest = Guest::new(&pod, "tap0", POD_MAC).unwrap();
        guest.configure("10.244.1.5/24", None).unwrap();
        assert_reaches(&guest);
        let counted = to_guest(&tapwire);
        fs::remove_dir_all(tapwire.pins().join(BINDING)).unwrap();
        assert!(state(&tapwire).1.ends_with("the pins of the maps COUNTERS and LEARNED are gone"));
        let said = repair(&tapwire);
        if hook == "tcx" {
            // The links had but their pins to live by.
            for program in ["nic_in on eth0", "tap_in on tap0", "nic_out on eth0"] {
                assert_said(&said, &format!("put tapwire_{program} again"));
            }
            assert_said(&said, "the counters begin at zero");
            assert!(to_guest(&tapwire) < counted);
        } else {
            assert_said(&said, "pinned the map COUNTERS again: nothing of it is lost");
            assert!(to_guest(&tapwire) >= counted, "the filters held the maps");
        }
        assert_reaches(&guest);
    }
}

#[test]
fn one_pin_of_several_removed_by_hand() {
    lab::require_root!();
    let (tapwire, pod) = bound("onepin", "tcx", &[]);
    let guest = Guest::new(&pod, "tap0", POD_MAC).unwrap();
    guest.configure("10.244.1.5/24", None).unwrap();
    assert_reaches(&guest);
    let counted = to_guest(&tapwire);
    let pins = tapwire.pins().join(BINDING);
    for (pin, reason, said) in [
        (
            "link_tapwire_tap_in",
            "the program tapwire_tap_in is not attached to tap0",
            "put tapwire_tap_in on tap0 again",
        ),
        (
            "link_tapwire_nic_in",
            "the program tapwire_nic_in is not attached to eth0",
            "put tapwire_nic_in on eth0 again",
        ),
        ("counters", "the pins of the maps COUNTERS are gone", "pinned the map COUNTERS again: nothing of it is lost"),
        ("learned", "the pins of the maps LEARNED are gone", "pinned the map LEARNED again: nothing of it is lost"),
    ] {
        fs::remove_file(pins.join(pin)).unwrap();
        assert_degraded(&tapwire, reason);
        assert_said(&repair(&tapwire), said);
        assert_reaches(&guest);
        assert!(to_guest(&tapwire) > counted, "{pin}: the counters go on");
    }
}

#[test]
fn filters_and_the_clsact_qdisc_removed_by_hand() {
    lab::require_root!();
    let (tapwire, pod) = bound("filters", "clsact", &[]);
    let guest = Guest::new(&pod, "tap0", POD_MAC).unwrap();
    guest.configure("10.244.1.5/24", None).unwrap();
    assert_reaches(&guest);
    let counted = to_guest(&tapwire);
    for command in ["tc filter del dev tap0 ingress", "tc qdisc del dev tap0 clsact"] {
        pod.namespace.exec(&command.split(' ').collect::<Vec<_>>()).unwrap();
        assert_degraded(&tapwire, "the program tapwire_tap_in is not attached to tap0");
        assert_said(&repair(&tapwire), "put tapwire_tap_in on tap0 again");
        assert_reaches(&guest);
        assert!(to_guest(&tapwire) > counted, "the counters go on");
    }
    tapwire.run(&["detach", BINDING]).unwrap();
    let qdiscs = pod.namespace.exec(&["tc", "qdisc", "show"]).unwrap();
    assert!(!qdiscs.contains("clsact"), "{qdiscs}");
}
