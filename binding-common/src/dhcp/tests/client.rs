//! What a client sends, for the tests to change.

use super::*;

/// A client's message, to be changed by a test and then put into a frame.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) to: [u8; 4],
    pub(super) source_port: u16,
    pub(super) flags: [u8; 2],
    pub(super) ciaddr: [u8; 4],
    pub(super) giaddr: [u8; 4],
    pub(super) chaddr: MacAddr,
    pub(super) options: Vec<u8>,
    pub(super) ip_options: usize,
}

impl Client {
    pub(super) fn new(message_type: u8) -> Self {
        Self {
            to: ANY,
            source_port: CLIENT_PORT,
            flags: [0, 0],
            ciaddr: NONE,
            giaddr: NONE,
            chaddr: GUEST,
            options: [53, 1, message_type].to_vec(),
            ip_options: 0,
        }
    }

    pub(super) fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, u8::try_from(value.len()).unwrap()]);
        self.options.extend(value);
        self
    }

    pub(super) fn ciaddr(mut self, address: [u8; 4]) -> Self {
        self.ciaddr = address;
        self
    }

    pub(super) fn to(mut self, address: [u8; 4]) -> Self {
        self.to = address;
        self
    }

    /// The frame, padded to the 300 octets that BOOTP has.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut message = [0; 240].to_vec();
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[4..8].copy_from_slice(&[1, 2, 3, 4]);
        message[10..12].copy_from_slice(&self.flags);
        message[12..16].copy_from_slice(&self.ciaddr);
        message[24..28].copy_from_slice(&self.giaddr);
        message[28..34].copy_from_slice(&self.chaddr.0);
        message[236..].copy_from_slice(&[99, 130, 83, 99]);
        message.extend(&self.options);
        message.push(255);
        message.resize(message.len().max(300), 0);

        let mut frame = Vec::new();
        frame.extend([0xff; 6]);
        frame.extend(GUEST.0);
        frame.extend(packet::ETH_P_IP);
        let ihl = u8::try_from(5 + self.ip_options).unwrap();
        frame.extend([0x40 | ihl, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(self.ciaddr);
        frame.extend(self.to);
        frame.resize(frame.len() + self.ip_options * 4, 1);
        frame.extend(self.source_port.to_be_bytes());
        frame.extend([0, 67]);
        frame.extend(u16::try_from(8 + message.len()).unwrap().to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(message);
        frame
    }

    pub(super) fn ask(&self) -> Result<(Request, Decision), Reason> {
        ask(&self.frame()).map(|answer| answer.expect("it is for this server"))
    }

    pub(super) fn reply(&self) -> (Reply, Destination) {
        match self.ask() {
            Ok((_, Decision::Reply(reply, to))) => (reply, to),
            other => panic!("no reply: {other:?}"),
        }
    }
}
