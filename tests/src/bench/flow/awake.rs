//! Keeps the CPUs from falling asleep.
//!
//! In a virtual machine it takes a CPU that idles some 30 µs to be woken, by way of the hypervisor, and a CPU that happens
//! to have something else to do none of that: what is measured then is who else is awake. With a thread on each CPU that
//! spins, and gives way to everybody, a wake-up costs what it does on a host that is not one itself.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// No CPU idles as long as this lives.
#[derive(Debug)]
pub(super) struct Awake {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Awake {
    pub(super) fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let count = thread::available_parallelism()?.get();
        let threads = (0..count).map(|cpu| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || spin(cpu, &stop))
        });
        Ok(Self { threads: threads.collect(), stop })
    }

    /// Ends them, and tells if one never began.
    pub(super) fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            ensure!(ended.is_ok(), "a spinning thread panicked");
            ended.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn spin(cpu: usize, stop: &AtomicBool) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("staying on a CPU")?;
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live value. 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    Errno::result(result).context("giving way to everybody")?;
    while !stop.load(Ordering::Relaxed) {
        hint::spin_loop();
    }
    Ok(())
}
