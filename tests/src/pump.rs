//! The pump: stands in for VM and vhost where an emulated CPU would drown what is measured.
//!
//! One thread copies frames, with their virtio-net headers, between the tap under test and a second tap in a "guest"
//! namespace. So the guest is the kernel's own network stack behind a tap, partial checksums and 64 KiB segments cross
//! as they do with a virtio guest, and DHCP clients are the real programs.

use std::{
    io::{Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    netns::Namespace,
    port::FramePort,
    tap::{FRAME_MAX, TapFile},
};

pub use crate::tap::Offloads;

/// Frames taken from one side before the other is looked at.
const BATCH: usize = 64;

/// Frames that went through a pump, or were lost in it.
#[derive(Debug, Default)]
pub struct Counters {
    /// From the guest to the tap under test.
    pub to_network: AtomicU64,
    /// From the tap under test to the guest.
    pub to_guest: AtomicU64,
    /// Not taken by the other side, because it was down or full.
    pub lost: AtomicU64,
}

/// The guest's end of the path, and its NIC.
type Ends = [Box<dyn FramePort>; 2];

/// The thread that copies; it ends, and closes both taps, when this is dropped.
#[derive(Debug)]
pub struct Pump {
    stop: UnixStream,
    thread: Option<JoinHandle<Result<()>>>,
    counters: Arc<Counters>,
    taps: Arc<Ends>,
}

impl Pump {
    /// Opens the tap under test in `namespace`, makes `guest_nic` in `guest`, and copies between the two.
    pub fn start(
        (namespace, tap): (&Namespace, &str),
        (guest, guest_nic): (&Namespace, &str),
        offloads: Offloads,
    ) -> Result<Self> {
        Self::behind(Box::new(TapFile::open(namespace, tap, offloads)?), (guest, guest_nic), offloads)
    }

    /// [`start`](Self::start) for a guest's end that is open already.
    pub fn behind(
        port: Box<dyn FramePort>,
        (guest, guest_nic): (&Namespace, &str),
        offloads: Offloads,
    ) -> Result<Self> {
        let taps: Arc<Ends> = Arc::new([port, Box::new(TapFile::create(guest, guest_nic, offloads)?)]);
        let (stop, stopped) = UnixStream::pair().context("making the pump's stop signal")?;
        let counters = Arc::new(Counters::default());
        let (seen, copied) = (Arc::clone(&counters), Arc::clone(&taps));
        let thread = std::thread::Builder::new()
            .name("pump".to_owned())
            .spawn(move || copy(&copied, &stopped, &seen))
            .context("starting the pump")?;
        Ok(Self { stop, thread: Some(thread), counters, taps })
    }

    /// Changes what guest and tap take in one piece, while frames go on.
    pub fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        self.taps.iter().try_for_each(|tap| tap.set_offloads(offloads))
    }

    /// What went through so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // The thread may have ended by itself, with an error, and closed its end.
        let _ = self.stop.write_all(&[0]);
        let result = self.thread.take().map(JoinHandle::join);
        if let Some(Ok(Err(error))) = result {
            eprintln!("the pump had stopped: {error:#}");
        }
    }
}

fn copy([tap, nic]: &Ends, mut stopped: &UnixStream, counters: &Counters) -> Result<()> {
    let (tap, nic) = (tap.as_ref(), nic.as_ref());
    let mut buffer = vec![0; FRAME_MAX];
    loop {
        let mut ready = [
            PollFd::new(tap.as_fd(), PollFlags::POLLIN),
            PollFd::new(nic.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut ready, PollTimeout::NONE).context("waiting for frames")?;
        let events = ready.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if !events[2].is_empty() {
            let _ = stopped.read(&mut [0]);
            return Ok(());
        }
        // The tap under test was deleted: nothing will ever come again, and polling it would spin.
        if events[..2].iter().any(|event| event.contains(PollFlags::POLLERR)) && gone(tap, nic, &mut buffer) {
            anyhow::bail!("a tap of the pump was deleted");
        }
        move_frames(tap, nic, &mut buffer, &counters.to_guest, &counters.lost)?;
        move_frames(nic, tap, &mut buffer, &counters.to_network, &counters.lost)?;
    }
}

/// Whether one of the taps no longer has a device. A tap that is merely down also polls as in error.
fn gone(tap: &dyn FramePort, nic: &dyn FramePort, buffer: &mut [u8]) -> bool {
    // Down is common for a moment (a test sets the link down): look again in a while, do not spin meanwhile.
    std::thread::sleep(std::time::Duration::from_millis(5));
    tap.read(buffer).is_err() || nic.read(buffer).is_err()
}

fn move_frames(
    from: &dyn FramePort,
    to: &dyn FramePort,
    buffer: &mut [u8],
    moved: &AtomicU64,
    lost: &AtomicU64,
) -> Result<()> {
    for _ in 0..BATCH {
        let Some(size) = from.read(buffer)? else {
            break;
        };
        let counter = if to.write(&buffer[..size]) { moved } else { lost };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
