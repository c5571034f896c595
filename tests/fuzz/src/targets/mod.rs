//! The targets: functions of bytes that panic when a promise is broken.

mod arp;
mod classify;
mod dhcp;
mod fixup;
mod guard;
mod journal;
mod lease_file;
mod netlink;
mod options;
mod resolv;

use binding_user::Error;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folders.
    pub name: &'static str,
    /// What it gives the bytes to. It panics when it has found something.
    pub run: fn(&[u8]),
}

/// All targets.
pub const ALL: [Target; 10] = [
    Target { name: "arp", run: arp::run },
    Target { name: "classify", run: classify::run },
    Target { name: "dhcp", run: dhcp::run },
    Target { name: "fixup", run: fixup::run },
    Target { name: "guard", run: guard::run },
    Target { name: "journal", run: journal::run },
    Target { name: "lease-file", run: lease_file::run },
    Target { name: "netlink", run: netlink::run },
    Target { name: "options", run: options::run },
    Target { name: "resolv", run: resolv::run },
];

/// The target of a name.
pub fn named(name: &str) -> Option<Target> {
    ALL.into_iter().find(|target| target.name == name)
}

/// An error is one line, and so is its hint: the operator's terminal is not the input's to write to.
fn assert_one_line(error: &Error) {
    let hint = error.hint().unwrap_or_default();
    for line in [error.to_string().as_str(), hint] {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
