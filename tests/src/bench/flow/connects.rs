//! TCP connections, one after the other: opened, one octet taken from the server, closed.
//!
//! The client closes with a reset, so that no port is kept waiting and a run may be as long as one likes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};

use super::{bed::Bed, cpu};

const PORT: u16 = 7008;
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes so many connections and gives how many that were in a second.
pub(super) fn run(bed: &Bed, connections: u32) -> Result<f64> {
    let to = SocketAddr::from((bed.joined().far.address, PORT));
    let listener = bed.joined().far_namespace().run(|| TcpListener::bind(to).context("listening"))?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &ended));
        let rate = bed.guest().namespace.run(|| {
            cpu::stay_on_first()?;
            let start = Instant::now();
            let made =
                (0..connections).try_for_each(|number| connect(to).with_context(|| format!("connection {number}")));
            made.map(|()| f64::from(connections) / start.elapsed().as_secs_f64())
        });
        ended.store(true, Ordering::Relaxed);
        // The server is waiting for one more.
        let woken = bed.joined().far_namespace().run(|| TcpStream::connect(to).context("ending the server"));
        rate.and_then(|rate| woken.map(|_| rate))
    })
}

fn serve(listener: &TcpListener, ended: &AtomicBool) {
    // Where it cannot, the figure strays.
    let _ = cpu::stay_on_first();
    for connection in listener.incoming() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        // One that was reset already is the client's to tell.
        let _ = connection.and_then(|mut connection| connection.write_all(&[0]));
    }
}

fn connect(to: SocketAddr) -> Result<()> {
    let mut connection = TcpStream::connect_timeout(&to, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let size = connection.read(&mut [0])?;
    if size == 0 {
        return Err(anyhow!("closed without an octet"));
    }
    setsockopt(&connection.as_fd(), sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(())
}
