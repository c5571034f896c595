//! Every program passes the verifier in every configuration that attach can make, within a budget.
//!
//! `cargo xtask verify` runs this on other kernels as well, and collects what it reports. It is a test binary of its own,
//! because the measuring takes all file descriptors from the process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod configurations;
mod measure;

#[test]
fn every_program_is_verified_in_every_configuration() {
    lab::require_root!();
    for configuration in configurations::covering() {
        let start = std::time::Instant::now();
        for measured in measure::measure(&configuration) {
            match measured.outcome {
                Ok(figures) => println!("{} {} {figures:?}", measured.program, configuration.name),
                Err(refused) => panic!("{} {}: {} {}", measured.program, configuration.name, refused.error, refused.log),
            }
        }
        println!("{:?}", start.elapsed());
    }
    let start = std::time::Instant::now();
    println!("{}", configurations::all().len());
    println!("{:?}", start.elapsed());
}
