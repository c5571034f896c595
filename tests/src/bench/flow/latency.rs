//! Request-response: a datagram to an echo at the far end and back, one at a time, in a loop that does nothing else.
//!
//! Client and echo are on the first CPU and the pump on the last, always: each way then wakes a thread on another CPU, as
//! with a VM. Left to the scheduler, a round is ten times as quick when it happens to put all three on one.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{bed::Bed, cpu};
use crate::bench::stats::quantile;

/// Octets of a request, and of its response.
const SIZE: usize = 64;
/// Where the echo listens.
const PORT: u16 = 7007;
/// After that an answer counts as lost, and the round as void.
const PATIENCE: Duration = Duration::from_secs(1);
/// Requests whose time is not taken: caches, neighbours, the CPU's clock.
const WARM: usize = 200;

/// Percentiles of one round, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percentiles {
    /// Half of the answers came within this.
    pub(super) p50: f64,
    /// 99 % did.
    pub(super) p99: f64,
    /// 99.9 % did.
    pub(super) p999: f64,
}

/// Sends so many requests from the guest.
pub(super) fn run(bed: &Bed, requests: usize) -> Result<Percentiles> {
    let far = bed.joined().far.address;
    let echo = bed.joined().far_namespace().run(|| {
        let socket = UdpSocket::bind((far, PORT)).context("binding the echo")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(socket)
    })?;
    let client = bed.guest().namespace.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").context("binding the client")?;
        socket.connect((far, PORT)).context("connecting to the echo")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })?;
    let ended = AtomicBool::new(false);
    let mut times = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&echo, &ended));
        let times = scope.spawn(|| ask(&client, requests)).join();
        ended.store(true, Ordering::Relaxed);
        server.join().map_err(|_| anyhow::anyhow!("the echo panicked"))??;
        times.map_err(|_| anyhow::anyhow!("the client panicked"))?
    })?;
    times.sort_by(f64::total_cmp);
    let at = |part| quantile(&times, part).unwrap_or(f64::NAN);
    Ok(Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999) })
}

fn serve(socket: &UdpSocket, ended: &AtomicBool) -> Result<()> {
    cpu::stay_on_first()?;
    let mut buffer = [0; SIZE];
    while !ended.load(Ordering::Relaxed) {
        // The time out is there to look whether it has ended.
        let Ok((size, from)) = socket.recv_from(&mut buffer) else { continue };
        socket.send_to(&buffer[..size], from).context("answering")?;
    }
    Ok(())
}

/// Microseconds of each answer.
fn ask(socket: &UdpSocket, requests: usize) -> Result<Vec<f64>> {
    cpu::stay_on_first()?;
    let mut times = Vec::with_capacity(requests);
    let mut buffer = [0; SIZE];
    for number in 0..requests + WARM {
        let start = Instant::now();
        socket.send(&buffer).context("asking")?;
        socket.recv(&mut buffer).with_context(|| format!("no answer to request {number}"))?;
        let time = start.elapsed();
        if number >= WARM {
            times.push(time.as_secs_f64() * 1e6);
        }
    }
    Ok(times)
}
