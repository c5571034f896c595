//! The benchmark.

pub mod report;
pub mod sample;
