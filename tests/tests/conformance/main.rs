//! The rules of DHCP as a table: what a client may send, where that is said, and what must come of it.
//!
//! Each row is tried on the real programs, attached to a real tap: frames are written to it and read from it as a VM
//! monitor does. It is tried with the offloads of virtio and with none, and with checksums that the guest leaves to the
//! host. A row says what is particular to it; what holds for every reply (addresses, lengths, fields, options that must
//! never be there, both checksums) is looked at each time, by `check.rs`, by `dhcproto` and by tcpdump. So is the host
//! side: nothing reaches it, unless the row says so.
//!
//! A source is a section of an RFC, an issue of another project, or the client that is known for it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod answer;
mod bench;
mod capture;
mod check;
mod destinations;
mod leases;
mod load;
mod options;
mod request;
mod shapes;
mod sizes;
mod states;
mod sum;

use std::time::Duration;

use lab::Pod;

/// Longest wait for a frame, which in truth is there at once.
const SOON: Duration = Duration::from_secs(5);

/// Tries rows on flannel's layout, which has everything: a gateway on the link, and a route of its own.
fn check(rows: &[bench::Row]) {
    bench::check(Pod::new("rules").unwrap(), &["--hostname", "vm-1", "--lease-time", "3600"], 1500, rows);
}
