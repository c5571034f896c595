//! A report for the terminal: columns that line up, and nothing that a pipe would choke on.

use std::fmt::Write as _;

use super::{
    figures::Figures,
    grid::{self, Grid},
    targets,
};

/// Everything that was measured, and the targets last, where a person looks first.
pub fn render(figures: &Figures) -> String {
    let mut text = String::new();
    for section in grid::sections(figures) {
        let _ = write!(text, "\n{}", section.title);
        for grid in &section.grids {
            let _ = write!(text, "\n  {}\n{}", grid.title, columns(grid));
        }
    }
    let verdicts: Vec<_> = targets::verdicts(figures).into_iter().filter(|verdict| verdict.seen.is_some()).collect();
    if !verdicts.is_empty() {
        let mut grid = grid::verdicts(&verdicts);
        grid.rows.iter_mut().flatten().for_each(|cell| *cell = cell.replace("**", ""));
        let _ = write!(text, "\n{}\n{}", grid.title, columns(&grid));
    }
    text
}

/// The first column to the left, all others to the right.
fn columns(grid: &Grid) -> String {
    let all = || [&grid.head].into_iter().chain(&grid.rows);
    let width = |at: usize| all().map(|row| row.get(at).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..grid.head.len()).map(width).collect();
    let mut text = String::new();
    for row in all() {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if at == 0 { write!(text, "    {cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Grid, columns};

    #[test]
    fn columns_line_up() {
        let row = |words: [&str; 2]| words.map(str::to_owned).to_vec();
        let rows = vec![row(["floor", "1"]), row(["tapwire", "12 µs"])];
        let text = columns(&Grid { title: String::new(), head: row(["path", "p50"]), rows });
        assert_eq!(text, "    path       p50\n    floor        1\n    tapwire  12 µs\n");
    }
}
