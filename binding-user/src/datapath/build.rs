//! Which build of the programs it is.

use serde::{Deserialize, Serialize};

/// A build of the programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version of the tapwire that has it.
    pub version: String,
    /// A hash of the object, as 16 hexadecimal digits.
    pub build: String,
}

impl Build {
    /// The one in this binary.
    pub fn of_this_binary() -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), build: env!("TAPWIRE_PROGRAMS").to_owned() }
    }
}

impl std::fmt::Display for Build {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.version, self.build)
    }
}
