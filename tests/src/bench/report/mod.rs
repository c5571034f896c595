//! What a run has shown: a table for the terminal, a document, and plots.
//!
//! All of it is made from the samples alone, so a report can be written again from the JSON of a run.

pub mod figures;
pub mod grid;
pub mod markdown;
pub mod measures;
pub mod plot;
pub mod table;
pub mod targets;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use self::{figures::Figures, markdown::Parts};
use super::sample::Run;

/// Folder of plots, notes and samples, beside the document.
const FOLDER: &str = "benchmarks";

/// Writes `benchmarks.md` and the folder `benchmarks` with its plots and samples into a folder. What notes there are beside
/// the plots is taken into the document.
pub fn write(folder: &Path, run: &Run) -> Result<()> {
    let beside = folder.join(FOLDER);
    fs::create_dir_all(&beside).with_context(|| format!("making {}", beside.display()))?;
    let figures = Figures::new(&run.samples);
    let plots = plot::all(&figures)?;
    plots.iter().try_for_each(|plot| plot.write(&beside))?;
    // Nobody has to have written any.
    let notes = fs::read_to_string(beside.join("notes.md")).unwrap_or_default();
    let facts = facts(run)?;
    let parts = Parts { facts: &facts, plots: &plots, folder: FOLDER, notes: &notes };
    for (name, text) in [
        ("benchmarks.md", markdown::render(&figures, &parts)),
        ("benchmarks/samples.json", serde_json::to_string_pretty(run)? + "\n"),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What a run was made on, how each path was made, and what was left out: each with its name.
fn facts(run: &Run) -> Result<Vec<(String, String)>> {
    let machine = serde_json::to_value(&run.machine)?;
    let of_machine = machine.as_object().into_iter().flatten().map(|(name, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
            other => other.to_string(),
        };
        (name.replace('_', " "), value)
    });
    let of_paths = run.paths.iter().map(|path| (format!("path `{}`", path.path), path.facts.clone()));
    let left_out =
        run.missing.iter().map(|missing| (format!("path `{}`", missing.path), format!("left out: {}", missing.why)));
    let kind = if run.quick { "quick: fewer rounds than a comparison should have" } else { "full" };
    let rest = [("run".to_owned(), kind.to_owned()), ("void samples".to_owned(), void(run))];
    Ok(of_machine.chain(of_paths).chain(left_out).chain(rest).collect())
}

/// How many samples do not count, and why.
fn void(run: &Run) -> String {
    let all: Vec<String> = run
        .samples
        .iter()
        .filter_map(|sample| Some(format!("{} on {}: {}", sample.measure, sample.path, sample.void.as_ref()?)))
        .collect();
    if all.is_empty() { "none".to_owned() } else { format!("{}: {}", all.len(), all.join("; ")) }
}

#[cfg(test)]
mod tests;
