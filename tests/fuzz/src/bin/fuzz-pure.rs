//! libFuzzer on a target of the pure code: `TAPWIRE_FUZZ_TARGET` names it, the arguments are libFuzzer's own.
//!
//! One program for all targets, so that there is one build. `cargo xtask fuzz` starts it.
#![no_main]

use std::{process, sync::OnceLock};

use fuzz::{
    mutate,
    rng::Rng,
    targets::{self, Target},
};

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

// Half of the changes to frames know what a frame is; the others are libFuzzer's own, who knows what it has seen compared.
libfuzzer_sys::fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
    let mut rng = Rng::new(seed.into());
    let before = target().before_frame().filter(|before| *before < size);
    let Some(before) = before.filter(|_| rng.one_in(2)) else {
        return libfuzzer_sys::fuzzer_mutate(bytes, size, most);
    };
    let mut frame = bytes[before..size].to_vec();
    mutate::frame(&mut frame, &mut rng, &[], most - before);
    bytes[before..before + frame.len()].copy_from_slice(&frame);
    before + frame.len()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (target().run)(bytes));
