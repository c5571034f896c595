//! The programs in the kernel beside their model: the same verdict, the same octets, the same counts, for every frame.
//!
//! A [`case::Case`] is a few frames in a row, given to the programs by `BPF_PROG_TEST_RUN` and to the model, both of which
//! have forgotten all that was before. Counters are compared behind the last one: to read them costs as much as a frame.

pub mod case;
pub mod config;
mod hunt;
mod programs;

pub use case::Case;
pub use hunt::{Hunt, Tally};
pub use programs::Loaded;
