//! An upgrade that is killed after any of its changes leaves a binding that works, and that the next command completes.

use lab::{
    BINDING, Tapwire,
    interrupt::{changes, kill_after},
    stream::datagram,
};

use crate::{GUEST, Lab, NODE, upgrade};

/// Kills an upgrade to `build` after its changes, from the last one backwards, and has `then` complete it. Those with which
/// it only loads programs, and which change nothing that stays, are many and alike: of them it takes some. A frame more is
/// sent each time, and always exactly those that were sent have been counted.
fn walk(lab: &Lab, build: &Tapwire, then: impl Fn(usize)) {
    let tap = lab.tap();
    let (mut interrupted, mut left_as_it_was, mut done, mut sent) = (0, 0, 0, 0);
    let mut send = |when: &str| {
        tap.send(&datagram(&NODE, &GUEST, [[10, 244, 1, 5], [10, 244, 1, 99]])).unwrap();
        sent += 1;
        assert_eq!(lab.count(&["to_network", "frames"]), sent, "{when}");
    };
    let before = lab.show()["programs"].clone();
    let mut nth = changes(build, &["upgrade", BINDING]).unwrap();
    loop {
        upgrade(&lab.tapwire);
        assert_eq!(lab.show()["programs"], before);
        if nth == 0 {
            break;
        }
        kill_after(build, &["upgrade", BINDING], nth).unwrap();
        let when = format!("killed after change {nth}");
        send(&when);
        let shown = lab.show();
        match shown["state"].as_str().unwrap() {
            "ready" if shown["programs"] == before => left_as_it_was += 1,
            "ready" => done += 1,
            _ => {
                interrupted += 1;
                assert_eq!(shown["reason"], "lease set or upgrade was interrupted", "{when}");
                then(nth);
                assert_eq!(lab.show()["state"], "ready", "{when}");
                send(&when);
            }
        }
        lab.lease_is_answered(&tap);
        nth = nth.saturating_sub(if left_as_it_was > 5 { 5 } else { 1 });
    }
    println!("{interrupted} interrupted, {done} done, {left_as_it_was} left as it was");
    assert!(interrupted > 1 && left_as_it_was > 5 && done > 0);
}

#[test]
fn the_next_upgrade_completes_a_killed_one_or_takes_it_back() {
    lab::require_root!();
    let lab = Lab::new("killed", &[]);
    walk(&lab, &lab.other, |nth| {
        upgrade(if nth.is_multiple_of(2) { &lab.other } else { &lab.tapwire });
    });
}

#[test]
fn the_attach_that_made_the_binding_completes_a_killed_upgrade() {
    lab::require_root!();
    let lab = Lab::new("attach", &["--hook", "clsact"]);
    walk(&lab, &lab.other, |_| {
        lab.tapwire.attach(&lab.pod, BINDING, &["--hook", "clsact"]).unwrap();
    });
}

#[test]
fn a_killed_upgrade_to_another_layout_loses_no_count() {
    lab::require_root!();
    let lab = Lab::new("layout", &[]);
    walk(&lab, &lab.layout, |nth| {
        upgrade([&lab.layout, &lab.tapwire, &lab.other][nth % 3]);
    });
    let pins = lab.tapwire.pins().join(BINDING);
    let maps: Vec<_> = std::fs::read_dir(pins).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(maps.len() <= 2 + 4, "maps of earlier builds do not pile up: {maps:?}");
}
