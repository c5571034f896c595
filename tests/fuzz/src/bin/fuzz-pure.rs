//! libFuzzer on a target of the pure code: `TAPWIRE_FUZZ_TARGET` names it, the arguments are libFuzzer's own.
//!
//! One program for all targets, so that there is one build. `cargo xtask fuzz` starts it.
#![no_main]

use std::{process, sync::OnceLock};

use fuzz::targets::{self, Target};

/// The environment names the target, for the arguments are all libFuzzer's.
fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("TAPWIRE_FUZZ_TARGET").unwrap_or_default();
        targets::named(&name).unwrap_or_else(|| {
            eprintln!("error: choose a target: TAPWIRE_FUZZ_TARGET is {name:?}");
            process::abort()
        })
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (target().run)(bytes));
