//! passt: a process in the pod that ends the guest's connections and makes them anew with sockets of the pod.
//!
//! It is no wire: TCP, UDP and echo requests pass, other frames do not. The guest's end is a stream socket of QEMU's, with
//! the length before each frame and no virtio-net header, so a frame has its checksums, and is as large as the guest's MTU
//! at most; passt tells the guest 65520 if nobody says otherwise.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::Stdio,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use super::{Joined, Kind, Maker, quiet_pod};
use crate::{
    cmd::{self, Running},
    pod::HOST_MAC,
    port::FramePort,
    tap::{HEADER, Offloads},
    wait::wait_for,
};

/// What passt has the guest take.
const MTU: u16 = 65520;
/// Octets of the length before a frame, the highest first.
const LENGTH: usize = 4;

/// The process, with the folder of its socket.
#[derive(Debug)]
pub(super) struct Passt {
    process: Running,
    folder: TempDir,
}

impl Passt {
    /// Connects as QEMU does. passt takes one client at a time.
    pub(super) fn connect(&self) -> Result<StreamPort> {
        StreamPort::connect(&self.folder.path().join("socket"))
    }
}

pub(super) fn missing() -> Option<String> {
    let Err(error) = cmd::run(&["passt", "--version"]) else { return None };
    Some(format!("no passt: {error:#}"))
}

pub(super) fn join(label: &str) -> Result<Joined> {
    let pod = quiet_pod(label)?;
    let folder = TempDir::with_prefix("twt-passt-")?;
    let socket = folder.path().join("socket");
    let socket = socket.to_str().context("the path of a temporary folder")?;
    // The far end is the gateway, which passt takes for its own host unless it is told not to.
    let line =
        ["passt", "--foreground", "--quiet", "--ipv4-only", "--no-map-gw", "--runas", "0", "--mac-addr", HOST_MAC];
    let mut command = cmd::command(&[&line[..], &["--interface", &pod.nic, "--socket", socket]].concat())?;
    let process = pod.namespace.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let mut passt = Passt { process, folder };
    wait_for("passt's socket", Duration::from_secs(5), || {
        let ended = passt.process.ended()?;
        ensure!(ended.is_none(), "passt has ended: {ended:?}");
        Ok(Path::new(socket).exists().then_some(()))
    })?;
    let facts = format!("passt with a stream socket, the guest's MTU {MTU}");
    let mut joined = Joined::in_pod(Kind::Passt, pod, Maker::Passt(passt), facts)?;
    joined.mtu = MTU;
    Ok(joined)
}

/// The stream of frames.
#[derive(Debug)]
pub struct StreamPort {
    stream: UnixStream,
    /// What was read of frames that are not whole yet.
    begun: Mutex<Begun>,
}

#[derive(Debug)]
struct Begun {
    octets: Vec<u8>,
    from: usize,
    to: usize,
}

impl StreamPort {
    fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("connecting to passt")?;
        stream.set_nonblocking(true)?;
        let begun = Begun { octets: vec![0; 1 << 20], from: 0, to: 0 };
        Ok(Self { stream, begun: Mutex::new(begun) })
    }

    /// Writes all of it, waiting where the socket is full: a part of a frame would spoil all that follow. What comes
    /// meanwhile is kept, or both ends would wait for each other: passt reads nothing while it writes.
    fn write_whole(&self, mut octets: &[u8]) -> Result<()> {
        while !octets.is_empty() {
            match (&self.stream).write(octets) {
                Ok(size) => octets = &octets[size..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT | PollFlags::POLLIN)];
                    poll(&mut ready, PollTimeout::NONE)?;
                    if ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
                        self.begun()?.fill(&self.stream)?;
                    }
                }
                Err(error) => return Err(error).context("writing to passt"),
            }
        }
        Ok(())
    }

    fn begun(&self) -> Result<MutexGuard<'_, Begun>> {
        self.begun.lock().map_err(|_| anyhow::anyhow!("a reader of passt's socket panicked"))
    }
}

impl Begun {
    /// Reads what has come; `false` if nothing has.
    fn fill(&mut self, mut stream: &UnixStream) -> Result<bool> {
        self.octets.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.to == self.octets.len() {
            self.octets.resize(self.to * 2, 0);
        }
        match stream.read(&mut self.octets[self.to..]) {
            Ok(0) => anyhow::bail!("passt has closed the connection"),
            Ok(size) => self.to += size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("reading from passt"),
        }
        Ok(true)
    }

    /// Takes the first whole frame.
    fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (length, rest) = self.octets[self.from..self.to].split_first_chunk::<LENGTH>()?;
        let len = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let frame = rest.get(..len)?;
        buffer[..HEADER].fill(0);
        buffer[HEADER..HEADER + len].copy_from_slice(frame);
        self.from += LENGTH + len;
        Some(HEADER + len)
    }
}

impl FramePort for StreamPort {
    fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let mut begun = self.begun()?;
        if let Some(len) = begun.take(buffer) {
            return Ok(Some(len));
        }
        Ok(if begun.fill(&self.stream)? { begun.take(buffer) } else { None })
    }

    fn write(&self, data: &[u8]) -> bool {
        let Some(frame) = data.get(HEADER..) else { return false };
        let Ok(len) = u32::try_from(frame.len()) else { return false };
        let whole = [&len.to_be_bytes()[..], frame].concat();
        self.write_whole(&whole).is_ok()
    }

    fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        ensure!(offloads == Offloads::None, "frames of this socket have no header for {offloads:?}");
        Ok(())
    }
}

impl AsFd for StreamPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
