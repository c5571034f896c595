//! tapwire, the library: everything that the `tapwire` binary does, for other programs to use.
//!
//! From the outside in: [`cli`] and [`report`] face the operator; [`attach`], [`change`], [`upgrade`], [`repair`] and
//! [`detach`] change a binding, by a [`plan`] and a [`journal`]; [`inspect`] finds what is amiss with one;
//! [`discover`](mod@discover), [`lease`] and [`wire`] decide what it shall be; [`datapath`],
//! [`dhcp`], [`snapshot`] and [`tap`] do it, over [`netlink`] in a [`netns`].

pub mod attach;
pub mod binding;
pub mod change;
pub mod check;
pub mod cli;
pub mod counts;
pub mod datapath;
pub mod detach;
pub mod dhcp;
pub mod discover;
pub mod discovery;
pub mod error;
pub mod facts;
pub mod guard;
pub mod guest_mac;
pub mod input;
pub mod inspect;
pub mod journal;
#[cfg(test)]
mod lab;
pub mod lease;
pub mod mac;
pub mod neighbours;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod node;
pub mod peer;
pub mod plan;
pub mod podfile;
pub mod portal;
mod queue;
pub mod repair;
pub mod report;
pub mod request;
pub mod resolv;
pub mod routes;
pub mod rules;
pub mod snapshot;
mod swap;
pub mod sysctl;
pub mod tap;
pub mod upgrade;
pub mod wire;

pub use error::{Context, Error, Result};
