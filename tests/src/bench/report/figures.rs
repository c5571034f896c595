//! Samples put together: all rounds of one measure, path, direction and size are one figure, with its median and its
//! spread. Nothing here knows what a measure means.

use crate::bench::{
    sample::{Direction, Sample},
    stats::quantile,
};

/// What was measured, apart from the path it was measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the measure.
    pub measure: String,
    /// Which way.
    pub direction: Direction,
    /// Octets of a frame or datagram, where a measure has a size.
    pub size: Option<u32>,
}

impl Case {
    /// Direction and size, as a table's head has them.
    pub fn head(&self) -> String {
        let direction = (self.direction != Direction::None).then(|| self.direction.name().to_owned());
        let size = self.size.map(|size| format!("{} octets", thousands(size.into())));
        direction.into_iter().chain(size).collect::<Vec<_>>().join(", ")
    }
}

/// All rounds of one case on one path.
#[derive(Clone, Debug)]
pub struct Figure {
    case: Case,
    path: String,
    unit: String,
    rounds: Vec<f64>,
    sorted: Vec<f64>,
}

impl Figure {
    /// What was measured.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The unit of all values.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The values in the order in which they were taken.
    pub fn rounds(&self) -> &[f64] {
        &self.rounds
    }

    /// The median; of an even number of values the mean of the middle two.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value below which this part of the samples lies, interpolated.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.sorted, part).unwrap_or(f64::NAN)
    }

    /// The lowest and the highest value.
    pub fn spread(&self) -> (f64, f64) {
        (self.quantile(0.0), self.quantile(1.0))
    }
}

/// The figures of one run, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Puts samples together, but for those that are void.
    pub fn new(samples: &[Sample]) -> Self {
        let mut all: Vec<Figure> = Vec::new();
        for sample in samples.iter().filter(|sample| sample.void.is_none()) {
            let Sample { measure, direction, size, .. } = sample;
            let case = Case { measure: measure.clone(), direction: *direction, size: *size };
            let known = all.iter().position(|figure| figure.case == case && figure.path == sample.path);
            let at = known.unwrap_or(all.len());
            if known.is_none() {
                let (path, unit) = (sample.path.clone(), sample.unit.clone());
                all.push(Figure { case, path, unit, rounds: Vec::new(), sorted: Vec::new() });
            }
            all[at].rounds.push(sample.value);
        }
        for figure in &mut all {
            figure.sorted.clone_from(&figure.rounds);
            figure.sorted.sort_by(f64::total_cmp);
        }
        Self(all)
    }

    /// Names of the measures.
    pub fn measures(&self) -> Vec<&str> {
        distinct(self.0.iter().map(|figure| figure.case.measure.as_str()))
    }

    /// The cases of a measure.
    pub fn cases(&self, measure: &str) -> Vec<&Case> {
        distinct(self.of(measure).map(|figure| &figure.case))
    }

    /// The paths that a measure was taken on.
    pub fn paths(&self, measure: &str) -> Vec<&str> {
        distinct(self.of(measure).map(|figure| figure.path.as_str()))
    }

    /// The figure of a case on a path.
    pub fn get(&self, case: &Case, path: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.case == *case && figure.path == path)
    }

    /// The figure of a measure, found by its parts.
    pub fn find(&self, measure: &str, path: &str, direction: Direction, size: Option<u32>) -> Option<&Figure> {
        self.get(&Case { measure: measure.to_owned(), direction, size }, path)
    }

    fn of(&self, measure: &str) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(move |figure| figure.case.measure == measure)
    }
}

/// Each once, in the order of first sight.
fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// A value with as many digits as it is worth reading: three, or all before the point.
pub fn shown(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "—".to_owned(),
        size if size >= 10_000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

/// A whole number with a comma before each three digits.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    if digits.len() < 5 {
        return format!("{value:.0}");
    }
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn numbers_have_the_digits_that_are_worth_reading() {
        let shown = [0.0, 0.123, 12.34, 123.4, 1234.5, 12_345.0, 1_234_567.0, -12_345.0, f64::NAN].map(shown);
        assert_eq!(shown, ["0", "0.12", "12.3", "123", "1234", "12,345", "1,234,567", "-12,345", "—"]);
    }
}
