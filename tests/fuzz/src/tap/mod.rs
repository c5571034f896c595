//! A real tap, written to by a monitor that means harm: frames with virtio-net headers that lie.
//!
//! Which offload a frame is given, and what the kernel makes of it, `BPF_PROG_TEST_RUN` cannot tell. Here a [`Wire`] is a
//! binding between real devices. What is held to be true of it after each [`Volley`] of frames: each frame that the tap
//! took was sent on, answered or dropped by a counted reason; on the other side nothing was seen that the link's MTU
//! forbids; the guest is still given its lease; and the kernel has no complaint.

mod kernel_log;
mod volley;
mod wire;

pub use kernel_log::KernelLog;
pub use volley::{Shot, Volley};
pub use wire::{Count, Layout, Wire};
