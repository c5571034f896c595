//! Fuzzing for a moment: what `cargo xtask fuzz` does for as long as one likes, and every case that it ever found.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use fuzz::{
    corpus, frames,
    kernel::{Case, Hunt, Loaded, case::Step, config},
    model::{Beside, Program},
    rng::Rng,
    tap::{Layout, Volley, Wire},
};

/// Frames of the comparison. In a run for long there are as many in five seconds.
const FRAMES: u64 = 60_000;
/// Frames for each wire.
const VOLLEY: usize = 512;
/// Longest time that frames are invented, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same frames each time: a test that fails must fail again.
const SEED: u64 = 1;

#[test]
fn the_kernel_judges_every_frame_as_the_model_does() {
    lab::require_root!();
    let mut hunt = Hunt::new(SEED).unwrap();
    let found = hunt.try_seeds().and_then(|()| hunt.run(Instant::now() + PATIENCE, FRAMES));
    let told = found.map_err(|finding| format!("{}: {}\n{}", finding.config, finding.difference, finding.case));
    assert_eq!(told, Ok(()));
    assert!(hunt.tally.executions > 10_000, "only {:?}", hunt.tally);
}

#[test]
fn no_difference_that_was_found_comes_back() {
    lab::require_root!();
    let mut hunt = Hunt::new(SEED).unwrap();
    let told = hunt.replay().map_err(|finding| finding.difference);
    assert_eq!(told, Ok(corpus::found("kernel").unwrap().len()));
}

#[test]
fn a_difference_is_seen_and_its_case_survives_a_file() {
    lab::require_root!();
    // The programs believe the frame to be another than the model: it is not the test run's device that it is for.
    let frame = frames::ethernet([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8], 0x88b5, &[0; 46]);
    let beside = Beside { for_this_host: true, ..Beside::default() };
    let case = Case { config: 0, steps: vec![Step { program: Program::NicIn, beside, frame }] };
    let mut loaded = Loaded::new(config::all().swap_remove(0)).unwrap();
    let difference = loaded.run(&case).unwrap_err();
    assert!(difference.starts_with("frame 0: the kernel says redirect of 60 octets"), "{difference}");
    // A file says nothing of it, and so the case of a file is right.
    let kept = Case::from_bytes(&case.to_bytes()).unwrap();
    assert_eq!(kept.steps[0].frame, case.steps[0].frame);
    assert_eq!(loaded.run(&kept), Ok(1));
}

fn a_hostile_monitor_harms_nobody(layout: Layout) {
    let mut wire = Wire::new(layout).unwrap();
    for (path, bytes) in corpus::found("tap").unwrap() {
        println!("{}", path.display());
        wire.try_volley(&Volley::from_bytes(&bytes).unwrap()).unwrap();
    }
    let volley = Volley::invent(&mut Rng::new(SEED), &frames::all(), VOLLEY);
    assert_eq!(Volley::from_bytes(&volley.to_bytes()).as_ref(), Some(&volley));
    wire.try_volley(&volley).unwrap();
    assert!(wire.count.taken > 100 && wire.count.refused > 10 && wire.count.seen > 10, "{:?}", wire.count);
}

#[test]
fn a_hostile_monitor_harms_nobody_by_peer() {
    lab::require_root!();
    a_hostile_monitor_harms_nobody(Layout::ALL[0]);
}

#[test]
fn a_hostile_monitor_harms_nobody_by_redirect() {
    lab::require_root!();
    a_hostile_monitor_harms_nobody(Layout::ALL[1]);
}

#[test]
fn a_hostile_monitor_harms_nobody_by_two_queues() {
    lab::require_root!();
    a_hostile_monitor_harms_nobody(Layout::ALL[2]);
}

#[test]
fn a_hostile_monitor_harms_nobody_where_macs_are_replaced() {
    lab::require_root!();
    a_hostile_monitor_harms_nobody(Layout::ALL[3]);
}
