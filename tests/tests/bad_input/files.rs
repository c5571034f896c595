//! Files that the operator names, or that lie where a pod's files are looked for.

use std::{fs, path::Path};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::{Lab, refusal};

/// What is no file to be read: a folder, a pipe that nobody writes to, a device without an end, a link to nowhere.
fn not_files(folder: &Path) -> [String; 4] {
    let (pipe, link) = (folder.join("pipe"), folder.join("link"));
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/nonexistent", &link).unwrap();
    [folder, &pipe, Path::new("/dev/zero"), &link].map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn what_is_no_lease_file_is_refused_and_never_waited_for() {
    lab::require_root!();
    let lab = Lab::new("leasefile");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lease.toml");
    let path = file.to_str().unwrap();
    for not_file in not_files(folder.path()) {
        let said = refusal(lab.tapwire.command(&lab.attach(&["--lease-file", &not_file])));
        assert!(said.contains(&format!("read the lease file {not_file}")), "{said}");
    }
    for (content, why) in [
        (&b"mtu = \"\x1b[2J\"\n"[..], "line 1: "),
        (b"hostname = \"\\u001b[2J\"\n", "not a name"),
        (b"\"\\u001b[2J\" = 1\n", "there is no key"),
        (b"mtu = 1400\n\xff\n", "line 2: it is not UTF-8"),
        (b"\0\0\0\0", "line 1: "),
        (b"\x7fELF\x02\x01\x01\0", "line 1: "),
        (b"dns = [[[[[[[[[[[[[[[[[[[[", "line 1: "),
        (b"{\"mtu\": 1400}", "line 1: "),
    ] {
        fs::write(&file, content).unwrap();
        let said = refusal(lab.tapwire.command(&lab.attach(&["--lease-file", path])));
        assert!(said.contains(why), "{why}: {said}");
    }
    // Deep nesting must not end the stack.
    fs::write(&file, format!("dns = {}", "[".repeat(60_000))).unwrap();
    refusal(lab.tapwire.command(&lab.attach(&["--lease-file", path])));
    lab.assert_unchanged();
}

#[test]
fn what_is_no_resolv_conf_is_refused_and_never_waited_for() {
    lab::require_root!();
    let lab = Lab::new("resolv");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let path = file.to_str().unwrap();
    for not_file in not_files(folder.path()) {
        let said = refusal(lab.tapwire.command(&lab.attach(&["--resolv-conf", &not_file])));
        assert!(said.contains(&format!("read {not_file}")) && said.contains("--resolv-conf"), "{said}");
    }
    fs::write(&file, "nameserver 10.0.0.1\n".repeat(1 << 16)).unwrap();
    let said = refusal(lab.tapwire.command(&lab.attach(&["--resolv-conf", path])));
    assert!(said.contains("more than 65536 octets"), "{said}");
    lab.assert_unchanged();
}

/// The file is the tenant's: it may be nonsense, and attach works, with a few short lines on it.
#[test]
fn a_resolv_conf_of_nonsense_is_told_of_in_a_few_lines() {
    lab::require_root!();
    let lab = Lab::new("nonsense");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let junk = [&b"\0\xff\x1b[2J "[..], &vec![b'x'; 30_000], b"\n"].concat();
    let content =
        [&junk[..], &b"\x1b]0;title\x07\n".repeat(2_000), b"nameserver 10.96.0.10\nsearch \x1b[2J ok.example\n"]
            .concat();
    fs::write(&file, content).unwrap();
    let command = lab.attach(&["--resolv-conf", file.to_str().unwrap()]);
    let output = lab.tapwire.command(&command).output().unwrap();
    let said = crate::plain(&output, 0);
    assert!(said.lines().count() < 12 && said.len() < 4096, "{said}");
    assert!(said.lines().all(|line| line.starts_with("warning: ")), "{said}");
    let shown = lab.tapwire.show("b").unwrap();
    assert_eq!(shown["lease"]["dns"], serde_json::json!(["10.96.0.10"]));
    assert_eq!(shown["lease"]["search"], serde_json::json!(["ok.example"]));
    let text = lab.tapwire.output(&["show", "b"]).unwrap().stdout;
    assert!(!String::from_utf8(text).unwrap().chars().any(|c| c.is_control() && c != '\n'));
    lab.tapwire.run(&["detach", "b"]).unwrap();
    lab.assert_unchanged();
}

#[test]
fn what_is_no_namespace_is_refused_and_never_waited_for() {
    lab::require_root!();
    let lab = Lab::new("nons");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let others = ["/dev/null", "/proc/self/ns/mnt", "/proc/self/ns/pid", file.to_str().unwrap()].map(str::to_owned);
    for path in not_files(folder.path()).iter().chain(&others) {
        let said = refusal(lab.tapwire.command(&["attach", "--netns", path, "--name", "b"]));
        assert!(said.contains("the network namespace"), "{said}");
    }
    lab.assert_unchanged();
}
