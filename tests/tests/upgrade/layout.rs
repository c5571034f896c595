//! An upgrade to programs whose pinned maps lie otherwise carries over what is in them, or refuses.

use std::fs;

use lab::{BINDING, stream::datagram};

use crate::{Lab, NODE, SOON, upgrade};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
#[test]
fn counts_and_the_learnt_mac_are_carried_to_another_layout_and_back() {
    lab::require_root!();
    let lab = Lab::new("carried", &["--guest-mac", "learn"]);
    let tap = lab.tap();
    let mut sent = 0_u64;
    for build in [&lab.layout, &lab.tapwire, &lab.other, &lab.layout] {
        tap.send(&datagram(&NODE, &OWN, [[10, 244, 1, 5], [10, 244, 1, 99]])).unwrap();
        sent += 1;
        // Counted in the field whose place and length differ: a message of a client that is not the guest.
        let mut discover = lab::discover(crate::GUEST, 0);
        discover[6..12].copy_from_slice(&OWN);
        tap.send(&discover).unwrap();
        lab::wait::wait_until("the drop", SOON, || Ok(lab.count(&["dropped", "dhcp-not-guest"]) == sent)).unwrap();
        upgrade(build);
        let shown = lab.show();
        assert_eq!(shown["lease"]["mac"], "02:00:00:00:00:77", "the MAC that was learnt");
        assert_eq!(shown["counters"]["to_network"]["frames"], sent, "{shown}");
        assert_eq!(shown["counters"]["dropped"]["dhcp-not-guest"], sent, "{shown}");
        assert_eq!(shown["warnings"], serde_json::json!([]));
        // Every build reads the counters of every other one.
        for reader in [&lab.tapwire, &lab.other, &lab.layout] {
            assert_eq!(reader.show(BINDING).unwrap()["counters"], lab.show()["counters"]);
        }
    }
}

#[test]
fn a_layout_that_nobody_can_tell_is_refused_and_nothing_changed() {
    lab::require_root!();
    let lab = Lab::new("untold", &[]);
    let path = lab.tapwire.state().join(format!("{BINDING}.json"));
    let journal = fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&journal).unwrap();
    let dropped = record["maps"]["counters"]["layout"].as_array().unwrap().len() - 1;
    record["maps"]["counters"]["layout"][dropped][1] = 47.into();
    fs::write(&path, record.to_string()).unwrap();
    let programs = lab.programs();
    for build in [&lab.tapwire, &lab.other, &lab.layout] {
        let mut arguments = vec!["upgrade", BINDING];
        if build.binary() == lab.tapwire.binary() {
            // There is nothing to upgrade; a change of the lease needs the counters as well.
            arguments = vec!["lease", "set", BINDING, "--hostname", "vm"];
        }
        let refusal = build.refusal(&arguments).unwrap();
        assert!(refusal.error.contains("it is of a layout that its record does not tell of"), "{}", refusal.error);
        assert!(refusal.hint.unwrap().contains("detach and attach"));
    }
    assert_eq!(lab.programs(), programs);
    fs::write(&path, journal).unwrap();
    assert_eq!(lab.show()["lease"]["hostname"], serde_json::Value::Null);
    upgrade(&lab.layout);
}
