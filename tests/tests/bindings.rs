//! Bindings as an operator has them: twice the same, several in one pod, many on one node, found and shown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lab::{Guest, Pod, Tapwire, tapwire::attach_arguments};
use serde_json::Value;

/// Every key of `expected`, and below it, is in `found`; where `expected` says `"…"`, any value will do.
fn assert_has(found: &Value, expected: &Value, at: &str) {
    match expected {
        Value::Object(keys) => {
            for (key, value) in keys {
                let below = found.get(key);
                assert!(below.is_some(), "{at}.{key} is missing in {found}");
                assert_has(below.unwrap(), value, &format!("{at}.{key}"));
            }
        }
        Value::String(any) if any == "…" => {}
        _ => assert_eq!(found, expected, "{at}"),
    }
}

/// The guest gets an answer, once the carriers of its tap and its NIC have come up.
fn assert_reaches(guest: &Guest, address: &str) {
    let ping = || Ok(guest.exec(&["busybox", "ping", "-c", "1", "-W", "1", address]).is_ok());
    lab::wait::wait_until(&format!("an answer of {address}"), Duration::from_secs(15), ping).unwrap();
}

/// The contract of the design, filled in for the lab's pod.
fn contract(pod: &Pod) -> Value {
    serde_json::json!({
        "version": 1, "name": "contract", "netns": "…", "state": "ready", "reason": "",
        "nic": {"name": "eth0", "ifindex": "…", "kind": "veth", "mac": "…", "original_mac": pod.mac, "mtu": 1500},
        "tap": {"name": "tap0", "ifindex": "…", "queues": 1, "mtu": 1500},
        "lease": {
            "mac": pod.mac, "address": "10.244.1.5/24", "gateway": "10.244.1.1",
            "routes": [{"dst": "10.244.0.0/16", "via": "10.244.1.1"}, {"dst": "0.0.0.0/0", "via": "10.244.1.1"}],
            "dns": ["10.96.0.10"], "search": "…", "mtu": 1500, "hostname": "vm-1", "server_id": "10.244.1.1",
            "seconds": 86400
        },
        "wire": {
            "hook": "…", "to_network": "peer", "to_guest": "portal", "mac_mode": "swap", "guard": true,
            "guard_off": [],
            "guard_allowed": {"addresses": [], "macs": [], "vlans": "none", "lldp": false, "ether_types": []}
        },
        "counters": {
            "to_network": {"frames": "…", "bytes": "…"}, "to_guest": {"frames": "…", "bytes": "…"},
            "dhcp": {
                "discover": 0, "offer": 0, "request": 0, "ack": 0, "nak": 0, "inform": 0, "release": 0, "decline": 0
            },
            "arp": {"replies": 0}, "dropped": {}
        }
    })
}

#[test]
fn show_list_and_attach_keep_the_contract_of_their_json() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("contract").unwrap(), Tapwire::new().unwrap());
    let attached = tapwire.attach(&pod, "contract", &["--hostname", "vm-1"]).unwrap();
    let shown = tapwire.json(&["show", "--name", "contract"]).unwrap();
    let listed = tapwire.json(&["list"]).unwrap();
    for found in [&attached, &shown, &listed[0]] {
        assert_has(found, &contract(&pod), "");
    }
    assert_eq!(shown["nic"]["mac"], pod.nic_mac().unwrap().as_str());
    assert_ne!(shown["nic"]["mac"], pod.mac.as_str(), "the NIC has another MAC in swap mode");
    let text = tapwire.run(&["list"]).unwrap();
    assert!(text.lines().nth(1).unwrap().starts_with("contract  ready"), "{text}");
}

#[test]
fn discover_tells_what_attach_would_do_and_does_nothing() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("discover").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    let found = tapwire.json(&["discover", "--netns", pod.namespace.name()]).unwrap();
    assert_eq!(pod.fingerprint().unwrap(), before);
    assert_eq!(Pod::links(&pod.namespace).unwrap(), ["lo", "eth0"]);
    let attached = tapwire.attach(&pod, "discover", &[]).unwrap();
    assert_eq!(found["lease"], attached["lease"]);
    assert_eq!(found["nic"]["mac"], pod.mac.as_str());
    assert!(found["addresses"].as_array().unwrap().len() >= 2, "of both families: {found}");
}

#[test]
fn flags_go_before_the_lease_file_and_the_file_before_the_pod() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("file").unwrap(), Tapwire::new().unwrap());
    let path = tapwire.state().join("lease.toml");
    let text = "search = [\"A.example.\"]\nmtu = 1400\nntpServers = [\"10.96.0.11\"]\nleaseTime = \"infinite\"\n\
                bootFileName = \"of-the-file\"\nprivateOptions = [{ option = 240, value = \"a,b\" }]\n";
    std::fs::write(&path, text).unwrap();
    let file = ["--lease-file", path.to_str().unwrap()];
    let plain = tapwire.json(&["discover", "--netns", pod.namespace.name()]).unwrap();
    let from_file = tapwire.json(&[&["discover", "--netns", pod.namespace.name()][..], &file].concat()).unwrap();
    let of_file = serde_json::json!({
        "dns": plain["lease"]["dns"], "search": ["a.example"], "mtu": 1400, "ntp_servers": ["10.96.0.11"],
        "seconds": u32::MAX, "boot_file_name": "of-the-file", "private_options": [{"option": 240, "value": "a,b"}],
        "routes": plain["lease"]["routes"]
    });
    assert_has(&from_file["lease"], &of_file, "lease");
    let flags = ["--boot-file-name", "of-a-flag", "--ntp-servers", "none", "--dns", "none", "--mtu", "1300"];
    let private = ["--private-option", "241=c,d=e", "--private-option", "224=f"];
    let attach = [&attach_arguments(&pod, "file")[..], &file, &flags, &private].concat();
    let attached = tapwire.json(&attach).unwrap();
    let of_flags = serde_json::json!({
        "dns": [], "search": ["a.example"], "mtu": 1300, "ntp_servers": [], "seconds": u32::MAX,
        "boot_file_name": "of-a-flag",
        "private_options": [{"option": 241, "value": "c,d=e"}, {"option": 224, "value": "f"}]
    });
    assert_has(&attached["lease"], &of_flags, "lease");
    // The values count, not the file: gone, it is not missed; with other values it is another binding.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(tapwire.show("file").unwrap()["lease"], attached["lease"]);
    std::fs::write(&path, format!("{text}# the same\n")).unwrap();
    assert_eq!(tapwire.json(&attach).unwrap()["tap"], attached["tap"]);
    std::fs::write(&path, "mtu = 1400\n").unwrap();
    assert!(tapwire.refusal(&attach).unwrap().error.contains("with other options"));
}

#[test]
fn malformed_lines_of_resolv_conf_are_reported_and_left_out() {
    lab::require_root!();
    let text = "nameserver 10.96.0.10\nnameserver nonsense\nnameserver ::1\nnameserver 127.0.0.53\nsearch a.example b.example\n";
    let pod = Pod::builder("resolv").resolv_conf(Some(text)).build().unwrap();
    let found = Tapwire::new().unwrap().json(&["discover", "--netns", pod.namespace.name()]).unwrap();
    assert_eq!(found["lease"]["dns"], serde_json::json!(["10.96.0.10"]));
    assert_eq!(found["lease"]["search"], serde_json::json!(["a.example", "b.example"]));
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("nonsense") && warnings.contains('2'), "{warnings}");
}

#[test]
fn attach_twice_is_one_attach() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("twice").unwrap(), Tapwire::new().unwrap());
    let before = pod.fingerprint().unwrap();
    let once = tapwire.attach(&pod, "twice", &[]).unwrap();
    let while_attached = pod.fingerprint().unwrap();
    // However the namespace is named, and whatever is permitted on the way.
    let path = pod.namespace.path();
    let netns = path.to_str().unwrap();
    let again = ["attach", "--netns", netns, "--node-netns", pod.node.name(), "--name", "twice", "--mount-bpffs"];
    let twice = tapwire.json(&again).unwrap();
    assert_eq!(once["nic"], twice["nic"]);
    assert_eq!(once["tap"], twice["tap"]);
    assert_eq!(pod.fingerprint().unwrap(), while_attached);
    let otherwise = [&attach_arguments(&pod, "twice")[..], &["--hostname", "other"]].concat();
    let refusal = tapwire.refusal(&otherwise).unwrap();
    assert!(refusal.error.contains("with other options"), "{}", refusal.error);
    tapwire.run(&["detach", "twice"]).unwrap();
    assert_eq!(pod.fingerprint().unwrap(), before);
}

#[test]
fn two_bindings_in_one_namespace_do_not_meet() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("two").unwrap(), Tapwire::new().unwrap());
    let (netns, node) = (pod.namespace.name(), pod.node.name());
    let mac = "0a:58:0a:f5:01:05";
    pod.node
        .ip(&["link", "add", "host1", "type", "veth", "peer", "name", "eth1", "address", mac, "netns", netns])
        .unwrap();
    pod.node.ip(&["addr", "add", "10.245.1.1/24", "dev", "host1"]).unwrap();
    pod.node.ip(&["link", "set", "host1", "up"]).unwrap();
    pod.namespace.ip(&["addr", "add", "10.245.1.5/24", "dev", "eth1"]).unwrap();
    pod.namespace.ip(&["link", "set", "eth1", "up"]).unwrap();

    tapwire.attach(&pod, "first", &[]).unwrap();
    let second =
        ["attach", "--netns", netns, "--node-netns", node, "--nic", "eth1", "--tap", "tap1", "--name", "second"];
    let report = tapwire.json(&second).unwrap();
    assert!(report["lease"]["gateway"].is_null(), "the default route is not by this NIC");
    let one = Guest::new(&pod, "tap0", &pod.mac).unwrap();
    let two = Guest::new(&pod, "tap1", mac).unwrap();
    one.configure("10.244.1.5/24", None).unwrap();
    two.configure("10.245.1.5/24", None).unwrap();
    assert_reaches(&one, "10.244.1.1");
    assert_reaches(&two, "10.245.1.1");
    tapwire.run(&["detach", "first"]).unwrap();
    assert_reaches(&two, "10.245.1.1");
    assert_eq!(tapwire.show("second").unwrap()["state"], "ready");
}

#[test]
fn fifty_bindings_in_fifty_namespaces_come_and_go() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    let pods: Vec<_> = (0..50).map(|n| Pod::new(&format!("many{n}")).unwrap()).collect();
    let before: Vec<_> = pods.iter().map(|pod| pod.fingerprint().unwrap()).collect();
    for (n, pod) in pods.iter().enumerate() {
        tapwire.attach(pod, &format!("many.{n}"), &[]).unwrap();
    }
    let listed = tapwire.json(&["list"]).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 50);
    assert!(listed.iter().all(|binding| binding["state"] == "ready"));
    for (n, (pod, before)) in pods.iter().zip(&before).enumerate() {
        tapwire.run(&["detach", &format!("many.{n}")]).unwrap();
        assert_eq!(pod.fingerprint().unwrap(), *before, "pod {n}");
    }
    assert_eq!(tapwire.json(&["list"]).unwrap(), serde_json::json!([]));
    assert_eq!(std::fs::read_dir(tapwire.pins()).unwrap().count(), 0, "no pin is left");
}
