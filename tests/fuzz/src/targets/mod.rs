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
    /// Octets that stand before a frame; `None` where the bytes are no frame.
    before_frame: Option<usize>,
}

impl Target {
    const fn of_text(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run, before_frame: None }
    }

    const fn behind(before_frame: usize, name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run, before_frame: Some(before_frame) }
    }

    /// How many octets, which choose something, stand before a frame; `None` where its bytes are no frame.
    pub fn before_frame(&self) -> Option<usize> {
        self.before_frame
    }

    /// Its bytes for a frame.
    pub fn with_frame(&self, choice: [u8; 8], frame: &[u8]) -> Vec<u8> {
        [&choice[..self.before_frame.unwrap_or(0)], frame].concat()
    }
}

/// All targets.
pub const ALL: [Target; 10] = [
    Target::behind(0, "arp", arp::run),
    Target::behind(4, "classify", classify::run),
    Target::behind(1, "dhcp", dhcp::run),
    Target::behind(1, "fixup", fixup::run),
    Target::behind(3, "guard", guard::run),
    Target::of_text("journal", journal::run),
    Target::of_text("lease-file", lease_file::run),
    Target::of_text("netlink", netlink::run),
    Target::of_text("options", options::run),
    Target::of_text("resolv", resolv::run),
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
