//! resolv.conf: whatever it says, what is taken from it can be told to a guest.

use binding_user::{dhcp::Replies, lease::Lease, resolv::Resolv};

use crate::bindings;

pub(super) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (resolv, warnings) = Resolv::parse(&text);
    for server in &resolv.nameservers {
        assert!(!server.is_loopback() && !server.is_unspecified() && !server.is_multicast() && !server.is_broadcast());
    }
    for warning in &warnings {
        assert!(warning.starts_with("line "), "{warning:?}");
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    let lines = resolv.nameservers.iter().map(|server| format!("nameserver {server}\n"));
    let search = format!("search {}\n", resolv.search.join(" "));
    let again: String = lines.chain([search]).collect();
    let (once_more, complaints) = Resolv::parse(&again);
    assert_eq!(complaints, [""; 0], "what was taken is not taken twice");
    assert_eq!((&once_more.nameservers, &once_more.search), (&resolv.nameservers, &resolv.search));
    let lease = Lease { dns: resolv.nameservers, search: resolv.search, ..bindings::usual() };
    if let Err(error) = Replies::new(&lease) {
        super::assert_one_line(&error);
        assert!(error.to_string().contains("does not fit"), "{error}");
    }
}
