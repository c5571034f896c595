//! tapwire, the library: everything that the `tapwire` binary does, for other programs to use.

pub mod discover;
pub mod error;
pub mod facts;
#[cfg(test)]
mod lab;
pub mod mac;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod peer;
pub mod resolv;
pub mod snapshot;
pub mod sysctl;
pub mod tap;

pub use error::{Context, Error, Result};
