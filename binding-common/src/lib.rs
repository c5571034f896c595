//! What the programs and user space of tapwire share: the types that cross the boundary and the pure packet logic.
//!
//! Nothing in here knows of the kernel. Every function takes bytes (through [`packet::Packet`]) and gives back a
//! decision, so that the same code runs in `cargo test` on the host and in the eBPF programs; there is no twin of it in
//! user space.
#![no_std]

pub mod mac;

pub use mac::MacAddr;
