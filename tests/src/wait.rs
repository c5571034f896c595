//! Waiting for a condition with a deadline, in place of fixed sleeps: a test is as quick as the machine, and on a slow
//! one it fails with what it waited for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// Time between two looks at a condition: short against everything we wait for, long against the cost of a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls `look` until it gives a value, and fails with `what` when `deadline` has passed. An error of `look` ends the wait.
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(anyhow!("waited {:.1} s in vain for {what}", deadline.as_secs_f64()));
        }
        std::thread::sleep(PAUSE);
    }
}

/// [`wait_for`] for conditions that only hold or do not.
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, deadline, || Ok(holds()?.then_some(())))
}
