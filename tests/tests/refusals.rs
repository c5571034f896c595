//! What attach refuses, it refuses in one line with a remedy, and nothing is changed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::PermissionsExt as _};

use lab::{Namespace, Pod, Tapwire, fingerprint, tapwire::Refusal};

/// A pod and what it was like before anything was tried.
struct Lab {
    pod: Pod,
    tapwire: Tapwire,
    before: String,
    links: Vec<String>,
}

impl Lab {
    fn new(label: &str) -> Self {
        Self::with_pod(Pod::new(label).unwrap())
    }

    fn with_pod(pod: Pod) -> Self {
        let mut lab = Self { pod, tapwire: Tapwire::new().unwrap(), before: String::new(), links: Vec::new() };
        lab.remember();
        lab
    }

    /// After a change that the test itself made.
    fn remember(&mut self) {
        self.before = self.pod.fingerprint().unwrap();
        self.links = Pod::links(&self.pod.namespace).unwrap();
    }

    fn ip(&mut self, arguments: &[&str]) {
        self.pod.namespace.ip(arguments).unwrap();
        self.remember();
    }

    /// Attach with these options is refused, for this reason, and changes nothing.
    fn assert_refused(&self, options: &[&str], why: &str) -> Refusal {
        let base =
            ["attach", "--netns", self.pod.namespace.name(), "--node-netns", self.pod.node.name(), "--name", "no"];
        let refusal = self.tapwire.refusal(&[&base, options].concat()).unwrap();
        assert!(refusal.error.contains(why), "{options:?}: {}", refusal.error);
        self.assert_unchanged();
        refusal
    }

    fn assert_unchanged(&self) {
        let after = self.pod.fingerprint().unwrap();
        assert!(after == self.before, "{}", fingerprint::difference(&self.before, &after));
        assert_eq!(Pod::links(&self.pod.namespace).unwrap(), self.links);
        assert!(!self.tapwire.state().join("no.json").exists());
        assert!(!self.tapwire.pins().join("no").exists());
    }
}

#[test]
fn a_nic_that_does_not_exist() {
    lab::require_root!();
    let lab = Lab::new("nonic");
    let refusal = lab.assert_refused(&["--nic", "net7"], "net7");
    assert!(refusal.hint.unwrap().contains("eth0"), "the hint names the NICs that there are");
}

#[test]
fn a_namespace_that_does_not_exist() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    for netns in ["no-such-namespace", "/no/such/path", "pid:4194304"] {
        let refusal = tapwire.refusal(&["attach", "--netns", netns]).unwrap();
        assert!(refusal.error.contains("open the network namespace"), "{netns}: {}", refusal.error);
    }
}

#[test]
fn a_nic_that_is_a_port_of_a_bridge() {
    lab::require_root!();
    let mut lab = Lab::new("port");
    lab.ip(&["link", "add", "br0", "type", "bridge"]);
    lab.ip(&["link", "set", "eth0", "master", "br0"]);
    lab.assert_refused(&[], "already a port of a bridge");
}

#[test]
fn a_nic_without_an_address_when_dhcp_must_be_on() {
    lab::require_root!();
    let pod = Pod::builder("noaddr").addresses(&[]).routes(&[]).build().unwrap();
    let lab = Lab::with_pod(pod);
    lab.assert_refused(&["--dhcp", "on"], "no global IPv4 address");
    let report = lab.tapwire.attach(&lab.pod, "wire", &[]).unwrap();
    assert!(report["lease"].is_null(), "auto makes a pure wire");
    lab.tapwire.run(&["detach", "wire"]).unwrap();
    lab.assert_unchanged();
}

/// As AWS lays out each further NIC of a pod.
#[test]
fn a_default_route_that_dhcp_cannot_say() {
    lab::require_root!();
    let mut lab = Lab::with_pod(Pod::builder("table").routes(&["default via 10.244.1.1 table 2"]).build().unwrap());
    lab.ip(&["rule", "add", "from", "10.244.1.5", "lookup", "2"]);
    let refusal = lab.assert_refused(&[], "in table 2, not main, and the rule of priority 32765 leads there");
    assert!(refusal.hint.unwrap().contains("--dhcp off"));
    let discovered = lab.tapwire.refusal(&["discover", "--netns", lab.pod.namespace.name()]).unwrap();
    assert_eq!(discovered.error, refusal.error);
    lab.tapwire.attach(&lab.pod, "wire", &["--dhcp", "off"]).unwrap();
    lab.tapwire.run(&["detach", "wire"]).unwrap();
    lab.assert_unchanged();
}

#[test]
fn the_machines_own_namespace_without_force() {
    lab::require_root!();
    let pod = Pod::new("self").unwrap();
    let tapwire = Tapwire::new().unwrap();
    let arguments = ["attach", "--netns", "self", "--nic", "eth0", "--name", "no"];
    let refused = pod.namespace.run(|| tapwire.refusal(&arguments)).unwrap();
    assert!(refused.error.contains("machine's own"), "{}", refused.error);
    assert!(refused.hint.unwrap().contains("--force"));
    // The thread is in the pod's namespace, so that is what `self` is.
    let forced = pod.namespace.run(|| tapwire.json(&[&arguments[..], &["--force"]].concat())).unwrap();
    assert_eq!(forced["nic"]["original_mac"], pod.mac.as_str());
    tapwire.run(&["detach", "no"]).unwrap();
}

#[test]
fn a_device_without_an_ethernet_address() {
    lab::require_root!();
    let mut lab = Lab::new("nomac");
    lab.ip(&["tuntap", "add", "tun0", "mode", "tun"]);
    lab.assert_refused(&["--nic", "tun0"], "no MAC address");
    lab.assert_refused(&["--nic", "lo"], "no MAC address");
}

#[test]
fn a_tap_that_is_not_as_it_was_asked_for() {
    lab::require_root!();
    let mut lab = Lab::new("tap");
    lab.ip(&["tuntap", "add", "tap0", "mode", "tap", "user", "107"]);
    lab.assert_refused(&["--queues", "4"], "not multi-queue");
    lab.assert_refused(&["--tap-owner", "108"], "another owner");
    lab.assert_refused(&["--mtu", "1400"], "its MTU is 1500");
    lab.ip(&["link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
    lab.assert_refused(&["--tap", "veth0"], "veth0");
    lab.ip(&["link", "add", "br0", "type", "bridge"]);
    lab.ip(&["link", "set", "tap0", "master", "br0"]);
    lab.assert_refused(&[], "port of a bridge");
}

#[test]
fn a_name_or_a_device_that_another_binding_has() {
    lab::require_root!();
    let lab = Lab::new("one");
    let other = Pod::new("two").unwrap();
    lab.tapwire.attach(&other, "taken", &[]).unwrap();
    let netns = lab.pod.namespace.name();
    let refusal = lab.tapwire.refusal(&["attach", "--netns", netns, "--name", "taken"]).unwrap();
    assert!(refusal.error.contains("use the name taken"), "{}", refusal.error);
    lab.assert_unchanged();
    let again = ["attach", "--netns", other.namespace.name(), "--name", "no"];
    let refusal = lab.tapwire.refusal(&again).unwrap();
    assert!(refusal.error.contains("the binding taken has it"), "{}", refusal.error);
    assert_eq!(lab.tapwire.show("taken").unwrap()["state"], "ready");
}

#[test]
fn pins_that_would_not_last() {
    lab::require_root!();
    let lab = Lab::new("bpffs");
    let elsewhere = lab.tapwire.state().join("pins");
    let mut command = lab.tapwire.command(&["attach", "--netns", lab.pod.namespace.name(), "--name", "no"]);
    let output = command.env("TAPWIRE_BPFFS", &elsewhere).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("does not lie on a bpffs") && said.contains("hint: "), "{said}");
    lab.assert_unchanged();
}

#[test]
fn a_kernel_that_lacks_what_is_needed() {
    lab::require_root!();
    let lab = Lab::new("kernel");
    let arguments = ["attach", "--netns", lab.pod.namespace.name(), "--name", "no"];
    let attach = |inject: &str, more: &[&str]| {
        let runner = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", inject];
        let output = lab.tapwire.under(&runner, &[&arguments, more].concat()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = attach("inject=bpf:error=ENOSYS", &["--hook", "clsact"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("CONFIG_BPF_SYSCALL"), "{said}");
    lab.assert_unchanged();
    // What a kernel before 6.6 says to the question for TCX programs.
    let (code, said) = attach("inject=bpf:error=EINVAL", &["--hook", "tcx", "--node-netns", "self"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it came with 6.6") && said.contains("--hook auto"), "{said}");
    lab.assert_unchanged();
}

#[test]
fn a_route_that_could_not_be_given_back() {
    lab::require_root!();
    let mut lab = Lab::new("nexthop");
    lab.ip(&["nexthop", "add", "id", "7", "via", "10.244.1.9", "dev", "eth0"]);
    lab.ip(&["route", "add", "10.9.0.0/16", "nhid", "7"]);
    let refusal = lab.assert_refused(&[], "nexthop object");
    assert!(refusal.hint.unwrap().contains("--mac-mode keep"));
    let discovered = lab.tapwire.json(&["discover", "--netns", lab.pod.namespace.name()]).unwrap();
    let warning = format!("attach would refuse without --mac-mode keep: {}", refusal.error);
    assert_eq!(discovered["warnings"], serde_json::json!([warning]));
}

#[test]
fn lease_options_that_contradict_each_other() {
    lab::require_root!();
    let lab = Lab::new("options");
    for (options, why) in [
        (
            &["--private-option", "240=a", "--private-option", "240=b"][..],
            "use --private-option: 240 stands there twice",
        ),
        (&["--dns", "10.0.0.1,10.0.0.1"], "use --dns: 10.0.0.1 stands there twice"),
        (&["--search", "none,a.example"], "use --search: \"none\" stands beside other values"),
    ] {
        assert!(lab.assert_refused(options, why).hint.is_some(), "{options:?}");
    }
}

#[test]
fn a_lease_file_that_is_wrong() {
    lab::require_root!();
    let lab = Lab::new("file");
    let path = lab.tapwire.state().join("lease.toml");
    let file = path.to_str().unwrap();
    for (text, why) in [
        ("mtu = 1400\nboot = \"x\"\n", "line 2: there is no key \"boot\""),
        ("mtu = true\n", "line 1: mtu: "),
        ("\nsearch = [\n\"a.example\",\n\"foo,com\"]\n", "line 4: search: \"foo,com\""),
        ("privateOptions = [{ option = 66, value = \"x\" }]\n", "line 1: privateOptions: "),
        ("dns\n", "line 1: "),
        (&"#".repeat(64 * 1024 + 1), "more than 65536 octets"),
    ] {
        fs::write(&path, text).unwrap();
        let refusal = lab.assert_refused(&["--lease-file", file], why);
        assert!(refusal.error.contains(file) && refusal.hint.is_some(), "{}", refusal.error);
    }
    lab.assert_refused(&["--lease-file", "/dev/zero"], "not a regular file");
    let missing = path.with_file_name("missing.toml");
    lab.assert_refused(&["--lease-file", missing.to_str().unwrap()], "No such file");
    fs::write(&path, "mtu = 9000\n").unwrap();
    let refusal = lab.assert_refused(&["--lease-file", file], "9000 is over the pod NIC's 1500");
    assert!(refusal.hint.unwrap().contains("1500"));
}

#[test]
fn nonsense_on_the_command_line_is_wrong_usage() {
    let tapwire = Tapwire::new().unwrap();
    for arguments in [
        &["attach"][..],
        &["attach", "--netns", "a", "--dns", "nonsense"],
        &["attach", "--netns", "a", "--lease-time", "1"],
        &["attach", "--netns", "a", "--mtu", "12"],
        &["attach", "--netns", "a", "--queues", "0"],
        &["attach", "--netns", "a", "--to-network", "warp"],
        &["attach", "--netns", "a", "--guard", "vlan"],
        &["attach", "--netns", "a", "--hostname", "a b;reboot"],
        &["attach", "--netns", "a", "--dns", "127.0.0.1"],
        &["attach", "--netns", "a", "--search", "a..b"],
        &["attach", "--netns", "a", "--search", "-a.com"],
        &["attach", "--netns", "a", "--hostname", "-rf"],
        &["attach", "--netns", "a", "--ntp-servers", "fd00::1"],
        &["attach", "--netns", "a", "--tftp-servers", "tftp.example"],
        &["attach", "--netns", "a", "--tftp-server-name", "fd00::1"],
        &["attach", "--netns", "a", "--boot-file-name", "a\nb"],
        &["attach", "--netns", "a", "--boot-file-name", ""],
        &["attach", "--netns", "a", "--private-option", "240"],
        &["attach", "--netns", "a", "--private-option", "240="],
        &["attach", "--netns", "a", "--private-option", "223=x"],
        &["attach", "--netns", "a", "--private-option", "255=x"],
        &["show"],
        &["upgrade"],
        &["repair", "a", "--all"],
        &[],
    ] {
        assert_eq!(tapwire.output(arguments).unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_name_that_is_no_name() {
    lab::require_root!();
    let lab = Lab::new("name");
    let tapwire = &lab.tapwire;
    let netns = lab.pod.namespace.name();
    for name in ["a/b", "..", "", "ü"] {
        let refusal = tapwire.refusal(&["attach", "--netns", netns, "--name", name]).unwrap();
        assert!(refusal.error.contains("name the binding"), "{name}: {}", refusal.error);
    }
    lab.assert_unchanged();
    let empty = Namespace::new("empty").unwrap();
    let refusal = tapwire.refusal(&["discover", "--netns", empty.name()]).unwrap();
    assert!(refusal.hint.unwrap().contains("no NIC but lo"), "a namespace that is not the pod's");
}

#[test]
fn what_the_nodes_policy_does_not_allow() {
    lab::require_root!();
    let lab = Lab::new("policy");
    let policy = lab.tapwire.policy();
    fs::write(&policy, "[guard]\nrules = [\"vlan\"]\naddresses = [\"10.244.0.0/16\"]\n").unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o644)).unwrap();
    let cases = [
        (["--guard", "off"].as_slice(), "--guard off"),
        (&["--guard", "-vlan,-rogue-ra"], "--guard -rogue-ra"),
        (&["--allow-address", "10.244.1.7,10.245.0.1"], "--allow-address 10.245.0.1/32"),
        (&["--allow-mac", "00:00:5e:00:01:01"], "--allow-mac 00:00:5e:00:01:01"),
        (&["--allow-vlan"], "--allow-vlan"),
        (&["--allow-lldp"], "--allow-lldp"),
        (&["--dhcp", "off"], "a pure wire"),
    ];
    for (options, excess) in cases {
        let refusal = lab.assert_refused(options, "policy.toml does not allow it");
        assert!(refusal.error.contains(excess), "{}", refusal.error);
        assert!(refusal.hint.is_some());
    }
    lab.tapwire.attach(&lab.pod, "yes", &["--guard", "-vlan", "--allow-address", "10.244.1.7"]).unwrap();
}

#[test]
fn a_policy_that_others_may_write() {
    lab::require_root!();
    let lab = Lab::new("policy-of-all");
    fs::write(lab.tapwire.policy(), "").unwrap();
    fs::set_permissions(lab.tapwire.policy(), fs::Permissions::from_mode(0o666)).unwrap();
    lab.assert_refused(&[], "others than root may write it");
}
