//! A report for the terminal: columns that line up, and nothing that a pipe would choke on.

use std::fmt::Write as _;

use super::{
    figures::Figures,
    grid::{self, Grid},
    targets,
};
use crate::bench::{sample::Run, stats::table};

/// Some measures of a run, each with its values and what comes of comparing them.
pub fn measures(run: &Run, names: &[&str]) -> String {
    let figures = Figures::new(&run.samples);
    let mut text = String::new();
    for section in grid::sections(&figures).iter().filter(|section| names.contains(&section.name.as_str())) {
        let _ = write!(text, "\n{}", section.title);
        for grid in &section.grids {
            let _ = write!(text, "\n  {}\n{}", grid.title, columns(grid));
        }
    }
    text
}

/// The targets that a run has measured; empty if none.
pub fn verdicts(run: &Run) -> String {
    let figures = Figures::new(&run.samples);
    let verdicts: Vec<_> = targets::verdicts(&figures).into_iter().filter(|verdict| verdict.seen.is_some()).collect();
    if verdicts.is_empty() {
        return String::new();
    }
    let mut grid = grid::verdicts(&verdicts);
    grid.rows.iter_mut().flatten().for_each(|cell| *cell = cell.replace("**", ""));
    format!("\n{}\n{}", grid.title, columns(&grid))
}

fn columns(grid: &Grid) -> String {
    let head: Vec<&str> = grid.head.iter().map(String::as_str).collect();
    table(&head, &grid.rows)
}
