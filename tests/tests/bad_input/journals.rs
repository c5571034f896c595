//! Journals that were damaged, edited, copied or put there by another.

use std::{fs, path::PathBuf};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};

use crate::{Lab, refusal};

/// Every how many octets a journal is cut: a prime, so that each kind of place comes up.
const STEP: usize = 211;

/// A binding that is whole, and its journal.
struct Bound {
    lab: Lab,
    path: PathBuf,
    good: Vec<u8>,
    attached: String,
}

impl Bound {
    fn new(label: &str) -> Self {
        let lab = Lab::new(label);
        lab.tapwire.attach(&lab.pod, "b", &[]).unwrap();
        let path = lab.tapwire.state().join("b.json");
        let good = fs::read(&path).unwrap();
        let attached = lab.pod.fingerprint().unwrap();
        Self { lab, path, good, attached }
    }

    /// With this in place of the journal, every verb says so and changes nothing.
    fn assert_refused(&self, content: &[u8]) {
        fs::write(&self.path, content).unwrap();
        self.assert_every_verb_refuses();
        assert_eq!(fs::read(&self.path).unwrap(), content);
    }

    fn assert_every_verb_refuses(&self) {
        let attach = self.lab.attach(&[]);
        for verb in [&["show", "b"][..], &["detach", "b"], &["lease", "set", "b", "--mtu", "1400"], &attach, &["list"]]
        {
            let said = refusal(self.lab.tapwire.command(verb));
            assert!(said.contains("read the journal"), "{verb:?}: {said}");
        }
        assert_eq!(self.lab.pod.fingerprint().unwrap(), self.attached);
    }

    /// With the journal in its place again, the binding is removed and the pod as it was.
    fn finish(self) {
        fs::write(&self.path, &self.good).unwrap();
        self.lab.tapwire.run(&["detach", "b"]).unwrap();
        self.lab.assert_unchanged();
    }
}

#[test]
fn a_journal_that_was_cut_anywhere_is_refused() {
    lab::require_root!();
    let bound = Bound::new("cut");
    bound.assert_refused(b"");
    for length in (1..bound.good.len() - 2).step_by(STEP) {
        fs::write(&bound.path, &bound.good[..length]).unwrap();
        let said = refusal(bound.lab.tapwire.command(&["detach", "b"]));
        assert!(said.contains("read the journal"), "{length}: {said}");
    }
    bound.assert_refused(&bound.good[..bound.good.len() / 2]);
    bound.finish();
}

#[test]
fn a_journal_that_was_edited_is_refused() {
    lab::require_root!();
    let bound = Bound::new("edited");
    let journal: Value = serde_json::from_slice(&bound.good).unwrap();
    for (pointer, value) in [
        ("/version", json!(4_000_000_000_u32)),
        ("/version", json!(0)),
        ("/version", json!("2")),
        ("/version", json!(null)),
        ("/phase", json!("\u{1b}[2J")),
        ("/name", json!("other")),
        ("/name", json!("../b")),
        ("/name", json!(7)),
        ("/nic/name", json!("../../etc")),
        ("/nic/name", json!("a\nb")),
        ("/nic/ifindex", json!(-1)),
        ("/nic/mac", json!("zz")),
        ("/tap/name", json!("0123456789abcdef")),
        ("/tap/made_as", json!("a/b")),
        ("/netns/ino", json!("x")),
        ("/hooks/0/program", json!("tapwire_/../../x")),
        ("/hooks/0/program", json!("another")),
        ("/hooks/0/device", json!("lo")),
        ("/hooks", json!({})),
        ("/clsact_made", json!(["lo"])),
        ("/lease/address", json!("10.0.0.0/99")),
        ("/wire/hook", json!("xdp")),
    ] {
        let mut edited = journal.clone();
        *edited.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        fs::write(&bound.path, serde_json::to_vec(&edited).unwrap()).unwrap();
        let said = refusal(bound.lab.tapwire.command(&["detach", "b"]));
        assert!(said.contains("read the journal"), "{pointer}: {said}");
        assert_eq!(bound.lab.pod.fingerprint().unwrap(), bound.attached, "{pointer}");
    }
    for text in ["null", "[]", "{}", "\u{1b}[2J", "{\"version\":2}", "{\"version\":2,\"version\":1}"] {
        bound.assert_refused(text.as_bytes());
    }
    bound.finish();
}

#[test]
fn what_is_no_journal_of_ours_is_refused_and_never_waited_for() {
    lab::require_root!();
    let bound = Bound::new("notfile");
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("b.json");
    fs::write(&real, &bound.good).unwrap();
    fs::remove_file(&bound.path).unwrap();
    std::os::unix::fs::symlink(&real, &bound.path).unwrap();
    bound.assert_every_verb_refuses();
    assert_eq!(fs::read(&real).unwrap(), bound.good, "nobody writes through a link");
    fs::remove_file(&bound.path).unwrap();
    fs::create_dir(&bound.path).unwrap();
    bound.assert_every_verb_refuses();
    fs::remove_dir(&bound.path).unwrap();
    mkfifo(&bound.path, Mode::S_IRWXU).unwrap();
    bound.assert_every_verb_refuses();
    fs::remove_file(&bound.path).unwrap();
    bound.finish();
}

/// A copy under another name would undo the binding behind the back of the first.
#[test]
fn a_journal_under_another_name_is_refused_and_the_others_are_still_listed() {
    lab::require_root!();
    let bound = Bound::new("copied");
    let copy = bound.lab.tapwire.state().join("copy.json");
    fs::write(&copy, &bound.good).unwrap();
    let said = refusal(bound.lab.tapwire.command(&["detach", "copy"]));
    assert!(said.contains("it is the journal of \"b\""), "{said}");
    let listed = bound.lab.tapwire.output(&["list"]).unwrap();
    assert_eq!(listed.status.code(), Some(1));
    assert!(String::from_utf8(listed.stdout).unwrap().contains("\nb "), "the others are listed");
    fs::remove_file(&copy).unwrap();
    bound.finish();
}
