//! The loops that are timed: nothing in them but the system call that is measured.
//!
//! A frame is followed to its end within the calls of one thread on one CPU. What a path leaves to a queue of the kernel
//! (a backlog) is worked off by the same CPU before the call returns, so it is in the time. A sample is the lower quartile of
//! many short pieces: another process, or the hypervisor, that takes the CPU away spoils a piece and not the sample.

use std::{
    ffi::c_void,
    fs::File,
    hint::black_box,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc::{self, c_int},
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    frame::{self, Size},
    path::Joined,
    stats::Summary,
};
use crate::{
    bpf::{self, Attached, Counter, Program},
    netns::Namespace,
    tap::{FRAME_MAX, HEADER, Offloads, TapFile},
    wait::wait_until,
};

/// Frames that are sent to the guest before they are read: a tap has room for 500 and more.
const BATCH: u32 = 32;
/// Longest wait for frames that are under way.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest wait for a path that was just made to forward its first frame.
const START: Duration = Duration::from_secs(10);

/// What a sample came to: ns per frame, and why it does not count, if so.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Nanoseconds per frame, the lower quartile of the pieces: what disturbs one only adds to it.
    pub nanos: f64,
    /// Why it does not count.
    pub void: Option<String>,
}

/// How much is sent for one sample.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Pieces, each of which is timed.
    pub pieces: u32,
    /// Frames of a piece.
    pub frames: u32,
}

impl Effort {
    /// For frames of this size: a piece takes 1 to 4 ms, long against reading the clock, short against a time slice.
    pub const fn of(size: Size, quick: bool) -> Self {
        let frames = match size {
            Size::Small | Size::Large => 2048,
            Size::Gso => 384,
        };
        Self { pieces: if quick { 15 } else { 41 }, frames }
    }
}

/// A path with all that its frames need: the guest's end, a sender at the far end, and what counts and drops there.
#[derive(Debug)]
pub struct Lane {
    tap: TapFile,
    sender: Sender,
    arrived: Counter,
    // Held, and taken off before the path goes.
    _drop: Attached,
    /// The path.
    pub path: Joined,
}

impl Lane {
    /// Opens a path at both ends, and waits until it forwards.
    pub fn open(path: Joined) -> Result<Self> {
        let tap = path.open(Offloads::Virtio)?;
        let arrived = Counter::new()?;
        let drop = counting_drop(&arrived)?.first(path.far_namespace(), &path.far_link)?;
        let sender = Sender::open(path.far_namespace(), &path.far_link)?;
        let lane = Self { tap, sender, arrived, _drop: drop, path };
        lane.wait_for_first()?;
        Ok(lane)
    }

    fn wait_for_first(&self) -> Result<()> {
        let frame = frame::to_network(&self.path, Size::Small)?;
        wait_until(&format!("the first frame through {}", self.path.kind), START, || {
            self.tap.write(&frame.octets);
            Ok(self.arrived.read()? > 0)
        })?;
        drain(&self.tap)
    }

    /// Frames written into the tap and dropped on arrival at the far end.
    pub fn to_network(&self, size: Size, effort: Effort) -> Result<Timed> {
        let frame = frame::to_network(&self.path, size)?;
        let before = self.arrived.read()?;
        let fd = self.tap.as_fd().as_raw_fd();
        let mut refused = 0;
        let nanos = pieces(effort, || {
            refused += write_all(fd, &frame.octets, effort.frames);
            Ok(())
        })?;
        let sent = u64::from(effort.pieces + 1) * u64::from(effort.frames);
        let arrived = || anyhow::Ok(self.arrived.read()? - before);
        // A sum that is not right at once may be so when the kernel's thread for soft interrupts had its turn.
        let whole = wait_until("all frames", PATIENCE, || Ok(arrived()? >= sent)).is_ok() && arrived()? == sent;
        let void = (!whole || refused > 0).then(|| -> Result<String> {
            Ok(format!("{} of {sent} frames arrived, {refused} were refused by the tap", arrived()?))
        });
        Ok(Timed { nanos, void: void.transpose()? })
    }

    /// Frames sent from the far end and read from the tap.
    pub fn to_guest(&self, size: Size, effort: Effort) -> Result<Timed> {
        self.to_guest_from(&self.sender, size, effort)
    }

    /// [`to_guest`](Self::to_guest), sent by another link than the far end's.
    pub fn to_guest_from(&self, sender: &Sender, size: Size, effort: Effort) -> Result<Timed> {
        let frame = frame::to_guest(&self.path, size)?;
        drain(&self.tap)?;
        let mut reader = Reader { tap: &self.tap, buffer: vec![0; FRAME_MAX], len: frame.len + HEADER };
        let mut lost = 0;
        let nanos = pieces(effort, || {
            for _ in 0..effort.frames / BATCH {
                let refused = write_all(sender.0.as_raw_fd(), &frame.octets, BATCH);
                lost += refused + (BATCH - refused - reader.read(BATCH - refused)?);
            }
            Ok(())
        })?;
        let void = (lost > 0).then(|| format!("{lost} frames did not arrive"));
        Ok(Timed { nanos, void })
    }
}

/// The cheapest system call of the kind: the frame is written to /dev/null. So much of the floor is the entry to the kernel.
pub fn empty_call(size: Size, effort: Effort) -> Result<Timed> {
    let null = File::options().write(true).open("/dev/null")?;
    let octets = vec![0; size.octets() + HEADER];
    let nanos = pieces(effort, || {
        write_all(null.as_raw_fd(), &octets, effort.frames);
        Ok(())
    })?;
    Ok(Timed { nanos, void: None })
}

/// The loop itself, around a call that stays in this program: so much of the floor is ours.
pub fn empty_loop(size: Size, effort: Effort) -> Result<Timed> {
    let octets = vec![0; size.octets() + HEADER];
    let nanos = pieces(effort, || {
        // SAFETY: nothing is done with the octets.
        black_box(unsafe { repeat(taken, -1, &octets, effort.frames) });
        Ok(())
    })?;
    Ok(Timed { nanos, void: None })
}

/// Takes everything, at once.
unsafe extern "C" fn taken(fd: c_int, octets: *const c_void, len: usize) -> isize {
    black_box((fd, octets));
    len.cast_signed()
}

/// Runs `work` on a thread that stays on the last CPU (interrupts of devices mostly come to the first) and goes before all
/// others there, as far as the usual scheduler lets it.
pub fn on_one_cpu<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let last = thread::available_parallelism()?.get() - 1;
            let mut cpus = CpuSet::new();
            cpus.set(last)?;
            sched_setaffinity(Pid::from_raw(0), &cpus).context("staying on one CPU")?;
            // SAFETY: no pointer is passed. 0 is the calling thread.
            Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) }).context("going first")?;
            work()
        });
        thread.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
    })
}

/// Times `piece` so many times, and once before for nothing: caches and branches are warm then.
fn pieces(effort: Effort, mut piece: impl FnMut() -> Result<()>) -> Result<f64> {
    piece()?;
    let mut times = Vec::new();
    for _ in 0..effort.pieces {
        let begin = Instant::now();
        piece()?;
        times.push(begin.elapsed().as_secs_f64() * 1e9 / f64::from(effort.frames));
    }
    Ok(Summary::of(times).context("no piece was timed")?.lower)
}

/// A function like `write(2)`.
type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;

/// One system call a frame. Gives how many were not taken whole.
fn write_all(fd: RawFd, octets: &[u8], frames: u32) -> u32 {
    // SAFETY: `write` reads no more than the octets.
    unsafe { repeat(libc::write, fd, octets, frames) }
}

/// The loop.
///
/// # Safety
/// `write` does with the octets only what `write(2)` does.
unsafe fn repeat(write: Write, fd: RawFd, octets: &[u8], frames: u32) -> u32 {
    let write = black_box(write);
    let mut refused = 0;
    for _ in 0..frames {
        // SAFETY: the octets are live and as many as is said.
        let written = unsafe { write(fd, octets.as_ptr().cast(), octets.len()) };
        refused += u32::from(written.cast_unsigned() != octets.len());
    }
    refused
}

struct Reader<'a> {
    tap: &'a TapFile,
    buffer: Vec<u8>,
    /// Of header and frame; anything else is not ours.
    len: usize,
}

impl Reader<'_> {
    /// Reads so many frames, and gives how many came.
    fn read(&mut self, wanted: u32) -> Result<u32> {
        let fd = self.tap.as_fd().as_raw_fd();
        let mut came = 0;
        let mut end = None;
        while came < wanted {
            // SAFETY: the buffer is live and as long as is said.
            let read = unsafe { libc::read(fd, self.buffer.as_mut_ptr().cast(), self.buffer.len()) };
            if read.cast_unsigned() == self.len {
                came += 1;
            } else if read < 0 {
                let error = Errno::last();
                ensure!(error == Errno::EAGAIN, "reading the tap: {error}");
                if Instant::now() > *end.get_or_insert_with(|| Instant::now() + PATIENCE) {
                    break;
                }
            }
        }
        Ok(came)
    }
}

/// Throws away what waits at a tap.
fn drain(tap: &TapFile) -> Result<()> {
    let mut buffer = vec![0; FRAME_MAX];
    while tap.read(&mut buffer)?.is_some() {}
    Ok(())
}

/// The cheapest end of a frame: counted and dropped by the first program at the far end's ingress. What is not IPv4 passes,
/// so that the node's stack answers ARP.
fn counting_drop(arrived: &Counter) -> Result<Program> {
    /// `__sk_buff.protocol`, in network order.
    const PROTOCOL: i16 = 16;
    const IPV4: u16 = 0x0800;
    let [place, rest] = arrived.place(1)?;
    let counted = [place, rest, bpf::set(2, 1), bpf::add_at(1, 2), bpf::set(0, bpf::TCX_DROP), bpf::EXIT];
    let skipped = i16::try_from(counted.len())?;
    let begin = [bpf::load_word(2, 1, PROTOCOL), bpf::skip_unless(2, i32::from(IPV4.to_be()), skipped)];
    let passed = [bpf::set(0, bpf::TCX_NEXT), bpf::EXIT];
    Program::load("bench_drop", &[&begin[..], &counted, &passed].concat())
}

/// A packet socket that only sends: what it receives it would have to be given a copy of, at the cost of every path.
#[derive(Debug)]
pub struct Sender(OwnedFd);

impl Sender {
    /// On a link. Frames have a virtio-net header before them, so that one that is to be segmented can be sent.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self> {
        /// Octets that may be under way.
        const BUFFER: c_int = 32 << 20;
        namespace.run(|| {
            let index = if_nametoindex(link).with_context(|| format!("no link {link} in {}", namespace.name()))?;
            // SAFETY: no pointer is passed.
            let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            let fd = Errno::result(fd).context("opening a packet socket")?;
            // SAFETY: the descriptor is new and nobody else's.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            set(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
            set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER)?;
            bind(&socket, index)?;
            Ok(Self(socket))
        })
    }
}

fn set(socket: &OwnedFd, level: c_int, option: c_int, value: c_int) -> Result<()> {
    let size = libc::socklen_t::try_from(size_of::<c_int>())?;
    // SAFETY: the value is live and as long as is said.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    Errno::result(result).with_context(|| format!("setting option {option} of a packet socket"))?;
    Ok(())
}

/// To a link, and to no protocol: nothing is received.
fn bind(socket: &OwnedFd, index: u32) -> Result<()> {
    // SAFETY: an address is plain data, for which all zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_ifindex = c_int::try_from(index)?;
    let size = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the address is live and as long as is said.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    Errno::result(result).context("binding a packet socket")?;
    Ok(())
}
