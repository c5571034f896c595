//! Numbered frames both ways, at a steady pace: whatever is done to a binding meanwhile, none may be lost, come twice, or
//! overtake another.
//!
//! The sender keeps to its pace as long as the receiver follows. It never is further ahead than every queue on the way
//! has room for: what is lost then was lost by a program, and not by a reader that had no CPU.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    pod::{HOST_MAC, Pod},
    raw::{RawPort, TapPort},
    stop::Stop,
    tap::Offloads,
};

/// Frames a second, each way.
pub const RATE: u32 = 20_000;
/// Frames on their way at most: a tap has room for 1000 (`TUN_READQ_SIZE` is 500), a CPU's backlog too.
const WINDOW: u64 = 300;
/// Frames that are sent one after the other, before the clock is looked at.
const BURST: u64 = 20;
/// Longest time without a frame, after which the next one counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// Where a frame has its number: behind the headers of Ethernet, IPv4 and UDP.
const NUMBER: usize = 42;

/// What was sent, and came.
#[derive(Clone, Copy, Debug)]
pub struct Streamed {
    /// Frames from the guest to the network.
    pub to_network: u64,
    /// Frames from the network to the guest.
    pub to_guest: u64,
    /// How long it took.
    pub time: Duration,
}

impl std::fmt::Display for Streamed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { to_network, to_guest, time } = self;
        let rate = |frames: &u64| *frames * 1000 / u64::try_from(time.as_millis().max(1)).unwrap_or(u64::MAX);
        write!(
            formatter,
            "{to_network} frames to the network ({}/s) and {to_guest} to the guest ({}/s) in {:.1} s, none lost",
            rate(to_network),
            rate(to_guest),
            time.as_secs_f64()
        )
    }
}

/// One way: how to send, how to receive, and what a frame begins with.
struct Way<'a> {
    name: &'a str,
    headers: Vec<u8>,
    send: &'a (dyn Fn(&[u8]) -> Result<()> + Sync),
    receive: &'a (dyn Fn() -> Result<Option<Vec<u8>>> + Sync),
    /// No more will be sent.
    ended: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Sends both ways between the tap `tap0` of a pod, which nobody else may read, and its host side, while `work` is done and
/// at least for `least` frames. Gives what `work` gave.
pub fn during<T>(pod: &Pod, least: u64, work: impl FnOnce(&TapPort) -> T) -> Result<(T, Streamed)> {
    let tap = TapPort::behind(pod, "tap0", Offloads::None)?;
    let host = RawPort::open(&pod.node, &pod.host_side)?;
    let (guest, node) = (octets(&pod.mac)?, octets(HOST_MAC)?);
    // A host of the subnet, which the node itself is not: nobody answers.
    let addresses = [[10, 244, 1, 5], [10, 244, 1, 99]];
    let pause = Duration::from_millis(20);
    let from_tap = || Ok(tap.receive(pause)?.map(|(_, frame)| frame));
    let from_host = || Ok(host.receive(pause)?.filter(|seen| !seen.outgoing).map(|seen| seen.data));
    let way = |name, headers, send, receive| Way {
        name,
        headers,
        send,
        receive,
        ended: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
    };
    let (send_tap, send_host) = (|frame: &[u8]| tap.send(frame), |frame: &[u8]| host.send(frame));
    let up = way("to the network", datagram(&node, &guest, addresses), &send_tap as &_, &from_host as &_);
    let down = way("to the guest", datagram(&guest, &node, [addresses[1], addresses[0]]), &send_host, &from_tap);
    let stop = Stop::default();
    let begin = Instant::now();
    let worked = thread::scope(|scope| {
        let ends = stop.guard();
        let threads = [&up, &down].map(|way| {
            let stop = &stop;
            (scope.spawn(move || way.send_all(stop, least)), scope.spawn(move || way.receive_all()))
        });
        let worked = work(&tap);
        drop(ends);
        for (sending, receiving) in threads {
            for side in [receiving, sending] {
                side.join().map_err(|_| anyhow::anyhow!("a thread of the stream panicked"))??;
            }
        }
        anyhow::Ok(worked)
    })?;
    let sent = |way: &Way<'_>| way.sent.load(Ordering::SeqCst);
    Ok((worked, Streamed { to_network: sent(&up), to_guest: sent(&down), time: begin.elapsed() }))
}

impl Way<'_> {
    fn send_all(&self, stop: &Stop, least: u64) -> Result<()> {
        let result = self.send_paced(stop, least);
        self.ended.store(true, Ordering::SeqCst);
        result
    }

    fn send_paced(&self, stop: &Stop, least: u64) -> Result<()> {
        let begin = Instant::now();
        let mut frame = self.headers.clone();
        for number in 0_u64.. {
            if number.is_multiple_of(BURST) {
                if stop.is_said() && number >= least {
                    break;
                }
                // The pace, and no wait for anything.
                let due = Duration::from_micros(number * 1_000_000 / u64::from(RATE));
                thread::sleep(due.saturating_sub(begin.elapsed()));
                self.wait_for_receiver(number)?;
            }
            frame[NUMBER..NUMBER + 8].copy_from_slice(&number.to_be_bytes());
            (self.send)(&frame).with_context(|| format!("frame {number} {}", self.name))?;
            self.sent.store(number + 1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Waits until the receiver is not too far behind.
    fn wait_for_receiver(&self, number: u64) -> Result<()> {
        let end = Instant::now() + SILENCE;
        while number - self.received.load(Ordering::SeqCst) > WINDOW - BURST {
            ensure!(Instant::now() < end, "no frame {} came for {SILENCE:?}, {number} were sent", self.name);
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn receive_all(&self) -> Result<()> {
        let mut heard = Instant::now();
        loop {
            // In this order: what is sent is known when it has ended.
            let ended = self.ended.load(Ordering::SeqCst);
            let expected = self.received.load(Ordering::SeqCst);
            if ended && expected == self.sent.load(Ordering::SeqCst) {
                return Ok(());
            }
            if let Some(frame) = (self.receive)()? {
                let is_ours =
                    frame.get(..12) == self.headers.get(..12) && frame.get(34..38) == self.headers.get(34..38);
                if let Some(number) = frame.get(NUMBER..NUMBER + 8).filter(|_| is_ours) {
                    let number = u64::from_be_bytes(number.try_into()?);
                    ensure!(number == expected, "{}: frame {number} came where {expected} was due", self.name);
                    self.received.store(number + 1, Ordering::SeqCst);
                    heard = Instant::now();
                }
            }
            if heard.elapsed() > SILENCE {
                bail!("{}: frame {expected} did not come for {SILENCE:?}", self.name);
            }
        }
    }
}

/// A datagram over UDP without a checksum, whose 18 octets are zero: room for a number.
pub fn datagram(to: &[u8], from: &[u8], [source, destination]: [[u8; 4]; 2]) -> Vec<u8> {
    let mut ip = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[12..16].copy_from_slice(&source);
    ip[16..20].copy_from_slice(&destination);
    let sum: u32 = ip.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap_or(0)).to_be_bytes());
    let udp = [0x1b, 0x58, 0x1b, 0x58, 0, 26, 0, 0];
    [to, from, &[8, 0], &ip, &udp, &[0; 18]].concat()
}

/// A MAC as its octets.
pub fn octets(mac: &str) -> Result<Vec<u8>> {
    mac.split(':').map(|octet| u8::from_str_radix(octet, 16).with_context(|| format!("{mac} is no MAC"))).collect()
}
