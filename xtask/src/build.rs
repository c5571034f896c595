//! Builds the one binary that everything else runs: `target/release/tapwire`, with the eBPF programs in it.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::step;

/// What cargo marks a line of our build script with; aya-build hands the warnings of the BPF compiler on that way.
const FROM_PROGRAMS: &str = "warning: binding-user@";

/// What a build left.
pub(crate) struct Built {
    /// The binary.
    pub(crate) path: PathBuf,
    /// Whether the BPF compiler had warnings. No clippy sees that code, so the tests take these for it.
    pub(crate) warned: bool,
}

/// Builds `tapwire` with optimisations.
pub(crate) fn tapwire() -> Result<Built> {
    step::timed("build target/release/tapwire", || {
        let mut warned = false;
        let mut command = step::cargo();
        command.args(["build", "--locked", "--release", "--package", "binding-user", "--bin", "tapwire"]);
        let built = step::stream(&mut command, |line| {
            warned |= line.starts_with(FROM_PROGRAMS);
            eprintln!("{line}");
        })?;
        if !built {
            bail!("the build failed, see above");
        }
        let path = step::target().join("release/tapwire");
        ensure!(path.is_file(), "cargo left no {}", path.display());
        Ok(Built { path, warned })
    })
}
