//! Names of bindings, namespaces and interfaces with octets that nobody expects in them.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use lab::Tapwire;

use crate::{Lab, plain, refusal};

/// What no interface is called here, and what would act on a terminal or lead to another file.
const ODD: [&str; 9] = ["a\nb", "\u{1b}[31mred", "a/b", "../lo", "a:b", "a b", "%d", "0123456789abcdef", ""];

#[test]
fn an_interface_that_is_named_oddly_is_not_there() {
    lab::require_root!();
    let lab = Lab::new("oddnic");
    for name in ODD {
        refusal(lab.tapwire.command(&lab.attach(&["--nic", name])));
        refusal(lab.tapwire.command(&["discover", "--netns", lab.pod.namespace.name(), "--nic", name]));
        refusal(lab.tapwire.command(&lab.attach(&["--tap", name])));
    }
    lab.assert_unchanged();
}

#[test]
fn arguments_that_are_not_utf_8_are_wrong_usage() {
    let tapwire = Tapwire::new().unwrap();
    let odd = || OsString::from_vec(b"eth\xff0".to_vec());
    for flag in ["--nic", "--tap", "--name", "--hostname"] {
        let mut command = tapwire.command(&["attach", "--netns", "a", flag]);
        plain(&command.arg(odd()).output().unwrap(), 2);
    }
}

#[test]
fn a_binding_that_is_named_oddly_is_refused_by_every_verb() {
    lab::require_root!();
    let tapwire = Tapwire::new().unwrap();
    for name in ["a/b", "..", "../../etc/passwd", "\u{1b}[2J", "a\nb", "ü", "a b", "x+y"] {
        for verb in [&["show"][..], &["detach"], &["lease", "set"]] {
            let said = refusal(tapwire.command(&[verb, &["--name", name]].concat()));
            assert!(said.contains("name the binding"), "{said}");
        }
    }
}

/// The kernel lets a pod call its interfaces nearly anything.
#[test]
fn other_interfaces_of_the_pod_may_be_called_anything() {
    lab::require_root!();
    let lab = Lab::new("oddpod");
    for name in [&b"\xff\xfe"[..], b"\x1b[2J", b"\"'`$(x)"] {
        let name = OsString::from_vec(name.to_vec());
        let words = ["ip", "link", "add", "name"].map(OsString::from).into_iter().chain([name]);
        let words: Vec<_> = words.chain(["type", "bridge"].map(OsString::from)).collect();
        lab.pod.namespace.exec(&words).unwrap();
    }
    let said = refusal(lab.tapwire.command(&lab.attach(&["--nic", "none"])));
    assert!(said.contains("\\u{1b}[2J"), "the hint names the NICs that there are: {said}");
    lab.tapwire.attach(&lab.pod, "odd", &[]).unwrap();
    assert_eq!(lab.tapwire.show("odd").unwrap()["state"], "ready");
    lab.tapwire.run(&["detach", "odd"]).unwrap();
}
