//! The portal: frames from the host side reach the guest without crossing the veth, and nothing of the node's is passed
//! over for it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod core;
