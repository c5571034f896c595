//! The budget of each program, and what is told to `cargo xtask verify`.

use std::{collections::BTreeMap, env, ffi::OsString, fs::File, io::Write as _};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    configurations::Configuration,
    measure::{Figures, Measured},
};

/// See docs/kernels.md for when and how to raise it.
const BUDGET: &str = include_str!("../../../docs/verifier-budget.json");

/// What a program may cost in any configuration on any kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) instructions: u32,
    pub(crate) stack: u32,
}

pub(crate) fn budget() -> BTreeMap<String, Limits> {
    serde_json::from_str(BUDGET).unwrap_or_else(|error| panic!("docs/verifier-budget.json: {error}"))
}

/// What is wrong with what a program cost; `None` where it is within its budget.
pub(crate) fn over_budget(program: &str, figures: Figures, budget: &BTreeMap<String, Limits>) -> Option<String> {
    let Some(limits) = budget.get(program) else {
        return Some(format!("{program} has no budget in docs/verifier-budget.json"));
    };
    let Limits { instructions, stack } = *limits;
    let over = |what: &str, cost: u32, limit: u32| {
        (cost > limit).then(|| format!("{program}: {cost} {what}, over its budget of {limit}"))
    };
    over("instructions", figures.instructions, instructions).or_else(|| over("octets of stack", figures.stack, stack))
}

/// Where `cargo xtask verify` reads, if it is that which runs this.
pub(crate) struct Report(Option<File>);

impl Report {
    pub(crate) fn open() -> Self {
        let open = |path: OsString| {
            let file = File::options().append(true).create(true).open(&path);
            file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Self(env::var_os(lab::machine::REPORT).map(open))
    }

    /// One line for each program.
    pub(crate) fn tell(&mut self, configuration: &Configuration, measured: &Measured) {
        let Some(file) = &mut self.0 else { return };
        let (program, configuration) = (&measured.program, &configuration.name);
        let line = match &measured.outcome {
            Ok(Figures { instructions, stack, time }) => json!({
                "program": program, "configuration": configuration,
                "instructions": instructions, "stack": stack, "microseconds": time.as_micros(),
            }),
            Err(refused) => json!({
                "program": program, "configuration": configuration, "error": refused.error, "log": refused.log,
            }),
        };
        writeln!(file, "{line}").unwrap();
    }
}

#[test]
fn growth_beyond_the_budget_is_told_with_both_figures() {
    let budget = BTreeMap::from([("p".to_owned(), Limits { instructions: 100, stack: 64 })]);
    let figures = |instructions, stack| Figures { instructions, stack, time: std::time::Duration::ZERO };
    assert_eq!(over_budget("p", figures(100, 64), &budget), None);
    assert_eq!(over_budget("p", figures(101, 64), &budget).unwrap(), "p: 101 instructions, over its budget of 100");
    assert_eq!(over_budget("p", figures(1, 72), &budget).unwrap(), "p: 72 octets of stack, over its budget of 64");
    assert!(over_budget("q", figures(1, 1), &budget).unwrap().contains("q has no budget"));
}
