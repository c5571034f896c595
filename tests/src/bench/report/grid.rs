//! The tables of a report, before anybody has decided how a table is drawn: the terminal and the document show the same.

use std::cmp::Ordering;

use super::{
    figures::{Case, Figure, Figures, shown},
    measures::{self, Against, Measure},
    targets::{BRIDGE, FLOOR, TCFILTER, Verdict},
};
use crate::bench::{hop::LOOP, tuning::DEFAULT};

/// A table of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// What the table shows, in a few words.
    pub title: String,
    /// Heads of the columns; the first is of the names.
    pub head: Vec<String>,
    /// The rows, each as long as the head.
    pub rows: Vec<Vec<String>>,
}

/// A measure with its tables.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name of the measure.
    pub name: String,
    /// Heading.
    pub title: String,
    /// What was done.
    pub about: &'static str,
    /// Values, and what comes of comparing them.
    pub grids: Vec<Grid>,
}

/// A section for each measure of a run: those that are known in their order, then others.
pub fn sections(figures: &Figures) -> Vec<Section> {
    let seen = figures.measures();
    let known = measures::ALL.iter().map(|measure| measure.name).filter(|name| seen.contains(name));
    let others = seen.iter().copied().filter(|name| measures::known(name).is_none());
    known.chain(others).map(|name| section(figures, name)).collect()
}

fn section(figures: &Figures, name: &str) -> Section {
    let measure = measures::known(name);
    let mut grids = vec![values(figures, name)];
    grids.extend(measure.and_then(|measure| against(figures, measure)));
    let title = measure.map_or(name, |measure| measure.title).to_owned();
    Section { name: name.to_owned(), title, about: measure.map_or("", |measure| measure.about), grids }
}

/// Medians, with the lowest and the highest of the samples.
fn values(figures: &Figures, name: &str) -> Grid {
    let unit = figures.cases(name).first().and_then(|case| unit(figures, case)).unwrap_or_default();
    by_path(figures, name, format!("median (lowest–highest), {unit}"), |figure| {
        let ((low, high), many) = (figure.spread(), figure.rounds().len() > 20);
        let middle = shown(figure.median());
        if many {
            let p99 = shown(figure.quantile(0.99));
            return Some(format!("{middle} ({}–{}), p99 {p99}, n={}", shown(low), shown(high), figure.rounds().len()));
        }
        Some(if figure.rounds().len() > 1 { format!("{middle} ({}–{})", shown(low), shown(high)) } else { middle })
    })
}

fn unit<'a>(figures: &'a Figures, case: &Case) -> Option<&'a str> {
    let paths = figures.paths(&case.measure);
    paths.iter().find_map(|path| figures.get(case, path)).map(Figure::unit)
}

/// What a comparison with the floor gives; nothing where there is none.
fn against(figures: &Figures, measure: &Measure) -> Option<Grid> {
    let median = |case: &Case, path: &str| figures.get(case, path).map(Figure::median);
    match measure.against {
        Against::Nothing => None,
        Against::Above => {
            let title = format!("above the {FLOOR} (÷ {BRIDGE}'s, ÷ {TCFILTER}'s)");
            Some(by_path(figures, measure.name, title, |figure| {
                let case = figure.case();
                let floor = median(case, FLOOR)?;
                let above = figure.median() - floor;
                let part = |path| median(case, path).map_or(f64::NAN, |other| above / (other - floor));
                let parts = [BRIDGE, TCFILTER].map(|path| shown(part(path)));
                (![FLOOR, LOOP].contains(&figure.path()))
                    .then(|| format!("{} ({}, {})", shown(above), parts[0], parts[1]))
            }))
        }
        Against::Default => Some(by_path(
            figures,
            measure.name,
            format!("difference to {DEFAULT}; sure where the ranks of all rounds say so"),
            |figure| {
                let usual = figures.get(figure.case(), DEFAULT).filter(|_| figure.path() != DEFAULT)?;
                let more = (figure.median() / usual.median() - 1.0) * 100.0;
                let apart = if rank_sum(figure.rounds(), usual.rounds()).abs() >= SURE { " (sure)" } else { "" };
                Some(format!("{more:+.1} %{apart}"))
            },
        )),
        Against::Part => Some(by_path(figures, measure.name, format!("part of the {FLOOR}'s"), |figure| {
            Some(format!("{:.3}", figure.median() / median(figure.case(), FLOOR)?))
        })),
    }
    .filter(|grid| grid.rows.iter().any(|row| row[1..].iter().any(|cell| cell != "—")))
}

/// Standard deviations from which on a difference is called sure: one comparison of 400 gets there by chance. With fewer than
/// seven rounds none can.
const SURE: f64 = 3.0;

/// How far apart two lists of samples lie, by the ranks of their values alone: Mann and Whitney's U, in standard deviations
/// from what it would be if both were of one kind.
fn rank_sum(ours: &[f64], theirs: &[f64]) -> f64 {
    let wins: f64 = ours
        .iter()
        .flat_map(|one| theirs.iter().map(move |other| one.total_cmp(other)))
        .map(|order| match order {
            Ordering::Greater => 1.0,
            Ordering::Equal => 0.5,
            Ordering::Less => 0.0,
        })
        .sum();
    let count = |list: &[f64]| f64::from(u32::try_from(list.len()).unwrap_or(u32::MAX));
    let (first, second) = (count(ours), count(theirs));
    (wins - first * second / 2.0) / (first * second * (first + second + 1.0) / 12.0).sqrt()
}

/// One row a path, one column a case.
fn by_path(figures: &Figures, name: &str, title: String, cell: impl Fn(&Figure) -> Option<String>) -> Grid {
    let cases = figures.cases(name);
    let head = cases.iter().map(|case| {
        let head = case.head();
        if head.is_empty() { name.to_owned() } else { head }
    });
    let row = |path: &str| {
        let cells = cases.iter().map(|case| figures.get(case, path).and_then(&cell).unwrap_or_else(|| "—".to_owned()));
        [path.to_owned()].into_iter().chain(cells).collect()
    };
    Grid {
        title,
        head: ["path".to_owned()].into_iter().chain(head).collect(),
        rows: figures.paths(name).into_iter().map(row).collect(),
    }
}

/// The targets, met or not.
pub fn verdicts(all: &[Verdict]) -> Grid {
    let row = |verdict: &Verdict| {
        use super::targets::Limit::{AtLeast, AtMost, Below};
        let unit = if verdict.unit.is_empty() { String::new() } else { format!(" {}", verdict.unit) };
        let how = match verdict.limit {
            AtMost(_) => "≤",
            Below(_) => "<",
            AtLeast(_) => "≥",
        };
        let limit = format!("{how} {}{unit}", shown(verdict.limit.value()));
        let seen = verdict.seen.map_or_else(|| "—".to_owned(), |seen| format!("{}{unit}", precise(seen)));
        vec![verdict.what.clone(), limit, seen, judged(verdict)]
    };
    Grid {
        title: "Targets".to_owned(),
        head: ["target", "limit", "measured", "met"].map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
    }
}

/// A ratio near its limit wants one more digit than [`shown`] gives.
fn precise(value: f64) -> String {
    if value.abs() < 10.0 && value != 0.0 { format!("{value:.3}") } else { shown(value) }
}

fn judged(verdict: &Verdict) -> String {
    let Some((seen, met)) = verdict.seen.zip(verdict.met()) else {
        return "not measured in this run".to_owned();
    };
    let limit = verdict.limit.value();
    let by = if limit == 0.0 { String::new() } else { format!(", by {:.0} %", (seen / limit - 1.0).abs() * 100.0) };
    format!("{}{by}", if met { "yes" } else { "**no**" })
}

#[cfg(test)]
mod tests {
    use super::{SURE, rank_sum};

    #[test]
    fn a_difference_is_sure_when_many_rounds_agree() {
        let nine: Vec<f64> = (0..9).map(f64::from).collect();
        let above: Vec<f64> = nine.iter().map(|value| value + 10.0).collect();
        assert!(rank_sum(&above, &nine) > SURE && rank_sum(&nine, &above) < -SURE);
        assert!(rank_sum(&nine, &nine).abs() < 1e-9);
        // Three rounds against three may be ordered so by chance.
        assert!(rank_sum(&above[..3], &nine[..3]) < SURE);
    }
}
