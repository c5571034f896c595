//! A report as a document, with links to its plots. It is written whole by each run that is complete: what people have to
//! say about the figures stands in `notes.md` beside the plots, and is taken in as it is.

use std::fmt::Write as _;

use super::{
    figures::Figures,
    grid::{self, Grid},
    plot::Plot,
    targets,
};

/// What a document is made of, beside the figures.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The machine, the versions of what ran on it and how the paths were made, each with its name.
    pub facts: &'a [(String, String)],
    /// The plots, and what they are of.
    pub plots: &'a [Plot],
    /// Folder of the plots, seen from the document.
    pub folder: &'a str,
    /// What people had to say; empty if nothing.
    pub notes: &'a str,
}

const TITLE: &str = "# Benchmarks\n\n\
    Written by `cargo xtask bench`; do not edit. Notes stand in [benchmarks/notes.md](benchmarks/notes.md), every sample in \
    [benchmarks/samples.json](benchmarks/samples.json).\n";

const READING: &str = "\n## How to read this\n\n\
    - **A comparison holds only within a run.** All paths are set up at once, and each round measures one after the other; \
    figures of two runs, or of two machines, say nothing about each other.\n\
    - Each figure is the median of its rounds, with the lowest and the highest beside it. The plots show every sample.\n\
    - `floor` is a tap that lies straight in the far end's namespace, without any hop to a pod. What a path costs above it is \
    the binding's own.\n\
    - **Queues.** `fq_codel`, which taps usually get, is missing in some kernels, the one of our development machine among \
    them: there the taps of all other paths run `pfifo_fast`. tapwire takes the kernel's own queue off its tap (`noqueue`), \
    which is part of what it gains to-guest; `veth`s have none on any path.\n\
    - **Bulk TCP tells the paths apart only weakly here.** Segments of 64 KiB cross each path in one piece, so the hop is paid \
    once for 64 KiB of copying, in sender, pump and receiver, which share the CPUs with each other. Where a floor and a bridge \
    differ by less than their spread, nothing is to be concluded.\n\
    - To-network is from the guest, to-guest is towards it. The *pump* stands in for VM and vhost: one thread that copies \
    frames between the tap under test and a tap in the guest's namespace.\n\
    - `tapwire` has guard, counters and responders on, as by default. `tapwire-peer` is without the portal, `tapwire-redirect` \
    without peer and portal.\n";

const REPEAT: &str = "\n## How to repeat it\n\n\
    ```sh\n\
    cargo xtask bench                  # everything; writes this document\n\
    cargo xtask bench --quick          # three minutes, fewer rounds; writes target/bench/ only\n\
    cargo xtask bench --only flow      # one measure\n\
    ```\n\n\
    Run it on a machine that does nothing else. It needs root and leaves nothing behind.\n";

/// The document.
pub fn render(figures: &Figures, parts: &Parts<'_>) -> String {
    let mut text = TITLE.to_owned();
    let _ = write!(text, "\n## Targets\n\n{}", table(&grid::verdicts(&targets::verdicts(figures))));
    if !parts.notes.is_empty() {
        let _ = write!(text, "\n{}\n", parts.notes.trim_end());
    }
    text.push_str(READING);
    let _ = write!(text, "\n## Machine\n\n{}", table(&facts(parts.facts)));
    for section in grid::sections(figures) {
        let _ = write!(text, "\n## {}\n\n{}\n", section.title, section.about);
        for plot in parts.plots.iter().filter(|plot| plot.measures.contains(&section.name.as_str())) {
            // Plots of several measures stand with the first of them.
            if plot.measures.first() == Some(&section.name.as_str()) {
                let _ = write!(text, "\n![{}]({}/{})\n", plot.title, parts.folder, plot.file);
            }
        }
        for grid in &section.grids {
            let _ = write!(text, "\n{}:\n\n{}", capital(&grid.title), table(grid));
        }
    }
    text.push_str(REPEAT);
    text
}

fn facts(facts: &[(String, String)]) -> Grid {
    let rows = facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    Grid { title: String::new(), head: vec!["fact".to_owned(), "value".to_owned()], rows }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A table with its numbers to the right.
fn table(grid: &Grid) -> String {
    let line = |cells: &[String]| {
        let cells = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&grid.head);
    text.push_str("|---|");
    text.push_str(&"---:|".repeat(grid.head.len().saturating_sub(1)));
    text.push('\n');
    text.extend(grid.rows.iter().map(|row| line(row)));
    text
}
