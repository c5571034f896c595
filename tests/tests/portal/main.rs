//! The portal: the way to the guest that crosses no veth. It must be as good as the other way in all that a guest, a node or
//! a policy can see, and step aside wherever it would not be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

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
