//! The demo's place.

use std::path::Path;

use anyhow::{Result, bail};

/// Says that there is no demo yet.
pub(crate) fn run(tapwire: &Path) -> Result<()> {
    bail!("demo: not written yet; {} is built", tapwire.display())
}
