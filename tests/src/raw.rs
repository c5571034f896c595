//! Single frames: written to and read from a tap as a VM would, and seen or sent on any link.

use std::{
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    libc::{self, c_int},
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, send},
};

use crate::{
    netns::Namespace,
    pod::Pod,
    portal,
    tap::{FRAME_MAX, HEADER, Offloads, TapFile, VnetHeader},
};

/// Waits until there is something to read; false when the time is over.
fn readable(fd: impl std::os::fd::AsFd, end: Instant) -> Result<bool> {
    let left = end.saturating_duration_since(Instant::now());
    // Rounded up, or the last millisecond would be spent in a busy loop.
    let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    let mut ready = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut ready, timeout).context("waiting for a frame")? > 0)
}

/// The tap as a VM monitor holds it, frame by frame.
#[derive(Debug)]
pub struct TapPort {
    tap: TapFile,
}

impl TapPort {
    /// Opens a tap that is there already.
    pub fn open(namespace: &Namespace, tap: &str, offloads: Offloads) -> Result<Self> {
        Ok(Self { tap: TapFile::open(namespace, tap, offloads)? })
    }

    /// [`open`](Self::open), and waits until the kernel has taken notice of the carrier. Before that, it drops what goes
    /// out of the tap, and a bridge what it would send there.
    pub fn ready(namespace: &Namespace, tap: &str, offloads: Offloads) -> Result<Self> {
        let port = Self::open(namespace, tap, offloads)?;
        namespace.wait_for_carrier(tap)?;
        Ok(port)
    }

    /// [`ready`](Self::ready) for a tap of a pod: its portal is ready, too, if it has one.
    pub fn behind(pod: &Pod, tap: &str, offloads: Offloads) -> Result<Self> {
        let port = Self::ready(&pod.namespace, tap, offloads)?;
        portal::wait_for(pod, tap)?;
        Ok(port)
    }

    /// Sends a frame with an empty header: complete, nothing to segment.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_with(VnetHeader::default(), frame)
    }

    /// Sends a frame with a chosen header.
    pub fn send_with(&self, header: VnetHeader, frame: &[u8]) -> Result<()> {
        let mut data = header.to_bytes().to_vec();
        data.extend_from_slice(frame);
        ensure!(self.tap.write(&data), "the tap did not take a frame of {} bytes (is it up?)", frame.len());
        Ok(())
    }

    /// The next frame that reaches the guest, or nothing in that time.
    pub fn receive(&self, within: Duration) -> Result<Option<(VnetHeader, Vec<u8>)>> {
        let end = Instant::now() + within;
        let mut buffer = vec![0; FRAME_MAX];
        loop {
            if let Some(size) = self.tap.read(&mut buffer)? {
                let header = VnetHeader::from_bytes(&buffer[..size])?;
                return Ok(Some((header, buffer[HEADER..size].to_vec())));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            if readable(&self.tap, end)? {
                // Ready and nothing there a moment ago: the tap may be down, and polling it again at once would spin.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// The next frame that `wanted` accepts; others are passed over.
    pub fn expect(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<(VnetHeader, Vec<u8>)> {
        let end = Instant::now() + within;
        while let Some((header, frame)) = self.receive(end.saturating_duration_since(Instant::now()))? {
            if wanted(&frame) {
                return Ok((header, frame));
            }
        }
        bail!("waited {:.1} s in vain at the tap for {what}", within.as_secs_f64())
    }

    /// Throws away what is waiting.
    pub fn drain(&self) -> Result<usize> {
        let mut buffer = vec![0; FRAME_MAX];
        let mut count = 0;
        while self.tap.read(&mut buffer)?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// A frame that a [`RawPort`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The frame, from its destination MAC on, with its VLAN tag where the sender put it: the kernel keeps the outermost
    /// one beside the frame, and here it is back.
    pub data: Vec<u8>,
    /// Octets before the tag was put back, as the programs count them.
    pub untagged: usize,
    /// Whether the link's own namespace sent it, rather than received it.
    pub outgoing: bool,
}

/// Octets that may wait to be read, the kernel's own included.
const BUFFER: c_int = 32 << 20;

/// A packet socket on a link: sees all frames, in both directions, and can send.
#[derive(Debug)]
pub struct RawPort {
    socket: OwnedFd,
}

impl RawPort {
    /// Opens a link of a namespace.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self> {
        namespace.run(|| {
            let index = if_nametoindex(link).with_context(|| format!("no link {link} in {}", namespace.name()))?;
            let protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: no pointer is passed.
            let fd = unsafe { libc::socket(libc::AF_PACKET, kind, c_int::from(protocol)) };
            let fd = Errno::result(fd).context("opening a packet socket")?;
            // SAFETY: the descriptor is new and nobody else's.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
            // Tests that nothing leaves look at the end: nothing may be lost until then.
            set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
            bind(&socket, index, protocol).with_context(|| format!("binding to {link}"))?;
            Ok(Self { socket })
        })
    }

    /// Sends past the queue of the link, and past all programs and rules of its egress, as generators of load do.
    pub fn bypass_queue(&self) -> Result<()> {
        set(&self.socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)
    }

    /// Sends a frame out of the link. That a program at the link's egress or a full queue drops it, of which the kernel tells
    /// the sender, is no error: whether it arrives is for others to see.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let size = match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
            Err(Errno::ENOBUFS) => return Ok(()),
            sent => sent.context("sending a frame")?,
        };
        ensure!(size == frame.len(), "only {size} bytes of a frame were sent");
        Ok(())
    }

    /// The next frame, or nothing in that time.
    pub fn receive(&self, within: Duration) -> Result<Option<Seen>> {
        let end = Instant::now() + within;
        loop {
            if let Some(seen) = self.take()? {
                return Ok(Some(seen));
            }
            if !readable(&self.socket, end)? || Instant::now() >= end {
                return self.take();
            }
        }
    }

    /// The next frame that `wanted` accepts; others are passed over.
    pub fn expect(&self, what: &str, within: Duration, mut wanted: impl FnMut(&Seen) -> bool) -> Result<Seen> {
        let end = Instant::now() + within;
        while let Some(seen) = self.receive(end.saturating_duration_since(Instant::now()))? {
            if wanted(&seen) {
                return Ok(seen);
            }
        }
        bail!("waited {:.1} s in vain on the link for {what}", within.as_secs_f64())
    }

    /// All frames that come in that time: for tests that nothing leaves.
    pub fn collect(&self, during: Duration) -> Result<Vec<Seen>> {
        let end = Instant::now() + during;
        let mut all = Vec::new();
        while let Some(seen) = self.receive(end.saturating_duration_since(Instant::now()))? {
            all.push(seen);
        }
        Ok(all)
    }

    fn take(&self) -> Result<Option<Seen>> {
        let mut buffer = vec![0; FRAME_MAX];
        // SAFETY: an address is plain data, for which all zero is a value.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        // Room, and alignment, for one control message with a `tpacket_auxdata`.
        let mut control = [0_u64; 8];
        let mut into = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: as above.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = address_size();
        message.msg_iov = &raw mut into;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: all that the header points to is live and as long as it says.
        let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        match Errno::result(received) {
            Ok(received) => {
                let untagged = usize::try_from(received)?;
                buffer.truncate(untagged);
                if let Some(tag) = tag_beside(&message) {
                    buffer.splice(12..12, tag);
                }
                Ok(Some(Seen { data: buffer, untagged, outgoing: from.sll_pkttype == libc::PACKET_OUTGOING }))
            }
            // ENETDOWN comes once when the link goes down; frames may come again.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
            Err(error) => Err(error).context("receiving a frame"),
        }
    }
}

/// The VLAN tag that came beside a frame: type and TCI, as they stand on the wire.
fn tag_beside(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel filled the control buffer in, and its size.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a message of this type holds one; it need not be aligned.
    let data = unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let [type0, type1] = data.tp_vlan_tpid.to_be_bytes();
    let [tci0, tci1] = data.tp_vlan_tci.to_be_bytes();
    Some([type0, type1, tci0, tci1])
}

/// Sets an integer option of a socket.
pub(crate) fn set(socket: &OwnedFd, level: c_int, option: c_int, value: c_int) -> Result<()> {
    let size = libc::socklen_t::try_from(size_of::<c_int>())?;
    // SAFETY: the value is live and as long as is said.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    Errno::result(result).with_context(|| format!("setting option {option} of a packet socket"))?;
    Ok(())
}

fn address_size() -> libc::socklen_t {
    // 20 bytes.
    libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default()
}

/// Binds a packet socket to a link.
pub(crate) fn bind(socket: &OwnedFd, index: u32, protocol: u16) -> Result<()> {
    // SAFETY: an address is plain data, for which all zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = protocol;
    address.sll_ifindex = c_int::try_from(index)?;
    // SAFETY: the address is live and as long as is said.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), address_size()) };
    Errno::result(result)?;
    Ok(())
}
