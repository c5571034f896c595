//! How long a guest waits for its lease: from the write of a frame into the tap until the answer has been read.

use std::{
    net::Ipv4Addr,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    bench::path::Joined,
    discover::discover,
    tap::{FRAME_MAX, HEADER, Offloads, TapFile, VnetHeader},
};

/// Where DHCP begins in a frame without options of IPv4.
const MESSAGE: usize = 42;
/// Where the options begin, behind the cookie.
const OPTIONS: usize = 282;
/// A server that takes longer has not understood.
const PATIENCE: Duration = Duration::from_secs(5);
/// What `udhcpc` asks for, with classless routes and the MTU.
const ASKED: [u8; 11] = [55, 9, 1, 3, 6, 12, 15, 26, 28, 42, 121];

/// A client that is nothing but a tap.
#[derive(Debug)]
pub(super) struct Client {
    tap: TapFile,
    mac: [u8; 6],
    xid: u32,
    buffer: Vec<u8>,
}

/// Microseconds of one lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From DISCOVER to OFFER.
    pub(super) offer: f64,
    /// From REQUEST to ACK.
    pub(super) ack: f64,
}

/// What of an answer the next question needs.
struct Answer {
    time: f64,
    address: Ipv4Addr,
    server: Ipv4Addr,
}

impl Client {
    pub(super) fn new(joined: &Joined) -> Result<Self> {
        let tap = joined.open(Offloads::Virtio)?;
        Ok(Self { tap, mac: joined.guest.mac, xid: 0x7470_0000, buffer: vec![0; FRAME_MAX] })
    }

    /// Takes a lease as a client does that has none.
    pub(super) fn lease(&mut self) -> Result<Times> {
        let Answer { time: offer, address, server } = self.ask(1, 2, &[]).context("DISCOVER")?;
        let choice = [&[50, 4][..], &address.octets(), &[54, 4], &server.octets()].concat();
        let Answer { time: ack, address: given, .. } = self.ask(3, 5, &choice).context("REQUEST")?;
        ensure!(given == address, "{address} was offered and {given} given");
        Ok(Times { offer, ack })
    }

    fn ask(&mut self, kind: u8, wanted: u8, options: &[u8]) -> Result<Answer> {
        self.xid += 1;
        let frame = message(self.mac, self.xid, kind, options);
        let data = [&VnetHeader::default().to_bytes()[..], &frame].concat();
        let start = Instant::now();
        ensure!(self.tap.write(&data), "the tap did not take it");
        loop {
            let size = self.next(start + PATIENCE)?;
            let time = start.elapsed().as_secs_f64() * 1e6;
            if let Some((address, server)) = answer(&self.buffer[HEADER..size], self.xid, wanted) {
                return Ok(Answer { time, address, server });
            }
        }
    }

    /// The next frame. Who has it ready at once is not made to wait for a poll.
    fn next(&mut self, end: Instant) -> Result<usize> {
        loop {
            if let Some(size) = self.tap.read(&mut self.buffer)? {
                return Ok(size);
            }
            let left = end.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no answer within {PATIENCE:?}");
            let mut ready = [PollFd::new(self.tap.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
                .context("waiting for an answer")?;
        }
    }
}

/// A frame with a message of a kind, and more options.
fn message(mac: [u8; 6], xid: u32, kind: u8, options: &[u8]) -> Vec<u8> {
    let mut frame = discover(mac, xid);
    let all = [&[53, 1, kind][..], options, &ASKED, &[255]].concat();
    frame[OPTIONS..OPTIONS + all.len()].copy_from_slice(&all);
    // A server in user space gets it from the kernel's stack, which looks at the header's checksum.
    let sum: u32 = frame[14..34].chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!u16::try_from(sum).unwrap_or(0)).to_be_bytes());
    frame
}

/// Address and server of a reply of that kind to that question; nothing for any other frame.
fn answer(frame: &[u8], xid: u32, wanted: u8) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let quad = |at: usize| frame.get(at..at + 4)?.try_into().ok().map(|octets: [u8; 4]| octets);
    let is_reply = frame.get(12..14)? == [8, 0] && frame.get(23)? == &17 && frame.get(MESSAGE)? == &2;
    if !is_reply || quad(MESSAGE + 4)? != xid.to_be_bytes() {
        return None;
    }
    let (mut kind, mut server) = (0, None);
    let mut at = OPTIONS;
    while let [code, length, ..] = frame.get(at..)? {
        match code {
            0 => {
                at += 1;
                continue;
            }
            53 => kind = *frame.get(at + 2)?,
            54 => server = quad(at + 2),
            255 => break,
            _ => {}
        }
        at += 2 + usize::from(*length);
        if frame.get(at) == Some(&255) {
            break;
        }
    }
    (kind == wanted).then_some((quad(MESSAGE + 16)?.into(), server?.into()))
}

#[cfg(test)]
mod tests {
    use super::{OPTIONS, answer, message};

    #[test]
    fn only_the_answer_to_the_question_is_taken() {
        let mut reply = message([2, 0, 0, 0, 0, 1], 7, 2, &[54, 4, 10, 0, 0, 1]);
        reply[42] = 2;
        reply[58..62].copy_from_slice(&[10, 0, 0, 5]);
        assert_eq!(answer(&reply, 7, 2), Some(([10, 0, 0, 5].into(), [10, 0, 0, 1].into())));
        assert_eq!(answer(&reply, 8, 2), None);
        assert_eq!(answer(&reply, 7, 5), None);
        assert_eq!(answer(&reply[..OPTIONS], 7, 2), None);
    }
}
