//! Fuzzing: everything of tapwire that takes bytes from outside, given bytes that nobody would send by chance.
//!
//! A [`targets`] entry is a function of bytes that panics when a promise is broken. libFuzzer calls it
//! (`src/bin/fuzz-pure.rs`), and so do plain tests with the seeds and with every case that was ever found ([`corpus`]).
//! Each target judges the code under test by another piece of code that is slow and plain ([`oracle`]), not by itself.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a target tells of a finding by panicking, and so does what it stands on"
)]

pub mod bindings;
pub mod corpus;
pub mod dhcp;
pub mod frames;
pub mod guard;
pub mod kernel;
pub mod model;
pub mod mutate;
pub mod oracle;
pub mod rng;
pub mod tap;
pub mod targets;
