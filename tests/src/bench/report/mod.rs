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

use self::{figures::Figures, markdown::Parts};
use super::sample::Sample;

/// Folder of plots, notes and samples, beside the document.
const FOLDER: &str = "benchmarks";

/// Writes `benchmarks.md` and the folder `benchmarks` with its plots and samples into a folder. What notes there are beside
/// the plots is taken into the document.
pub fn write(folder: &Path, machine: &[(String, String)], samples: &[Sample], json: &str) -> Result<()> {
    let beside = folder.join(FOLDER);
    fs::create_dir_all(&beside).with_context(|| format!("making {}", beside.display()))?;
    let figures = Figures::new(samples);
    let plots = plot::all(&figures)?;
    plots.iter().try_for_each(|plot| plot.write(&beside))?;
    // Nobody has to have written any.
    let notes = fs::read_to_string(beside.join("notes.md")).unwrap_or_default();
    let parts = Parts { machine, plots: &plots, folder: FOLDER, notes: &notes };
    for (name, text) in
        [("benchmarks.md", markdown::render(&figures, &parts)), ("benchmarks/samples.json", json.to_owned())]
    {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
