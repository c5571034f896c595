//! Opening taps the way a VM monitor does: by name, with virtio-net headers, and with the offloads it can take.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc::{self, c_int, c_short, ifreq},
};

use crate::{netns::Namespace, wait::wait_for};

/// How long a tap may be held by nobody who wants it.
const FREE: Duration = Duration::from_secs(5);

/// Size of the header that precedes each frame: the one without `num_buffers`, QEMU's choice for devices before virtio 1.0.
pub const HEADER: usize = 10;
/// Room for the largest frame that a tap can hand out, header included.
pub const FRAME_MAX: usize = 65_536 + 64;

mod ioctl {
    use super::{c_int, ifreq, libc};

    nix::ioctl_write_ptr_bad!(set_iff, libc::TUNSETIFF, ifreq);
    nix::ioctl_write_ptr_bad!(set_header_size, libc::TUNSETVNETHDRSZ, c_int);
    nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
}

/// What the reader of a tap takes in one piece, so that the kernel need not finish it in software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// Partial checksums and TCP segments of 64 KiB, as with virtio-net.
    Virtio,
    /// Partial checksums only.
    Checksum,
    /// Nothing, as with an e1000 or a guest that negotiates no offload.
    None,
}

impl Offloads {
    fn bits(self) -> c_int {
        let bits = match self {
            Self::Virtio => libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN,
            Self::Checksum => libc::TUN_F_CSUM,
            Self::None => 0,
        };
        bits.cast_signed()
    }
}

/// An open queue of a tap, not blocking.
#[derive(Debug)]
pub struct TapFile {
    file: File,
}

impl TapFile {
    /// Opens a tap that is there already.
    pub fn open(namespace: &Namespace, name: &str, offloads: Offloads) -> Result<Self> {
        namespace.run(|| {
            // The ioctl would make a missing tap, and a test would then look at the wrong one.
            nix::net::if_::if_nametoindex(name).with_context(|| format!("no tap {name} in {}", namespace.name()))?;
            Self::attach(name, offloads)
        })
    }

    /// Makes a tap that lives as long as the result.
    pub fn create(namespace: &Namespace, name: &str, offloads: Offloads) -> Result<Self> {
        namespace.run(|| Self::attach(name, offloads))
    }

    /// In the namespace of the calling thread.
    fn attach(name: &str, offloads: Offloads) -> Result<Self> {
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        let bind = || match Self::bind(name, flags) {
            // A tap made for several queues takes only readers that say so.
            Err(Errno::EINVAL) => Self::bind(name, flags | libc::IFF_MULTI_QUEUE),
            other => other,
        };
        // A child that another thread has just started holds what was open then, until it becomes its command.
        let file = wait_for(&format!("the tap {name} to be free"), FREE, || match bind() {
            Err(Errno::EBUSY) => Ok(None),
            other => other.map(Some).with_context(|| format!("opening tap {name}")),
        })?;
        Self::set_up(file, offloads)
    }

    /// Opens a macvtap, whose queues are the openings of a device of its own.
    pub fn open_node(path: &Path, offloads: Offloads) -> Result<Self> {
        let open = || {
            let file = Self::open_file(path)?;
            // Its driver takes the flags and looks at no name.
            let request = request("", libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)?;
            // SAFETY: the descriptor is open and the pointer is to a live ifreq.
            unsafe { ioctl::set_iff(file.as_raw_fd(), &raw const request) }?;
            Ok::<_, Errno>(file)
        };
        Self::set_up(open().with_context(|| format!("opening macvtap {}", path.display()))?, offloads)
    }

    fn set_up(file: File, offloads: Offloads) -> Result<Self> {
        let size = c_int::try_from(HEADER)?;
        // SAFETY: the descriptor is open and the pointer is to a live int.
        unsafe { ioctl::set_header_size(file.as_raw_fd(), &raw const size) }.context("setting the header size")?;
        let tap = Self { file };
        tap.set_offloads(offloads)?;
        Ok(tap)
    }

    /// Changes what the reader takes in one piece, as a guest does when it sets its NIC's features.
    pub fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        // SAFETY: the descriptor is open; the argument is a plain integer.
        unsafe { ioctl::set_offload(self.file.as_raw_fd(), offloads.bits()) }.context("setting the offloads")?;
        Ok(())
    }

    fn bind(name: &str, flags: c_int) -> Result<File, Errno> {
        let file = Self::open_file(Path::new("/dev/net/tun"))?;
        let request = request(name, flags)?;
        // SAFETY: the descriptor is open and the pointer is to a live ifreq.
        unsafe { ioctl::set_iff(file.as_raw_fd(), &raw const request) }?;
        Ok(file)
    }

    fn open_file(path: &Path) -> Result<File, Errno> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Reads one header and frame; nothing when none is waiting.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            // What a tap says while it is down.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(None),
            Err(error) => Err(error).context("reading a tap"),
        }
    }

    /// Writes one header and frame; false when the tap did not take it, because it is down for example.
    pub fn write(&self, data: &[u8]) -> bool {
        (&self.file).write(data).is_ok_and(|size| size == data.len())
    }
}

impl AsFd for TapFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn request(name: &str, flags: c_int) -> Result<ifreq, Errno> {
    // SAFETY: an ifreq is plain data, for which all zero is a value.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    // One byte less than the field: the kernel wants the zero at the end.
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = c_short::try_from(flags).map_err(|_| Errno::EINVAL)?;
    Ok(request)
}

/// The header before each frame (`struct virtio_net_hdr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// 1: the checksum is still to be made; 2: it was verified.
    pub flags: u8,
    /// 0 none, 1 TCP over IPv4, 3 UDP, 4 TCP over IPv6; 0x80 is added for ECN.
    pub gso_type: u8,
    /// Bytes of the headers that each segment repeats.
    pub hdr_len: u16,
    /// Payload of one segment.
    pub gso_size: u16,
    /// Where the checksum begins.
    pub csum_start: u16,
    /// Where, from there, it is to be stored.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Flag: the checksum from `csum_start` on is still to be made.
    pub const NEEDS_CSUM: u8 = 1;

    /// As the tap takes it.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let Self { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset } = self;
        let mut bytes = [0; HEADER];
        bytes[0] = flags;
        bytes[1] = gso_type;
        for (place, value) in bytes[2..].chunks_exact_mut(2).zip([hdr_len, gso_size, csum_start, csum_offset]) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// As the tap gives it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() >= HEADER, "{} bytes are no virtio-net header", bytes.len());
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Ok(Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::VnetHeader;

    #[test]
    fn header_round_trip() {
        let header = VnetHeader { flags: 1, gso_type: 4, hdr_len: 74, gso_size: 1440, csum_start: 54, csum_offset: 16 };
        assert_eq!(VnetHeader::from_bytes(&header.to_bytes()).unwrap(), header);
    }
}
