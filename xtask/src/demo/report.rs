//! The demo's output: plain lines with the time since its start, and a progress bar where somebody is watching.

use std::{
    io::IsTerminal as _,
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Where the demo writes, and since when it runs.
#[derive(Debug)]
pub(super) struct Report {
    start: Instant,
    watched: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), watched: std::io::stdout().is_terminal() }
    }

    /// One thing that was done or seen.
    pub(super) fn step(&self, text: &str) {
        println!("[{:5.1}s] {text}", self.start.elapsed().as_secs_f64());
    }

    /// Does something long, with a bar that fills in the time it usually takes.
    pub(super) fn long<T>(&self, what: &str, usual: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.step(what);
        if !self.watched {
            return work().with_context(|| what.to_owned());
        }
        let bar = ProgressBar::new(u64::try_from(usual.as_millis())?);
        bar.set_style(ProgressStyle::with_template("         {bar:40} {elapsed}")?);
        let (done, waits) = channel::<()>();
        let result = std::thread::scope(|scope| {
            let bar = &bar;
            scope.spawn(move || {
                let begin = Instant::now();
                while matches!(waits.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout)) {
                    bar.set_position(u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX));
                }
            });
            let result = work();
            drop(done);
            result
        });
        bar.finish_and_clear();
        result.with_context(|| what.to_owned())
    }
}

/// A heading.
pub(super) fn title(text: &str) {
    println!("\n{text}");
}

/// Output of another program, set in.
pub(super) fn block(text: &str) {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        println!("         {}", line.trim_end());
    }
}
