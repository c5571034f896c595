//! Every flag that takes a value, with values that are wrong. They are refused before anything is looked at, so no
//! namespace is needed, and no root.

use lab::Tapwire;

use crate::plain;

/// 256 octets: more than any option of a lease holds.
const LONG: &str = match std::str::from_utf8(&[b'x'; 256]) {
    Ok(text) => text,
    Err(_) => "",
};
/// A command that would clear the screen, if it were printed.
const ESCAPE: &str = "\u{1b}[2J";

/// What the guest is told: the flags that `discover`, `attach` and `lease set` share.
const LEASE: [(&str, &[&str]); 10] = [
    ("--mtu", &["", "0", "67", "65536", "-1", "1500.0", "0x5dc", "99999999999999999999", ESCAPE]),
    (
        "--dns",
        &["", "10.0.0", "10.0.0.256", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "fd00::1", "a", ","],
    ),
    ("--search", &["", "a..b", ".", "-a.com", "a-.com", "a b", "a,,b", "foo_bar.c0m_", LONG, ESCAPE, "a\nb"]),
    ("--hostname", &["", "-rf", "a b", "a;reboot", "$(reboot)", "a\nb", "a..b", LONG, ESCAPE]),
    ("--lease-time", &["", "0", "29", "-1", "4294967296", "1h", "forever", "1.5", ESCAPE]),
    ("--ntp-servers", &["", "10.0.0", "fd00::1", "ntp.example", "127.0.0.1"]),
    ("--tftp-server-name", &["", "fd00::1", "a\nb", LONG, ESCAPE]),
    ("--boot-file-name", &["", "a\nb", ESCAPE, LONG]),
    ("--tftp-servers", &["", "tftp.example", "10.0.0.1/24"]),
    ("--private-option", &["", "240", "240=", "=x", "223=x", "255=x", "-1=x", "256=x", ESCAPE]),
];

/// The flags of `attach` alone.
const ATTACH: [(&str, &[&str]); 8] = [
    ("--netns", &["", ".", "..", "pid:", "pid:0", "pid:-1", "pid:x", "pid:99999999999"]),
    ("--node-netns", &["", "pid:0"]),
    ("--mac-mode", &["", "Swap", "over", ESCAPE]),
    (
        "--guest-mac",
        &["", "00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00", "zz", "02-00", ESCAPE],
    ),
    ("--to-network", &["", "warp", "PEER"]),
    ("--hook", &["", "xdp"]),
    ("--tap-owner", &["", "root", "-1", "107:", ":36", "1:2:3", "4294967295", "4294967296"]),
    ("--queues", &["", "0", "257", "65536", "-1", "two"]),
];

/// The flags of `lease set` alone.
const LEASE_SET: [(&str, &[&str]); 3] = [
    (
        "--address",
        &["", "10.0.0.5", "10.0.0.5/33", "10.0.0.0/24", "10.0.0.255/24", "0.0.0.0/0", "127.0.0.1/8", "fd00::1/64"],
    ),
    ("--route", &["", "10.0.0.0/8 via", "10.0.0.0/33 via 10.0.0.1", "a via b", "10.0.0.0/8 via fd00::1", ESCAPE]),
    ("--guest-mac", &["", "01:00:5e:00:00:01", "learnt"]),
];

/// Each value is wrong usage, is told so beside the name of the flag, and acts on no terminal.
fn assert_refused(base: &[&str], flags: &[(&str, &[&str])]) {
    let tapwire = Tapwire::new().unwrap();
    for (flag, values) in flags {
        for value in *values {
            // With the value in the same word: one that begins with a dash is still a value.
            let given = format!("{flag}={value}");
            let output = tapwire.output(&[base, &[&given]].concat()).unwrap();
            assert_eq!(output.status.code(), Some(2), "{given:?}");
            let said = plain(&output, 2);
            assert!(said.starts_with("error: ") && said.contains(flag), "{given:?}: {said}");
        }
    }
}

#[test]
fn every_value_of_a_lease_that_is_wrong_is_wrong_usage() {
    for base in [["discover", "--netns", "a"].as_slice(), &["attach", "--netns", "a"], &["lease", "set", "a"]] {
        assert_refused(base, &LEASE);
    }
}

#[test]
fn every_value_of_attach_that_is_wrong_is_wrong_usage() {
    assert_refused(&["attach"], &ATTACH[..1]);
    assert_refused(&["attach", "--netns", "a"], &ATTACH[1..]);
}

#[test]
fn every_value_of_lease_set_that_is_wrong_is_wrong_usage() {
    assert_refused(&["lease", "set", "a"], &LEASE_SET);
}

#[test]
fn flags_without_a_value_or_given_twice_are_wrong_usage() {
    let tapwire = Tapwire::new().unwrap();
    for (flag, _) in LEASE.iter().chain(&ATTACH[1..]) {
        plain(&tapwire.output(&["attach", "--netns", "a", flag]).unwrap(), 2);
    }
    for flag in
        ["--mtu=1400", "--hostname=a", "--guest-mac=nic", "--hook=tcx", "--queues=2", "--nic=a", "--tap=a", "--name=a"]
    {
        plain(&tapwire.output(&["attach", "--netns", "a", flag, flag]).unwrap(), 2);
    }
}

/// What the guard is told; a flag of these may stand without a value, or repeat.
const GUARD: [(&str, &[&str]); 5] = [
    ("--guard", &["", "vlan", "-", "-nonsense", "ON", "on off"]),
    ("--allow-address", &["", "nonsense", "10.0.0.0/33", "10.0.0.256", "fe80::/129", "10.0.0.0/-1"]),
    ("--allow-mac", &["", "nonsense", "01:00:5e:00:00:01", "00:00:00:00:00:00", "2:0:0:0:0:1"]),
    ("--allow-vlan", &["4095", "-1", "x", "1-5"]),
    ("--allow-ethertype", &["", "88b5", "0x5ff", "0x10000", "0x", "ipv4"]),
];

#[test]
fn every_value_of_the_guard_that_is_wrong_is_wrong_usage() {
    assert_refused(&["attach", "--netns", "a"], &GUARD);
}
