//! Detach gives back exactly what was there, whatever the CNI had made and whatever has gone since.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Pod, PodBuilder, Tapwire, fingerprint, tapwire::attach_arguments};

fn assert_same(before: &str, after: &str, when: &str) {
    assert!(after == before, "{when}:\n{}", fingerprint::difference(before, after));
}

/// Attaches in every mode and detaches, and compares.
fn round_trip(pod: &Pod, options: &[&str]) {
    let tapwire = Tapwire::new().unwrap();
    let (before, host_before) = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
    let links = Pod::links(&pod.namespace).unwrap();
    for mode in ["swap", "keep"] {
        for hook in ["tcx", "clsact"] {
            let options = [&["--mac-mode", mode, "--hook", hook], options].concat();
            tapwire.attach(pod, "trip", &options).unwrap();
            tapwire.run(&["detach", "trip"]).unwrap();
            let when = format!("{mode}, {hook}");
            assert_same(&before, &pod.fingerprint().unwrap(), &when);
            assert_same(&host_before, &pod.host_fingerprint().unwrap(), &when);
            assert_eq!(Pod::links(&pod.namespace).unwrap(), links, "{when}");
        }
    }
}

fn restores(label: &str, build: impl FnOnce(PodBuilder) -> PodBuilder) {
    round_trip(&build(Pod::builder(label)).build().unwrap(), &[]);
}

#[test]
fn a_pod_with_both_families_routes_and_neighbours() {
    lab::require_root!();
    let pod = Pod::builder("rich")
        .addresses(&["10.244.1.5/24 brd 10.244.1.255", "10.244.1.6/24", "fd00:10:244:1::5/64"])
        .routes(&[
            "default via 10.244.1.1",
            "10.244.0.0/16 via 10.244.1.1 metric 7 mtu 1400",
            "10.96.0.0/12 via 10.244.1.1 src 10.244.1.6",
            "192.0.2.0/24 dev eth0 scope link",
            "203.0.113.0/24 via 10.244.1.1 table 77",
        ])
        .build()
        .unwrap();
    let ip = |arguments: &[&str]| pod.namespace.ip(arguments).unwrap();
    ip(&["-6", "route", "add", "default", "via", "fd00:10:244:1::1", "dev", "eth0"]);
    ip(&["neigh", "add", "10.244.1.77", "lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "permanent"]);
    ip(&["neigh", "add", "fd00:10:244:1::77", "lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "permanent"]);
    round_trip(&pod, &[]);
}

#[test]
fn a_pod_of_calico() {
    lab::require_root!();
    restores("calico", |pod| {
        pod.addresses(&["10.244.1.5/32"]).routes(&["169.254.1.1 dev eth0 scope link", "default via 169.254.1.1"])
    });
}

#[test]
fn a_pod_whose_connected_route_was_deleted() {
    lab::require_root!();
    let pod = Pod::builder("ptp").routes(&[]).build().unwrap();
    let ip = |arguments: &[&str]| pod.namespace.ip(arguments).unwrap();
    ip(&["route", "del", "10.244.1.0/24", "dev", "eth0"]);
    ip(&["route", "add", "10.244.1.1", "dev", "eth0", "scope", "link", "src", "10.244.1.5"]);
    ip(&["route", "add", "10.244.1.0/24", "via", "10.244.1.1", "src", "10.244.1.5"]);
    ip(&["route", "add", "default", "via", "10.244.1.1"]);
    round_trip(&pod, &[]);
}

#[test]
fn a_pod_nic_that_was_down() {
    lab::require_root!();
    let pod = Pod::builder("down").routes(&[]).build().unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "down"]).unwrap();
    round_trip(&pod, &[]);
}

#[test]
fn a_clsact_qdisc_and_a_filter_of_somebody_else() {
    lab::require_root!();
    let pod = Pod::new("foreign").unwrap();
    let tc = |arguments: &[&str]| pod.namespace.exec(&[&["tc"], arguments].concat()).unwrap();
    tc(&["qdisc", "add", "dev", "eth0", "clsact"]);
    tc(&[
        "filter", "add", "dev", "eth0", "egress", "prio", "9", "protocol", "ip", "u32", "match", "u8", "0", "0",
        "flowid", "1:1",
    ]);
    round_trip(&pod, &[]);
}

#[test]
fn a_tap_that_was_there_stays_as_it_was() {
    lab::require_root!();
    let pod = Pod::new("tap").unwrap();
    pod.namespace.ip(&["tuntap", "add", "tap0", "mode", "tap", "vnet_hdr", "user", "107"]).unwrap();
    // A device gets its default qdisc when it is first set up, and keeps it.
    pod.namespace.ip(&["link", "set", "tap0", "up"]).unwrap();
    pod.namespace.ip(&["link", "set", "tap0", "down"]).unwrap();
    let tap = |pod: &Pod| fingerprint::fingerprint(&pod.namespace, "tap0").unwrap();
    let before = tap(&pod);
    round_trip(&pod, &["--tap-owner", "107"]);
    assert_same(&before, &tap(&pod), "the tap");
}

/// The root qdisc of a pod's tap, by its kind.
fn queue_of_tap(pod: &Pod) -> String {
    let text = pod.namespace.exec(&["tc", "qdisc", "show", "dev", "tap0", "root"]).unwrap();
    text.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_queue_before_a_tap_is_gone_until_detach() {
    lab::require_root!();
    for queues in ["1", "4"] {
        let (pod, tapwire) = (Pod::new("queue").unwrap(), Tapwire::new().unwrap());
        tapwire.attach(&pod, "made", &["--queues", queues]).unwrap();
        assert_eq!(queue_of_tap(&pod), "noqueue", "a tap that attach made");
        tapwire.run(&["detach", "made"]).unwrap();
        let flags: &[&str] = if queues == "1" { &[] } else { &["multi_queue"] };
        pod.namespace.ip(&[&["tuntap", "add", "tap0", "mode", "tap", "vnet_hdr"], flags].concat()).unwrap();
        pod.namespace.ip(&["link", "set", "tap0", "up"]).unwrap();
        let before = queue_of_tap(&pod);
        assert_ne!(before, "noqueue");
        tapwire.attach(&pod, "found", &[]).unwrap();
        assert_eq!(queue_of_tap(&pod), "noqueue", "a tap that was there");
        tapwire.run(&["detach", "found"]).unwrap();
        assert_eq!(queue_of_tap(&pod), before);
    }
}

#[test]
fn a_queue_that_somebody_chose_for_a_tap_stays() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("chosen").unwrap(), Tapwire::new().unwrap());
    pod.add_tap("tap0").unwrap();
    let tc = |line: &str| pod.namespace.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
    tc("tc qdisc replace dev tap0 root handle 7: tbf rate 1gbit burst 1mb latency 10ms");
    tapwire.attach(&pod, "chosen", &[]).unwrap();
    assert_eq!(queue_of_tap(&pod), "tbf", "attach took it away");
    tapwire.run(&["detach", "chosen"]).unwrap();
    assert_eq!(queue_of_tap(&pod), "tbf", "detach took it away");
    tc("tc qdisc del dev tap0 root");
    tapwire.attach(&pod, "later", &[]).unwrap();
    tc("tc qdisc replace dev tap0 root handle 8: tbf rate 1gbit burst 1mb latency 10ms");
    tapwire.run(&["repair", "later"]).unwrap();
    assert_eq!(queue_of_tap(&pod), "tbf", "repair took away what came later");
    tapwire.run(&["detach", "later"]).unwrap();
    assert_eq!(queue_of_tap(&pod), "tbf", "detach took away what came later");
}

#[test]
fn detach_without_the_tap() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("notap").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    for hook in ["tcx", "clsact"] {
        tapwire.attach(&pod, "notap", &["--hook", hook]).unwrap();
        pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
        assert_eq!(tapwire.show("notap").unwrap()["state"], "degraded");
        tapwire.run(&["detach", "notap"]).unwrap();
        assert_same(&before, &pod.fingerprint().unwrap(), hook);
    }
}

#[test]
fn a_tap_that_somebody_made_anew_is_theirs() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("newtap").unwrap(), Tapwire::new().unwrap());
    tapwire.attach(&pod, "newtap", &[]).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    pod.add_tap("tap0").unwrap();
    tapwire.run(&["detach", "newtap"]).unwrap();
    assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0", "tap0"]);
}

#[test]
fn detach_without_the_namespace() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    for hook in ["tcx", "clsact"] {
        let pod = Pod::new("gone").unwrap();
        tapwire.attach(&pod, "gone", &["--hook", hook]).unwrap();
        drop(pod);
        let gone = || Ok(tapwire.show("gone")?["state"] == "gone");
        lab::wait::wait_until("the namespace to be gone", std::time::Duration::from_secs(10), gone).unwrap();
        tapwire.run(&["detach", "gone"]).unwrap();
        assert_eq!(tapwire.json(&["list"]).unwrap(), serde_json::json!([]));
        assert_eq!(std::fs::read_dir(tapwire.pins()).unwrap().count(), 0, "no pin is left");
    }
}

#[test]
fn pins_without_a_journal_are_left_alone_and_named() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("lost").unwrap(), Tapwire::new().unwrap());
    tapwire.attach(&pod, "lost", &["--mac-mode", "keep"]).unwrap();
    let journal = tapwire.state().join("lost.json");
    let hidden = tapwire.state().join("lost.hidden");
    std::fs::rename(&journal, &hidden).unwrap();
    std::fs::remove_file(tapwire.pins().join("lost/journal")).unwrap();
    let other = Pod::new("other").unwrap();
    let refusal = tapwire.refusal(&attach_arguments(&other, "lost")).unwrap();
    assert!(refusal.error.contains("pins of a binding of this name"), "{}", refusal.error);
    let refusal = tapwire.refusal(&attach_arguments(&pod, "second")).unwrap();
    assert!(refusal.error.contains("is on it already"), "{}", refusal.error);
    std::fs::rename(&hidden, &journal).unwrap();
    assert_eq!(tapwire.show("lost").unwrap()["state"], "ready");
}

#[test]
fn devices_that_were_renamed_since() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("renamed").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    for hook in ["tcx", "clsact"] {
        tapwire.attach(&pod, "renamed", &["--hook", hook]).unwrap();
        pod.namespace.ip(&["link", "set", "eth0", "name", "net0"]).unwrap();
        pod.namespace.ip(&["link", "set", "tap0", "name", "vm0"]).unwrap();
        tapwire.run(&["detach", "renamed"]).unwrap();
        assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "net0"], "{hook}");
        for side in ["ingress", "egress"] {
            let filters = pod.namespace.exec(&["tc", "filter", "show", "dev", "net0", side]).unwrap_or_default();
            assert_eq!(filters, "", "{hook}, {side}");
        }
        pod.namespace.ip(&["link", "set", "net0", "name", "eth0"]).unwrap();
        assert_same(&before, &pod.fingerprint().unwrap(), hook);
    }
}

#[test]
fn a_mac_that_somebody_changed_since() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("mac").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    tapwire.attach(&pod, "mac", &[]).unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "address", "02:00:00:00:00:99"]).unwrap();
    tapwire.run(&["detach", "mac"]).unwrap();
    assert_same(&before, &pod.fingerprint().unwrap(), "MAC changed");
}

#[test]
fn detach_with_the_bpffs_out_of_sight_changes_nothing() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("hidden").unwrap(), Tapwire::new().unwrap());
    tapwire.attach(&pod, "hidden", &["--hook", "tcx"]).unwrap();
    let attached = pod.fingerprint().unwrap();
    // As in `ip netns exec`: a mount namespace that does not see it.
    let script = "mount -t tmpfs none /sys/fs/bpf && exec \"$0\" detach hidden";
    let output = tapwire.under(&["unshare", "-m", "sh", "-c", script], &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("does not lie on a bpffs"), "{said}");
    assert_same(&attached, &pod.fingerprint().unwrap(), "refused");
    assert_eq!(tapwire.show("hidden").unwrap()["state"], "ready");
}

#[test]
fn detach_with_a_full_disk() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("full").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    tapwire.attach(&pod, "full", &[]).unwrap();
    let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:error=ENOSPC"];
    let output = tapwire.under(&runner, &["detach", "full"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&before, &pod.fingerprint().unwrap(), "full disk");
    assert_eq!(tapwire.json(&["list"]).unwrap(), serde_json::json!([]));
}
