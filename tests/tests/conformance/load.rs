//! Somebody else's load: Kea's perfdhcp, which acts as a relay (giaddr is its own address, hops is 1).

use lab::{Offloads, Pod, Scene, guest::GUEST_NIC};

/// Exchanges of four messages.
const EXCHANGES: u64 = 2000;
/// How long it waits for the last answers, in microseconds.
const LAST_WAIT: &str = "1000000";

fn perfdhcp_has_all_its_answers(offloads: Offloads) {
    let scene = Scene::new(Pod::new("load").unwrap(), &[], offloads).unwrap();
    scene.guest.configure("10.244.1.5/24", None).unwrap();
    let (mac, exchanges) = (format!("mac={}", scene.pod.mac), EXCHANGES.to_string());
    let mut perfdhcp = vec!["perfdhcp", "-4", "-l", GUEST_NIC, "-b", &mac, "-R", "1", "-n", &exchanges];
    perfdhcp.extend(["-r", "2000", "-d", "5", "-W", LAST_WAIT, "10.244.1.1"]);
    let output = scene.guest.namespace.run(|| Ok(lab::cmd::command(&perfdhcp)?.output()?)).unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    // Its own socket loses answers while it has no CPU, and then it ends with 3. What it was sent, the programs know.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{} {report}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("Malformed packets: 0"), "{report}");
    let count = |message| scene.dhcp(message).unwrap();
    assert!(count("discover") > EXCHANGES / 2 && count("request") > EXCHANGES / 4, "{report}");
    assert_eq!((count("offer"), count("ack"), count("nak")), (count("discover"), count("request"), 0), "{report}");
    assert_eq!(scene.tapwire.show(lab::BINDING).unwrap()["counters"]["dropped"], serde_json::json!({}));
    scene.no_checksum_error().unwrap();
}

#[test]
fn perfdhcp_has_all_its_answers_with_the_offloads_of_virtio() {
    lab::require_root!();
    perfdhcp_has_all_its_answers(Offloads::Virtio);
}

#[test]
fn perfdhcp_has_all_its_answers_with_none() {
    lab::require_root!();
    perfdhcp_has_all_its_answers(Offloads::None);
}
