//! `tapwire lease set`: a running guest is told something else, and nothing is lost or half said on the way.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod clients;
mod killed;
mod refused;
mod swap;

use std::time::Duration;

use lab::{BINDING, Tapwire};
use serde_json::Value;

/// Longest wait for what is to happen at once.
const SOON: Duration = Duration::from_secs(25);

/// Changes the lease of the one binding of a test.
fn set(tapwire: &Tapwire, change: &[&str]) -> Value {
    tapwire.json(&[&["lease", "set", BINDING], change].concat()).unwrap()
}
