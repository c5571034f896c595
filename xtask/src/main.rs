//! Set-up, build, demo and tests of tapwire.

mod demo;

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let binary = std::env::args_os()
        .nth(2)
        .map_or_else(|| PathBuf::from("target/release/tapwire"), PathBuf::from);
    match demo::run(&binary) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
