//! Builds the one binary that everything else runs: `target/release/tapwire`, with the eBPF programs in it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

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

/// Features that make another `tapwire`, for the tests of upgrades. Each is left beside the true one, under its name.
const OTHERS: [&str; 2] = ["other-build", "other-layout"];

/// Builds the other ones. To be called before [`tapwire`], since cargo leaves each under the name of the true one first.
pub(crate) fn others() -> Result<()> {
    for feature in OTHERS {
        step::timed(&format!("build target/release/tapwire-{feature}"), || {
            let mut command = step::cargo();
            command.args(["build", "--locked", "--release", "--package", "binding-user", "--bin", "tapwire"]);
            command.args(["--features", feature]);
            // Their own code runs for a moment, and is compiled in half the time.
            for option in ["opt-level=0", "debug=false"] {
                command.args(["--config", &format!("profile.release.package.binding-user.{option}")]);
            }
            if !step::stream(&mut command, |line| eprintln!("{line}"))? {
                bail!("the build failed, see above");
            }
            let folder = step::target().join("release");
            let (from, to) = (folder.join("tapwire"), folder.join(format!("tapwire-{feature}")));
            // A new file: the old one may be running, and cargo's is one with what it keeps.
            let _ = fs::remove_file(&to);
            fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
            Ok(())
        })?;
    }
    Ok(())
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
