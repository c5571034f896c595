//! Every program passes the verifier in every configuration that attach can make, within a budget.
//!
//! `cargo xtask verify` runs this on other kernels as well, and collects what it reports. It is a test binary of its own,
//! because the measuring takes all file descriptors from the process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod configurations;
mod guards;
mod measure;
mod report;

use std::collections::BTreeSet;

use binding_user::datapath::Functions;

use self::{
    configurations::Configuration,
    measure::{Measured, measure},
    report::Report,
};

/// Half of the instructions that a verifier follows in one program (`BPF_COMPLEXITY_LIMIT_INSNS`).
const HALF_OF_ALL: u32 = 500_000;

/// Makes the whole product of the constants the configurations that are tried, in place of those that cover all pairs.
const ALL: &str = "TAPWIRE_VERIFY_ALL";

#[test]
fn every_program_passes_the_verifier_in_every_configuration_within_its_budget() {
    lab::require_root!();
    let configurations =
        if std::env::var_os(ALL).is_some() { configurations::all() } else { configurations::covering() };
    let (budget, mut report) = (report::budget(), Report::open());
    // All are tried before any failure is told.
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for configuration in &configurations {
        for measured in measure(configuration, Functions::of_this_kernel()) {
            report.tell(configuration, &measured);
            let complaint = match &measured.outcome {
                Ok(figures) => report::over_budget(&measured.program, *figures, &budget),
                Err(refused) => Some(format!("{}: {}: {}", measured.program, refused.error, telling(&refused.log))),
            };
            wrong.extend(complaint.map(|complaint| format!("{complaint} ({})", configuration.name)));
            seen.insert(measured.program);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), configurations.len(), wrong.join("\n"));
    assert_eq!(seen, budget.into_keys().collect(), "a budget for each program");
}

/// There, functions are followed on every way that leads to them: far more work, and all of it allowed.
#[test]
fn every_program_passes_the_verifier_of_a_kernel_without_btf() {
    lab::require_root!();
    let everything =
        |configuration: &Configuration| configuration.name.contains("dhcp, arp all, guard, allowed all lists");
    let configurations: Vec<_> = configurations::covering().into_iter().filter(everything).collect();
    assert!(!configurations.is_empty());
    for configuration in &configurations {
        for Measured { program, outcome } in measure(configuration, Functions::Inline) {
            let figures = outcome.unwrap_or_else(|refused| {
                panic!("{program}: {}: {} ({})", refused.error, telling(&refused.log), configuration.name)
            });
            assert!(figures.instructions < HALF_OF_ALL, "{program}: {figures:?} ({})", configuration.name);
        }
    }
}

/// The last lines of a log tell what was refused.
fn telling(log: &str) -> String {
    const LINES: usize = 3;
    let lines: Vec<_> = log.lines().filter(|line| !line.is_empty() && !line.starts_with("processed ")).collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}
