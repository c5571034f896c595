//! Medians and spreads, and a table of them.

use std::fmt::Write as _;

/// What several samples of one thing come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many there were.
    pub count: usize,
    /// The smallest.
    pub least: f64,
    /// A quarter of them is below.
    pub lower: f64,
    /// Half of them is below.
    pub median: f64,
    /// A quarter of them is above.
    pub upper: f64,
    /// The largest.
    pub most: f64,
}

impl Summary {
    /// Of at least one sample.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |part| quantile(&values, part);
        Some(Self {
            count: values.len(),
            least: *values.first()?,
            lower: at(0.25)?,
            median: at(0.5)?,
            upper: at(0.75)?,
            most: *values.last()?,
        })
    }
}

/// The value below which this part of sorted values lies, between two of them by their distance.
pub fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = part.clamp(0.0, 1.0) * f64::from(u32::try_from(last).ok()?);
    // The value of `below` that fits: a search, since no conversion from a float is exact for the compiler.
    let below = (0..=last).rev().find(|index| u32::try_from(*index).is_ok_and(|index| f64::from(index) <= place))?;
    let above = last.min(below + 1);
    let share = place - f64::from(u32::try_from(below).ok()?);
    Some(sorted[below] + (sorted[above] - sorted[below]) * share)
}

/// A table for people: the first column to the left, the others to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        for (column, cell) in cells.iter().enumerate() {
            let width = wide(column);
            // Writing to a string cannot fail.
            let _ = if column == 0 { write!(text, "  {cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    line(head);
    for row in rows {
        line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Summary, quantile, table};

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_summary_does_not_depend_on_the_order() {
        let summary = Summary::of([4.0, 1.0, 2.0]).unwrap();
        assert_eq!((summary.least, summary.median, summary.most, summary.count), (1.0, 2.0, 4.0, 3));
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn columns_stand_below_their_heads() {
        let text = table(&["path", "ns"], &[vec!["floor".to_owned(), "7".to_owned()]]);
        assert_eq!(text, "  path   ns\n  floor   7\n");
    }
}
