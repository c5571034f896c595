//! Ends the threads of a test when the test ends, also by a panic: else the test would wait for them for ever.

use std::sync::atomic::{AtomicBool, Ordering};

/// Told to stop by whoever drops a [`Guard`] of it first.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

/// Says stop when it is dropped.
#[derive(Debug)]
#[must_use = "it says stop when it is dropped"]
pub struct Guard<'a>(&'a Stop);

impl Stop {
    /// Whether it was said.
    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// For the scope of a thread.
    pub fn guard(&self) -> Guard<'_> {
        Guard(self)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
