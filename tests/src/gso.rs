//! TCP segments that are still to be cut and summed, sent out of a link as the node's own stack hands them over.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc::{self, c_int},
    net::if_::if_nametoindex,
    sys::socket::{MsgFlags, send},
};

use crate::{
    netns::Namespace,
    raw::{bind, set},
    tap::VnetHeader,
};

/// Octets of the headers of Ethernet, IPv4 and TCP without options.
pub const HEADERS: usize = 54;
/// TCP over IPv4.
pub const TCP_V4: u8 = 1;

/// A packet socket that sends frames with a virtio-net header, and receives nothing.
#[derive(Debug)]
pub struct GsoPort {
    socket: OwnedFd,
}

impl GsoPort {
    /// Opens a link of a namespace.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self> {
        namespace.run(|| {
            let index = if_nametoindex(link).with_context(|| format!("no link {link} in {}", namespace.name()))?;
            // SAFETY: no pointer is passed. Protocol 0 receives nothing.
            let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            let fd: c_int = Errno::result(fd).context("opening a packet socket")?;
            // SAFETY: the descriptor is new and nobody else's.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            set(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
            bind(&socket, index, 0).with_context(|| format!("binding to {link}"))?;
            Ok(Self { socket })
        })
    }

    /// Sends a frame of [`tcp`], to be cut into segments with this much payload.
    pub fn send(&self, frame: &[u8], gso_size: u16) -> Result<()> {
        let data = [&header(gso_size).to_bytes()[..], frame].concat();
        let size = send(self.socket.as_raw_fd(), &data, MsgFlags::empty()).context("sending a frame to be cut")?;
        ensure!(size == data.len(), "only {size} bytes of a frame were sent");
        Ok(())
    }
}

/// The header of a frame of [`tcp`].
pub fn header(gso_size: u16) -> VnetHeader {
    VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: TCP_V4,
        hdr_len: 54,
        gso_size,
        csum_start: 34,
        csum_offset: 16,
    }
}

/// A TCP segment over IPv4 of `len` octets in all, with the sum of the pseudo header alone; its payload tells its place.
pub fn tcp([to, from]: [[u8; 6]; 2], [source, destination]: [[u8; 4]; 2], len: usize) -> Result<Vec<u8>> {
    let [high, low] = u16::try_from(len - 14)?.to_be_bytes();
    let mut ip = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[12..16].copy_from_slice(&source);
    ip[16..].copy_from_slice(&destination);
    let [high, low] = sum(&ip, 0);
    ip[10..12].copy_from_slice(&[!high, !low]);
    let mut tcp = [0x9c, 0x40, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    tcp[16..18].copy_from_slice(&sum(&ip[12..], 6 + u32::try_from(len - 34)?));
    let mut frame = [&to[..], &from, &[8, 0], &ip, &tcp].concat();
    // A prime, so that no power of two hides a shift.
    frame.extend((0..251).cycle().take(len - HEADERS));
    Ok(frame)
}

/// The ones' complement sum of octets and a number.
fn sum(octets: &[u8], start: u32) -> [u8; 2] {
    let mut sum = octets
        .chunks(2)
        .fold(start, |sum, pair| sum + (u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from)));
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    [high, low]
}

/// Whether the TCP checksum of an IPv4 frame is right. Of a frame that starts with Ethernet's 14 octets and no tag.
pub fn is_summed(frame: &[u8]) -> bool {
    let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let length = u32::try_from(end - 34).unwrap_or(u32::MAX);
    sum(&[&frame[26..34], &frame[34..end]].concat(), 6 + length) == [0xff, 0xff]
}

#[cfg(test)]
mod tests {
    use super::{is_summed, sum, tcp};

    #[test]
    fn a_sum_that_is_filled_in_is_right() {
        let mut frame = tcp([[2; 6], [4; 6]], [[10, 0, 0, 1], [10, 0, 0, 2]], 1000).unwrap();
        assert!(!is_summed(&frame));
        let [high, low] = sum(&frame[34..], 0);
        frame[50..52].copy_from_slice(&[!high, !low]);
        assert!(is_summed(&frame));
        assert_eq!(sum(&frame[14..34], 0), [0xff, 0xff]);
    }
}
