//! What the verifier says of each program, by kernel and configuration: read from the reports of the tests, and kept in
//! a file in which a change is a line.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// All kernels of the matrix, by their names.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures(BTreeMap<String, OfKernel>);

/// What one kernel said.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKernel {
    /// As `uname -r` has it.
    release: String,
    /// Program → configuration → cost.
    programs: BTreeMap<String, BTreeMap<String, Cost>>,
}

/// What it cost to load a program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    /// Instructions that the verifier followed, each as often as it did.
    instructions: u32,
    /// Octets of stack, of all functions of the program together.
    stack: u32,
    /// How long the kernel took for the whole load. Differs from run to run, and is no reason to write the file anew.
    microseconds: u64,
}

/// A program that a kernel refused.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) program: String,
    pub(super) configuration: String,
    pub(super) error: String,
    pub(super) log: String,
}

/// A line of a report.
#[derive(Deserialize)]
struct Line {
    program: String,
    configuration: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    Refused { error: String, log: String },
    Taken { instructions: u32, stack: u32, microseconds: u64 },
}

impl Figures {
    /// Reads the file; one that is not there has no figures.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            text => serde_json::from_str(&text?).map_err(anyhow::Error::from),
        }
        .with_context(|| format!("read {}", path.display()))
    }

    /// Takes the report of a kernel in, in place of what was known of it; gives what the kernel refused.
    pub(super) fn take(&mut self, kernel: &str, release: &str, report: &str) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut of_kernel = OfKernel { release: release.to_owned(), ..OfKernel::default() };
        for line in report.lines().filter(|line| !line.trim().is_empty()) {
            // The last line of a guest that was stopped may be half of one.
            let Line { program, configuration, outcome } =
                serde_json::from_str(line).with_context(|| format!("no line of a report: {line:.200}"))?;
            match outcome {
                Outcome::Taken { instructions, stack, microseconds } => {
                    let cost = Cost { instructions, stack, microseconds };
                    of_kernel.programs.entry(program).or_default().insert(configuration, cost);
                }
                Outcome::Refused { error, log } => refusals.push(Refusal { program, configuration, error, log }),
            }
        }
        self.0.insert(kernel.to_owned(), of_kernel);
        Ok(refusals)
    }

    /// Whether nothing but times differs.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        self.without_times() == other.without_times()
    }

    fn without_times(&self) -> Self {
        let timeless = |cost: &Cost| Cost { microseconds: 0, ..*cost };
        let programs = |programs: &BTreeMap<String, BTreeMap<String, Cost>>| {
            let costs = |costs: &BTreeMap<String, Cost>| costs.iter().map(|(k, v)| (k.clone(), timeless(v))).collect();
            programs.iter().map(|(program, of_program)| (program.clone(), costs(of_program))).collect()
        };
        let of_kernel =
            |known: &OfKernel| OfKernel { release: known.release.clone(), programs: programs(&known.programs) };
        Self(self.0.iter().map(|(kernel, known)| (kernel.clone(), of_kernel(known))).collect())
    }

    /// The file: JSON, one line for each configuration.
    pub(super) fn text(&self) -> String {
        let kernels = self.0.iter().map(|(kernel, OfKernel { release, programs })| {
            let programs = programs.iter().map(|(program, costs)| {
                let costs = costs.iter().map(|(configuration, cost)| (configuration.as_str(), json!(cost).to_string()));
                (program.as_str(), block(8, costs))
            });
            let parts = [("release", json!(release).to_string()), ("programs", block(6, programs))];
            (kernel.as_str(), block(4, parts.into_iter()))
        });
        block(2, kernels) + "\n"
    }

    /// The worst of each program on a kernel, as lines to read.
    pub(super) fn worst(&self, kernel: &str) -> Vec<String> {
        let programs = self.0.get(kernel).map(|known| &known.programs).into_iter().flatten();
        let line = |(program, costs): (&String, &BTreeMap<String, Cost>)| {
            let instructions = costs.values().map(|cost| cost.instructions).max().unwrap_or(0);
            let stack = costs.values().map(|cost| cost.stack).max().unwrap_or(0);
            let milliseconds = costs.values().map(|cost| cost.microseconds).max().unwrap_or(0) / 1000;
            format!(
                "{program:<16} {instructions:>7} instructions, {stack:>3} octets of stack, {milliseconds:>4} ms at most, \
                 in {} configurations",
                costs.len()
            )
        };
        programs.map(line).collect()
    }
}

/// An object whose entries have a line each.
fn block<'a>(indent: usize, entries: impl Iterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<_> = entries.map(|(key, value)| format!("{:indent$}{}: {value}", "", json!(key))).collect();
    format!("{{\n{}\n{:2$}}}", lines.join(",\n"), "", indent - 2)
}

#[cfg(test)]
mod tests {
    use super::Figures;

    const REPORT: &str = r#"{"program":"p","configuration":"b","instructions":7,"stack":8,"microseconds":9}
{"program":"p","configuration":"a","instructions":1,"stack":2,"microseconds":3}
{"program":"q","configuration":"a","error":"Permission denied","log":"R1 is bad\nprocessed 3 insns"}
"#;

    fn taken() -> Figures {
        let mut figures = Figures::default();
        let refusals = figures.take("6.1", "6.1.0-50", REPORT).unwrap();
        assert_eq!((refusals.len(), refusals[0].log.as_str()), (1, "R1 is bad\nprocessed 3 insns"));
        figures
    }

    #[test]
    fn the_file_has_a_line_for_each_configuration_and_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("tapwire-figures-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("verifier.json");
        let figures = taken();
        let expected = r#"{
  "6.1": {
    "release": "6.1.0-50",
    "programs": {
      "p": {
        "a": {"instructions":1,"microseconds":3,"stack":2},
        "b": {"instructions":7,"microseconds":9,"stack":8}
      }
    }
  }
}
"#;
        assert_eq!(figures.text(), expected);
        std::fs::write(&path, figures.text()).unwrap();
        assert_eq!(Figures::read(&path).unwrap(), figures);
        assert_eq!(Figures::read(&folder.join("none")).unwrap(), Figures::default());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn another_time_is_no_change_and_another_figure_or_kernel_is_one() {
        let figures = taken();
        let mut other = Figures::default();
        let mut take = |release: &str, from: &str, to: &str| {
            other.take("6.1", release, &REPORT.replace(from, to)).unwrap();
            (figures.says_the_same_as(&other), figures == other)
        };
        assert_eq!(take("6.1.0-50", "", ""), (true, true));
        assert_eq!(take("6.1.0-50", "microseconds\":9", "microseconds\":10"), (true, false));
        assert_eq!(take("6.1.0-50", "instructions\":7", "instructions\":8"), (false, false));
        assert_eq!(take("6.1.0-51", "", ""), (false, false));
    }

    #[test]
    fn half_a_report_is_an_error() {
        assert!(Figures::default().take("6.1", "6.1.0", &REPORT[..REPORT.len() - 20]).is_err());
    }
}
