//! Numbered frames to the guest from every CPU at once: none may be lost or come twice, and of those of one sender none may
//! overtake another.
//!
//! [`stream`](crate::stream) has one sender each way. Where two CPUs transmit by one device at the same moment, queues and
//! locks come into play that a single sender never meets.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    pod::{HOST_MAC, Pod},
    raw::{RawPort, TapPort},
    stop::Stop,
    stream::{datagram, octets},
    tap::Offloads,
    wait::wait_until,
};

/// Frames on their way at most, of all senders together: a tap has room for 500, a CPU's backlog for 1000.
const WINDOW: u64 = 300;
/// Longest time without a frame, after which the next one counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Where a frame has its number: behind the headers of Ethernet, IPv4 and UDP.
const NUMBER: usize = 42;
/// The last octet of the source address of the first sender.
const FIRST: u8 = 100;

/// Whether frames may overtake one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those of one sender come in the order in which they were sent.
    Kept,
    /// The way changes meanwhile, and a queue of the old one may be overtaken.
    Free,
}

/// One sender, on one CPU.
#[derive(Debug, Default)]
struct Sender {
    cpu: usize,
    sent: AtomicU64,
    received: AtomicU64,
    ended: std::sync::atomic::AtomicBool,
}

/// Sends to the guest out of a pod's host side, from each CPU that this process may use, while `work` is done and at least
/// `least` frames each. Nobody else may read `tap0`. Gives what `work` gave, and how many frames each sender sent.
pub fn during<T>(pod: &Pod, order: Order, least: u64, work: impl FnOnce() -> T) -> Result<(T, Vec<u64>)> {
    let tap = TapPort::behind(pod, "tap0", Offloads::None)?;
    wait_for_way(pod, &tap)?;
    let senders: Vec<Sender> = cpus()?.into_iter().map(|cpu| Sender { cpu, ..Sender::default() }).collect();
    let window = WINDOW / u64::try_from(senders.len())?;
    let stop = Stop::default();
    let worked = thread::scope(|scope| {
        let ends = stop.guard();
        let (senders, stop, tap) = (&senders, &stop, &tap);
        let receiving = scope.spawn(move || receive_all(tap, senders, order));
        let sending: Vec<_> = (FIRST..)
            .zip(senders)
            .map(|(address, sender)| scope.spawn(move || sender.send_all(pod, address, stop, least, window)))
            .collect();
        let worked = work();
        drop(ends);
        // The receiver knows better what was lost.
        for thread in std::iter::once(receiving).chain(sending) {
            thread.join().map_err(|_| anyhow!("a thread of the crowd panicked"))??;
        }
        anyhow::Ok(worked)
    })?;
    Ok((worked, senders.iter().map(|sender| sender.sent.load(Ordering::SeqCst)).collect()))
}

/// Waits until frames arrive at all: carriers, queues and bridges take their time when links came up a moment ago.
fn wait_for_way(pod: &Pod, tap: &TapPort) -> Result<()> {
    let port = RawPort::open(&pod.node, &pod.host_side)?;
    let frame = datagram(&octets(&pod.mac)?, &octets(HOST_MAC)?, [[10, 244, 1, FIRST - 1], [10, 244, 1, 5]]);
    wait_until("a frame to arrive", SILENCE, || {
        // Of a queue that is not ready yet the sender is told.
        let _ = port.send(&frame);
        Ok(tap.receive(Duration::from_millis(5))?.is_some_and(|(_, seen)| seen.get(26..30) == Some(&frame[26..30])))
    })
}

/// The CPUs that this process may use.
fn cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking for the CPUs")?;
    Ok((0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect())
}

impl Sender {
    fn send_all(&self, pod: &Pod, address: u8, stop: &Stop, least: u64, window: u64) -> Result<()> {
        let result = self.send_in_step(pod, address, stop, least, window);
        self.ended.store(true, Ordering::SeqCst);
        result.with_context(|| format!("the sender on CPU {}", self.cpu))
    }

    fn send_in_step(&self, pod: &Pod, address: u8, stop: &Stop, least: u64, window: u64) -> Result<()> {
        let port = RawPort::open(&pod.node, &pod.host_side)?;
        let mut only = CpuSet::new();
        only.set(self.cpu).context("naming a CPU")?;
        sched_setaffinity(Pid::from_raw(0), &only).context("staying on a CPU")?;
        let mut frame = datagram(&octets(&pod.mac)?, &octets(HOST_MAC)?, [[10, 244, 1, address], [10, 244, 1, 5]]);
        for number in 0_u64.. {
            if stop.is_said() && number >= least {
                break;
            }
            let end = Instant::now() + SILENCE;
            while number - self.received.load(Ordering::SeqCst) >= window {
                ensure!(Instant::now() < end, "of {number} frames, no more than these came in {SILENCE:?}: {self:?}");
                thread::sleep(Duration::from_micros(100));
            }
            frame[NUMBER..NUMBER + 8].copy_from_slice(&number.to_be_bytes());
            port.send(&frame).with_context(|| format!("frame {number}"))?;
            self.sent.store(number + 1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Whether all that was sent has come.
    fn is_done(&self) -> bool {
        // In this order: what is sent is known when it has ended.
        self.ended.load(Ordering::SeqCst) && self.received.load(Ordering::SeqCst) == self.sent.load(Ordering::SeqCst)
    }
}

fn receive_all(tap: &TapPort, senders: &[Sender], order: Order) -> Result<()> {
    let mut heard = Instant::now();
    // Numbers that came before their time.
    let mut early = vec![BTreeSet::new(); senders.len()];
    while !senders.iter().all(Sender::is_done) {
        if let Some((_, frame)) = tap.receive(Duration::from_millis(20))?
            && let Some((place, number)) = read(&frame, senders.len())
        {
            heard = Instant::now();
            let (sender, early) = (&senders[place], &mut early[place]);
            let expected = sender.received.load(Ordering::SeqCst);
            ensure!(number == expected || order == Order::Free, "{number} of sender {place} came, {expected} was due");
            ensure!(number >= expected && early.insert(number), "{number} of sender {place} came twice");
            let mut next = expected;
            while early.remove(&next) {
                next += 1;
            }
            sender.received.store(next, Ordering::SeqCst);
        }
        if heard.elapsed() > SILENCE {
            let lost = senders.iter().zip(&early).map(|(sender, early)| missing(sender, early));
            bail!("nothing came for {SILENCE:?}; these are lost: {:?} {senders:?}", lost.collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// Numbers that were sent and did not come.
fn missing(sender: &Sender, early: &BTreeSet<u64>) -> Vec<u64> {
    let sent = sender.received.load(Ordering::SeqCst)..sender.sent.load(Ordering::SeqCst);
    sent.filter(|number| !early.contains(number)).collect()
}

/// Which sender a frame is of, and its number.
fn read(frame: &[u8], senders: usize) -> Option<(usize, u64)> {
    if frame.get(12..14)? != [8, 0]
        || frame.get(26..29)? != [10, 244, 1]
        || frame.get(34..38)? != [0x1b, 0x58, 0x1b, 0x58]
    {
        return None;
    }
    let place = usize::from(frame[29].checked_sub(FIRST)?);
    let number = u64::from_be_bytes(frame.get(NUMBER..NUMBER + 8)?.try_into().ok()?);
    (place < senders).then_some((place, number))
}
