//! tapwire, the library: everything that the `tapwire` binary does, for other programs to use.

pub mod error;

pub use error::{Context, Error, Result};
