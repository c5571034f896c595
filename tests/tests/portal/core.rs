//! What attach makes in the node's namespace, and that every verb finds it again.

use std::time::Duration;

use lab::{BINDING, Guest, Namespace, Pod, Tapwire, fingerprint, pod::POD_MAC, tapwire::attach_arguments};
use serde_json::Value;

/// Both interfaces of the kernel in the pod; at the host side it is always the same.
const HOOKS: [&str; 2] = ["tcx", "clsact"];
const NODE: &str = "10.244.1.1";

/// Everything that must be as it was: the pod NIC, the host side, the links of both namespaces.
fn state(pod: &Pod) -> String {
    let links = |namespace: &Namespace| Pod::links(namespace).unwrap().join(" ");
    let (ours, theirs) = (pod.fingerprint().unwrap(), pod.host_fingerprint().unwrap());
    format!("{ours}\n{theirs}\n{}\n{}\n", links(&pod.namespace), links(&pod.node))
}

fn assert_as_before(pod: &Pod, before: &str) {
    let after = state(pod);
    assert!(after == before, "{}", fingerprint::difference(before, &after));
}

fn bound(label: &str, options: &[&str]) -> (Tapwire, Pod) {
    let (tapwire, pod) = (Tapwire::new().unwrap(), Pod::new(label).unwrap());
    tapwire.attach(&pod, BINDING, options).unwrap();
    (tapwire, pod)
}

fn guest(pod: &Pod) -> Guest {
    let guest = Guest::new(pod, "tap0", POD_MAC).unwrap();
    guest.configure("10.244.1.5/24", None).unwrap();
    guest
}

fn assert_reaches(guest: &Guest) {
    let ping = || Ok(guest.exec(&["busybox", "ping", "-c", "1", "-W", "1", NODE]).is_ok());
    lab::wait::wait_until("an answer of the node", Duration::from_secs(20), ping).unwrap();
}

/// Frames that the kernel counted on a link, transmitted.
fn transmitted(namespace: &Namespace, link: &str) -> u64 {
    let text = namespace.ip(&["-s", "-j", "link", "show", "dev", link]).unwrap();
    let links: Value = serde_json::from_str(&text).unwrap();
    links[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}

/// What `show` says of the way to the guest.
fn way(tapwire: &Tapwire) -> (String, String) {
    let shown = tapwire.show(BINDING).unwrap();
    let text = |key: &str| shown["wire"][key].as_str().unwrap().to_owned();
    (text("to_guest"), text("to_guest_why"))
}

fn portal(tapwire: &Tapwire) -> String {
    tapwire.show(BINDING).unwrap()["wire"]["portal"].as_str().unwrap().to_owned()
}

fn repair(tapwire: &Tapwire) -> Vec<String> {
    let outcome = tapwire.json(&["repair", BINDING]).unwrap()["bindings"][0].clone();
    assert_eq!((&outcome["state"], &outcome["reason"]), (&"ready".into(), &"".into()), "{outcome}");
    let again = tapwire.json(&["repair", BINDING]).unwrap();
    assert_eq!(again["bindings"][0]["done"], serde_json::json!([]), "nothing is left to do");
    outcome["done"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn assert_degraded(tapwire: &Tapwire, reason: &str) {
    let shown = tapwire.show(BINDING).unwrap();
    assert_eq!(shown["state"], "degraded");
    let said = shown["reason"].as_str().unwrap();
    assert!(said.contains(reason), "{reason:?} is not in {said:?}");
}

fn assert_said(lines: &[String], begin: &str) {
    assert!(lines.iter().any(|line| line.starts_with(begin)), "{begin:?} is not in {lines:?}");
}

#[test]
fn auto_takes_the_portal_the_guest_is_reached_through_it_and_detach_leaves_nothing() {
    lab::require_root!();
    for hook in HOOKS {
        for mode in ["swap", "keep"] {
            let (tapwire, pod) = (Tapwire::new().unwrap(), Pod::new("portal").unwrap());
            let before = state(&pod);
            tapwire.attach(&pod, BINDING, &["--hook", hook, "--mac-mode", mode]).unwrap();
            assert_eq!(way(&tapwire).0, "portal", "{hook}, {mode}");
            assert_eq!(tapwire.show(BINDING).unwrap()["wire"]["to_network"], "peer", "{hook}, {mode}");
            let guest = guest(&pod);
            assert_reaches(&guest);
            assert!(transmitted(&pod.node, &portal(&tapwire)) > 0, "{hook}, {mode}");
            assert!(tapwire.counter(BINDING, &["to_guest", "frames"]).unwrap() > 0);
            let mut dropped = tapwire.show(BINDING).unwrap()["counters"]["dropped"].clone();
            // Where the pod's own stack has its NIC, it says something of its own at times.
            dropped.as_object_mut().unwrap().remove("pod-stack");
            assert_eq!(dropped, serde_json::json!({}), "{hook}, {mode}");
            drop(guest);
            tapwire.run(&["detach", BINDING]).unwrap();
            assert_as_before(&pod, &before);
        }
    }
}

#[test]
fn the_portal_is_closed_to_everything_but_frames_for_the_guest() {
    lab::require_root!();
    let (tapwire, pod) = bound("closed", &[]);
    let name = portal(&tapwire);
    assert!(name.starts_with("twp"), "{name}");
    let link = pod.node.ip(&["-d", "link", "show", "dev", &name]).unwrap();
    for word in ["NOARP", "macvlan mode source", "UP"] {
        assert!(link.contains(word), "{word} is not in {link}");
    }
    assert_eq!(
        pod.node.ip(&["-br", "addr", "show", "dev", &name]).unwrap().split_whitespace().count(),
        2,
        "no address"
    );
    let setting = |path: String| pod.node.run(|| Ok(std::fs::read_to_string(path)?)).unwrap();
    assert_eq!(setting(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")).trim(), "1");
    for family in ["ipv4", "ipv6"] {
        assert_eq!(setting(format!("/proc/sys/net/{family}/conf/{name}/forwarding")).trim(), "0");
    }
    let filters = pod.node.exec(&["tc", "filter", "show", "dev", &name, "ingress"]).unwrap();
    assert!(filters.contains("tapwire_portal_in"), "{filters}");
    let filters = pod.node.exec(&["tc", "filter", "show", "dev", &pod.host_side, "egress"]).unwrap();
    assert!(filters.contains("pref 65535") && filters.contains("handle 0x1 tapwire_host_out"), "{filters}");
}

#[test]
fn attach_again_is_one_attach_and_other_options_are_refused() {
    lab::require_root!();
    let (tapwire, pod) = bound("twice", &[]);
    let before = state(&pod);
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_as_before(&pod, &before);
    let other = [&attach_arguments(&pod, BINDING)[..], &["--to-guest", "redirect"]].concat();
    assert!(tapwire.refusal(&other).unwrap().error.contains("with other options"));
}

#[test]
fn a_lease_set_and_an_upgrade_keep_the_portal_and_its_counters() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("swap", &["--hook", hook]);
        let guest = guest(&pod);
        assert_reaches(&guest);
        let counted = tapwire.counter(BINDING, &["to_guest", "frames"]).unwrap();
        tapwire.run(&["lease", "set", BINDING, "--hostname", "other"]).unwrap();
        for build in ["other-build", "other-layout"] {
            let other = tapwire.other(build).unwrap();
            other.run(&["upgrade", BINDING]).unwrap();
            assert_eq!(other.show(BINDING).unwrap()["state"], "ready", "{build}");
            let sent = transmitted(&pod.node, &portal(&other));
            assert_reaches(&guest);
            assert!(transmitted(&pod.node, &portal(&other)) > sent, "{build}");
            tapwire.run(&["upgrade", BINDING]).unwrap();
        }
        assert!(tapwire.counter(BINDING, &["to_guest", "frames"]).unwrap() >= counted + 2, "the counters go on");
    }
}

#[test]
fn a_portal_that_was_deleted_loses_nothing_and_is_made_again() {
    lab::require_root!();
    let (tapwire, pod) = bound("deleted", &[]);
    let guest = guest(&pod);
    assert_reaches(&guest);
    let name = portal(&tapwire);
    pod.node.ip(&["link", "del", &name]).unwrap();
    // Over the veth.
    assert_reaches(&guest);
    assert_degraded(&tapwire, &format!("the portal {name} is gone"));
    assert_said(&repair(&tapwire), &format!("the portal {name} is gone: made it anew"));
    let sent = transmitted(&pod.node, &name);
    assert_reaches(&guest);
    assert!(transmitted(&pod.node, &name) > sent);
}

#[test]
fn the_program_at_the_host_side_keeps_the_counters_when_all_pins_are_gone() {
    lab::require_root!();
    let (tapwire, pod) = bound("pins", &["--hook", "tcx"]);
    let guest = guest(&pod);
    assert_reaches(&guest);
    let counted = tapwire.counter(BINDING, &["to_guest", "frames"]).unwrap();
    std::fs::remove_dir_all(tapwire.pins().join(BINDING)).unwrap();
    assert_said(&repair(&tapwire), "pinned the map COUNTERS again: nothing of it is lost");
    assert!(tapwire.counter(BINDING, &["to_guest", "frames"]).unwrap() >= counted);
    assert_reaches(&guest);
}

#[test]
fn verbs_find_the_node_from_another_namespace_and_take_no_other_for_it() {
    lab::require_root!();
    let (tapwire, pod) = (Tapwire::new().unwrap(), Pod::new("elsewhere").unwrap());
    let before = state(&pod);
    // As an agent attaches that runs in the node's namespace, which has no name.
    let arguments: Vec<_> = attach_arguments(&pod, BINDING);
    let arguments: Vec<_> = arguments.iter().filter(|word| !["--node-netns", pod.node.name()].contains(word)).collect();
    let run = |namespace: &Namespace, words: &[&str]| {
        let mut command = tapwire.command(words);
        namespace.run(|| Ok(command.output()?)).unwrap()
    };
    let words: Vec<&str> = arguments.into_iter().copied().collect();
    assert!(run(&pod.node, &words).status.success());
    assert_eq!(way(&tapwire).0, "portal");
    let elsewhere = Namespace::new("elsewhere").unwrap();
    assert!(run(&elsewhere, &["upgrade", BINDING]).status.success());
    assert!(run(&elsewhere, &["repair", BINDING]).status.success());
    assert!(run(&elsewhere, &["lease", "set", BINDING, "--hostname", "other"]).status.success());
    let wrong = ["detach", BINDING, "--node-netns", elsewhere.name()];
    let refused = tapwire.refusal(&wrong).unwrap();
    assert!(refused.error.contains("is another one"), "{}", refused.error);
    assert!(run(&elsewhere, &["detach", BINDING, "--node-netns", pod.node.name()]).status.success());
    assert_as_before(&pod, &before);
}

#[test]
fn whatever_drifted_of_the_portal_is_put_right() {
    lab::require_root!();
    let (tapwire, pod) = bound("drifted", &[]);
    let guest = guest(&pod);
    let name = portal(&tapwire);
    let link = |words: &[&str]| drop(pod.node.ip(&[&["link", "set", "dev", &name], words].concat()).unwrap());
    let set = |path: &str, value| pod.node.set_sysctl(&path.replace("NAME", &name), value).unwrap();
    let filter = ["tc", "filter", "del", "dev", &pod.host_side, "egress", "pref", "65535"];
    let changes: [(&dyn Fn(), String); 8] = [
        (&|| link(&["down"]), format!("the portal {name} is down")),
        (&|| link(&["arp", "on"]), format!("the portal {name} does ARP")),
        (&|| link(&["mtu", "1400"]), format!("the portal {name} has the MTU 1400, the tap 1500")),
        (&|| link(&["mtu", "1000"]), format!("the portal {name} has the MTU 1000, the tap 1500")),
        (&|| set("net/ipv6/conf/NAME/disable_ipv6", "0"), format!("the portal {name} has IPv6 on")),
        (&|| set("net/ipv4/conf/NAME/forwarding", "1"), format!("the portal {name} has forwarding on")),
        (
            &|| drop(pod.node.exec(&filter).unwrap()),
            format!("the program tapwire_host_out is not attached to {}", pod.host_side),
        ),
        (
            &|| drop(pod.node.exec(&["tc", "qdisc", "del", "dev", &name, "clsact"]).unwrap()),
            format!("the program tapwire_portal_in is not attached to {name}"),
        ),
    ];
    for (change, reason) in changes {
        change();
        assert_degraded(&tapwire, &reason);
        assert!(!repair(&tapwire).is_empty(), "{reason}");
    }
    let sent = transmitted(&pod.node, &name);
    assert_reaches(&guest);
    assert!(transmitted(&pod.node, &name) > sent);
}

#[test]
fn a_tap_that_is_made_anew_gets_a_portal_of_its_own() {
    lab::require_root!();
    let (tapwire, pod) = bound("newtap", &[]);
    let before = tapwire.show(BINDING).unwrap();
    pod.namespace.ip(&["link", "del", "tap0"]).unwrap();
    pod.add_tap("tap0").unwrap();
    repair(&tapwire);
    assert_ne!(tapwire.show(BINDING).unwrap()["tap"]["ifindex"], before["tap"]["ifindex"]);
    let guest = guest(&pod);
    assert_reaches(&guest);
    assert!(transmitted(&pod.node, &portal(&tapwire)) > 0);
}

#[test]
fn a_pod_nic_that_is_made_anew_is_reached_through_the_portal_of_the_tap() {
    lab::require_root!();
    let (tapwire, pod) = bound("newnic", &[]);
    pod.namespace.ip(&["link", "del", "eth0"]).unwrap();
    let peer = ["type", "veth", "peer", "name", "vethnew", "netns", pod.node.name()];
    pod.namespace.ip(&[&["link", "add", "eth0", "address", POD_MAC][..], &peer].concat()).unwrap();
    pod.node.ip(&["link", "set", "vethnew", "up"]).unwrap();
    pod.node.ip(&["addr", "add", "10.244.1.1/24", "dev", "vethnew"]).unwrap();
    pod.namespace.ip(&["link", "set", "eth0", "up"]).unwrap();
    pod.namespace.ip(&["addr", "add", "10.244.1.5/24", "dev", "eth0"]).unwrap();
    repair(&tapwire);
    assert_eq!(way(&tapwire).0, "portal");
    let guest = guest(&pod);
    assert_reaches(&guest);
    assert!(transmitted(&pod.node, &portal(&tapwire)) > 0);
    drop(guest);
    tapwire.run(&["detach", BINDING]).unwrap();
    assert_eq!(Pod::links(&pod.node).unwrap(), ["lo", "vethnew"]);
    assert!(!pod.node.exec(&["tc", "qdisc", "show", "dev", "vethnew"]).unwrap().contains("clsact"));
}

#[test]
fn the_portal_is_withdrawn_when_something_comes_that_it_would_pass_over() {
    lab::require_root!();
    for hook in HOOKS {
        let (tapwire, pod) = bound("withdrawn", &["--hook", hook]);
        let guest = guest(&pod);
        let name = portal(&tapwire);
        let tbf = ["tc", "qdisc", "add", "dev", &pod.host_side, "root", "tbf", "rate", "1gbit", "burst", "1mb"];
        pod.node.exec(&[&tbf[..], &["latency", "100ms"]].concat()).unwrap();
        assert_degraded(&tapwire, "frames to the guest go through a portal, but the host side");
        assert_said(&repair(&tapwire), "frames to the guest go by redirect, not through a portal: the host side");
        let (taken, why) = way(&tapwire);
        assert!(taken == "redirect" && why.contains("qdisc tbf"), "{taken}: {why}");
        assert!(!Pod::links(&pod.node).unwrap().contains(&name));
        let qdiscs = pod.node.exec(&["tc", "qdisc", "show", "dev", &pod.host_side]).unwrap();
        assert!(qdiscs.contains("tbf"), "{qdiscs}");
        assert_reaches(&guest);
        // The clsact qdisc stays until now: while a device loses one, the kernel drops what it sends.
        drop(guest);
        tapwire.run(&["detach", BINDING]).unwrap();
        let qdiscs = pod.node.exec(&["tc", "qdisc", "show", "dev", &pod.host_side]).unwrap();
        assert!(qdiscs.contains("tbf") && !qdiscs.contains("clsact"), "{qdiscs}");
    }
}

#[test]
fn by_name_the_portal_stays_and_show_says_what_it_passes_over() {
    lab::require_root!();
    let (tapwire, pod) = (Tapwire::new().unwrap(), Pod::new("byname").unwrap());
    let filter = ["tc", "qdisc", "add", "dev", &pod.host_side, "clsact"];
    pod.node.exec(&filter).unwrap();
    let filter = ["tc", "filter", "add", "dev", &pod.host_side, "egress", "protocol", "all", "u32", "match", "u32"];
    pod.node.exec(&[&filter[..], &["0", "0", "flowid", "1:1"]].concat()).unwrap();
    let before = state(&pod);
    tapwire.attach(&pod, BINDING, &[]).unwrap();
    assert_eq!(way(&tapwire).0, "redirect");
    tapwire.run(&["detach", BINDING]).unwrap();
    assert_as_before(&pod, &before);
    tapwire.attach(&pod, BINDING, &["--to-guest", "portal"]).unwrap();
    let (taken, why) = way(&tapwire);
    assert!(taken == "portal" && why.starts_with("asked for; auto would not take it: the host side"), "{taken}: {why}");
    assert_eq!(tapwire.show(BINDING).unwrap()["state"], "ready");
    tapwire.run(&["detach", BINDING]).unwrap();
    assert_as_before(&pod, &before);
}

#[test]
fn where_there_can_be_no_portal_it_is_refused_by_name_and_nothing_changes() {
    lab::require_root!();
    let (tapwire, pod) = (Tapwire::new().unwrap(), Pod::new("cannot").unwrap());
    pod.node.exec(&["tc", "qdisc", "add", "dev", &pod.host_side, "ingress"]).unwrap();
    let before = state(&pod);
    let refusal = tapwire.refusal(&[&attach_arguments(&pod, BINDING)[..], &["--to-guest", "portal"]].concat()).unwrap();
    assert!(refusal.error.contains("an ingress qdisc"), "{}", refusal.error);
    assert_eq!(refusal.hint.as_deref(), Some("--to-guest redirect"));
    assert_as_before(&pod, &before);
}
