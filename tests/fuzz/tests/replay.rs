//! Every seed and every case that was ever found, given to its target without libFuzzer; and a moment of mutation.

use fuzz::{corpus, frames, mutate, rng::Rng, targets};

/// Mutations of each seed.
const MUTATIONS: usize = 20;

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
fn every_folder_is_of_a_target() {
    let known = |name: &str| targets::named(name).is_some() || ["kernel", "tap"].contains(&name);
    for kind in ["seeds", "found"] {
        for entry in std::fs::read_dir(corpus::home().join(kind)).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(known(&name), "{kind}/{name} is of no target, and nobody would replay it");
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

#[test]
fn every_target_takes_mutations_of_its_seeds() {
    let mut rng = Rng::new(1);
    for target in targets::ALL {
        let seeds: Vec<_> = corpus::seeds(target.name).unwrap().into_iter().map(|(_, bytes)| bytes).collect();
        for seed in &seeds {
            for _ in 0..MUTATIONS {
                let mut bytes = seed.clone();
                mutate::octets(&mut bytes, &mut rng, &seeds);
                (target.run)(&bytes);
            }
        }
    }
}

#[test]
fn every_target_of_frames_takes_mutated_frames() {
    let (mut rng, seeds) = (Rng::new(2), frames::all());
    for target in targets::ALL.into_iter().filter(|target| target.before_frame().is_some()) {
        for seed in &seeds {
            for _ in 0..MUTATIONS {
                let mut frame = seed.clone();
                mutate::frame(&mut frame, &mut rng, &seeds, 2048);
                (target.run)(&target.with_frame(rng.number().to_be_bytes(), &frame));
            }
        }
    }
}
