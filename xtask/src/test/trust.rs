//! What is built into tapwire, judged and listed: licences, sources, doubles and known holes by cargo-deny (`deny.toml`),
//! and a list of it all for whoever ships it (an SBOM in the form `CycloneDX`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Tally;
use crate::step;

/// Name of the list beside `target/release/tapwire`.
const SBOM: &str = "tapwire.cdx.json";
/// The name that cargo-cyclonedx gives its files, in the folder of each crate of the workspace: nobody else's.
const DRAFT: &str = "tapwire-sbom-draft";
/// Seconds that the database of advisories may take to come.
const PATIENCE: &str = "120";

/// Runs both. What fails is a failure; advisories that cannot be fetched are counted as skipped, and said aloud.
pub(super) fn run(tally: &mut Tally) {
    let judged = step::timed("cargo deny: licences, bans, sources", || {
        let mut command = step::cargo();
        command.args(["deny", "--offline", "--log-level", "warn", "check", "--hide-inclusion-graph"]);
        command.args(["licenses", "bans", "sources"]);
        if step::stream(&mut command, |line| println!("{line}"))? { Ok(()) } else { bail!("cargo deny complained") }
    });
    if let Err(error) = judged {
        tally.step_failed(&format!("{error:#}"));
    }
    advisories(tally);
    if let Err(error) = step::timed(&format!("SBOM: target/release/{SBOM}"), sbom) {
        tally.step_failed(&format!("SBOM: {error:#}"));
    }
}

/// Known holes, by the database of `RustSec`, which has to be fetched.
fn advisories(tally: &mut Tally) {
    let fetched = step::timed("cargo deny: fetch the advisories", || {
        let mut command = std::process::Command::new("timeout");
        command.current_dir(step::root()).env("GIT_TERMINAL_PROMPT", "0");
        command.args([PATIENCE, "cargo", "deny", "fetch", "db"]);
        let mut last = String::new();
        let fetched = step::stream(&mut command, |line| {
            // The last word is git's own.
            if !line.trim().is_empty() {
                line.clone_into(&mut last);
            }
        })?;
        ensure!(fetched, "{last}");
        Ok(())
    });
    if let Err(error) = fetched {
        tally.step_skipped(&format!("cargo deny: advisories: the database cannot be fetched: {error:#}"));
        return;
    }
    let judged = step::timed("cargo deny: advisories", || {
        let mut command = step::cargo();
        command.args(["deny", "check", "--hide-inclusion-graph", "--disable-fetch", "advisories"]);
        if step::stream(&mut command, |line| println!("{line}"))? {
            Ok(())
        } else {
            bail!("a dependency has an advisory")
        }
    });
    if let Err(error) = judged {
        tally.step_failed(&format!("{error:#}"));
    }
}

/// Lists what `tapwire` is built of, and looks whether the list is whole.
fn sbom() -> Result<()> {
    let mut command = step::cargo();
    command.args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
    command.args(["--manifest-path", "binding-user/Cargo.toml", "--override-filename", DRAFT, "--quiet"]);
    let made = step::quiet(&mut command);
    // It writes one for each crate of the workspace, into the sources.
    let drafts = drafts()?;
    let ours =
        drafts.iter().find(|path| path.ancestors().nth(1).is_some_and(|folder| folder.ends_with("binding-user")));
    let kept = made.and_then(|()| keep(ours.context("cargo-cyclonedx left no file for binding-user")?));
    for draft in &drafts {
        fs::remove_file(draft).with_context(|| format!("remove {}", draft.display()))?;
    }
    kept
}

fn drafts() -> Result<Vec<PathBuf>> {
    let crates = fs::read_dir(step::root()).context("read the repository")?;
    // The crate of the fuzzing targets lies in that of the tests.
    let folders = crates.flatten().flat_map(|entry| [entry.path(), entry.path().join("fuzz")]);
    let paths = folders.map(|folder| folder.join(format!("{DRAFT}.json")));
    Ok(paths.filter(|path| path.is_file()).collect())
}

/// Puts the list beside the binary, if it names what it must.
fn keep(draft: &Path) -> Result<()> {
    let text = fs::read_to_string(draft).with_context(|| format!("read {}", draft.display()))?;
    // Where the sources lay is of no use to others, and would make each machine's list another.
    let text = text.replace(&format!("file://{}", step::root().display()), "file://");
    check(&serde_json::from_str(&text)?)?;
    let folder = step::target().join("release");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join(SBOM);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// A list without its main parts, or without their versions and licences, would be worse than none.
fn check(sbom: &Value) -> Result<()> {
    ensure!(sbom["bomFormat"] == "CycloneDX", "it is not CycloneDX");
    let components = sbom["components"].as_array().context("it has no components")?;
    for name in ["aya", "rtnetlink", "tokio", "binding-common"] {
        ensure!(components.iter().any(|component| component["name"] == name), "{name} is not in it");
    }
    for component in components {
        let name = component["name"].as_str().unwrap_or("?");
        ensure!(component["version"].is_string() && component["purl"].is_string(), "{name} has no version");
        ensure!(component["licenses"].is_array(), "{name} has no licence");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_that_is_not_whole_is_refused() {
        let part = |name: &str| json!({ "name": name, "version": "1", "purl": "pkg:cargo/x", "licenses": [] });
        let all: Vec<_> = ["aya", "rtnetlink", "tokio", "binding-common"].map(part).to_vec();
        assert!(check(&json!({ "bomFormat": "CycloneDX", "components": all })).is_ok());
        assert!(check(&json!({ "bomFormat": "CycloneDX", "components": all[1..] })).is_err());
        let mut bare = all.clone();
        bare[0] = json!({ "name": "aya", "version": "1", "purl": "pkg:cargo/x" });
        assert!(check(&json!({ "bomFormat": "CycloneDX", "components": bare })).is_err());
        assert!(check(&json!({})).is_err());
    }
}
