//! Somebody else's load: Kea's perfdhcp, which acts as a relay (giaddr is its own address, hops is 1) and ends well only
//! if each of its messages was answered in its time.

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
    // A rate at which neither the pump nor its own socket lose anything: that is not what is asked here.
    perfdhcp.extend(["-r", "2000", "-d", "5", "-W", LAST_WAIT, "10.244.1.1"]);
    let report = scene.guest.exec(&perfdhcp).unwrap();
    assert!(report.contains("Malformed packets: 0"), "{report}");
    for message in ["discover", "offer", "request", "ack"] {
        assert!(scene.dhcp(message).unwrap() >= EXCHANGES, "{message}: {report}");
    }
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
