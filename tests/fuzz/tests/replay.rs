//! Every seed and every case that was ever found, given to its target without libFuzzer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fuzz::{corpus, targets};

#[test]
fn every_target_has_seeds_and_takes_them() {
    for target in targets::ALL {
        let seeds = corpus::seeds(target.name).unwrap();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (path, bytes) in seeds {
            println!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

#[test]
fn nothing_that_was_found_comes_back() {
    for target in targets::ALL {
        for (path, bytes) in corpus::found(target.name).unwrap() {
            println!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}
