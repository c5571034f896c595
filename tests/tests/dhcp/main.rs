//! The DHCP responder with real clients: what a guest gets, and that the network hears nothing of it.
//!
//! Renewals and releases come from a UDP socket of the guest's kernel, whose checksum is still to be made where the guest
//! has offloads, so every client runs with and without.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod clock;
mod elsewhere;
mod life;
mod lost;

use std::time::Duration;

use lab::{ClientKind, clients::ClientOptions};

/// Longest wait for a client that is to act at once.
const SOON: Duration = Duration::from_secs(25);
/// For one that must first give up on an answer.
const LATER: Duration = Duration::from_mins(1);

/// dhclient renews by the clock alone.
fn options(kind: ClientKind) -> ClientOptions {
    let times = (kind == ClientKind::Dhclient).then_some((2, 5));
    ClientOptions { times, ..ClientOptions::default() }
}

/// Which client applies what: option 121, and the MTU to the link (dhcpcd has it on the routes).
fn applies_routes(kind: ClientKind) -> bool {
    kind != ClientKind::Udhcpc
}

/// Which clients renew at once when they are told to.
fn renews_when_told(kind: ClientKind) -> bool {
    !matches!(kind, ClientKind::NetworkManager | ClientKind::Ipconfig)
}

/// Which rebind without having waited until half of a lease and more is over; `clock` is about the others.
fn rebinds_when_told(kind: ClientKind) -> bool {
    renews_when_told(kind) && kind != ClientKind::Networkd
}

/// Which give their lease back.
fn releases(kind: ClientKind) -> bool {
    !matches!(kind, ClientKind::NetworkManager | ClientKind::Ipconfig)
}
