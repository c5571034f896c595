//! The portal: frames from the host side reach the guest without crossing the veth. That way must be as good as the other in
//! all that a guest, a node or a policy can see, and step aside wherever it would not be.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod core;
mod foreign;
mod leaks;
mod load;
mod many;
mod policy;
mod rules;
mod stale;
mod taps;
mod ways;
mod wire;
