//! The data path: loads the programs with the constants of a binding, hangs them on its hooks, and finds them again.
//!
//! ```text
//! Constants, Replies ──load──▶ Programs ──attach──▶ hooks: pinned TCX links, or clsact filters
//!                                    └───pin────▶ maps: counters, replies
//! ```
//!
//! After that no process is needed: links and maps are held by their pins, filters by the device.

pub mod bpffs;
pub mod build;
pub mod hook;
pub mod load;
pub mod maps;
pub mod object;
pub mod pins;
pub mod place;
mod raw;
mod record;
pub mod tcx;
pub mod value;

pub use bpffs::Bpffs;
pub use build::Build;
pub use hook::{Hook, HookKind};
pub use load::{Constants, PortalConstants, Programs};
pub use maps::PinnedMaps;
pub use object::Functions;
pub use pins::Pins;
pub use place::{Foreign, Place};
