//! What the programs and user space of tapwire share: the types that cross the boundary and the pure packet logic.
//!
//! Nothing in here knows of the kernel. Every function takes bytes (through [`packet::Packet`]) and gives back a
//! decision, so that the same code runs in `cargo test` on the host and in the eBPF programs; there is no twin of it in
//! user space.
//!
//! The way of a frame through this crate: [`to_network::classify`] or [`to_guest::classify`] says whose it is;
//! a responder's `parse` and `decide` ([`dhcp`]) or `reply` ([`arp`]) say what becomes of it; [`guard`] says whether it
//! may pass, and [`fixup`] which MACs in it are replaced.
#![no_std]

pub mod arp;
pub mod checksum;
pub mod counters;
pub mod dhcp;
pub mod fixup;
pub mod guard;
pub mod in_memory;
pub mod mac;
pub mod packet;
pub mod to_guest;
pub mod to_network;

pub use counters::{Counters, DhcpMessage, Learned, Reason, Traffic};
pub use in_memory::InMemory;
pub use mac::MacAddr;
