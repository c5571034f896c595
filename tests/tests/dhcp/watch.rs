//! What a DHCP message is, on either side of tapwire.

use std::{net::Ipv4Addr, time::Duration};

use lab::{RawPort, raw::Seen};

/// A UDP datagram's addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) to: Ipv4Addr,
    pub(crate) ports: (u16, u16),
}

/// Reads an IPv4 frame with UDP in it.
pub(crate) fn datagram(frame: &[u8]) -> Option<Datagram> {
    if frame.get(12..14)? != [8, 0] || *frame.get(23)? != 17 {
        return None;
    }
    let ports = 14 + usize::from(frame[14] & 15) * 4;
    let port = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let to: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
    Some(Datagram { to: to.into(), ports: (port(ports)?, port(ports + 2)?) })
}

/// Of a client or to a server.
pub(crate) fn is_of_a_client(frame: &[u8]) -> bool {
    datagram(frame).is_some_and(|udp| udp.ports.0 == 68 || udp.ports.1 == 67)
}

/// All that waits at a port.
pub(crate) fn all(port: &RawPort) -> Vec<Seen> {
    port.collect(Duration::ZERO).unwrap()
}

/// Fails if a DHCP message of the guest is among the frames that the host side received, or if it received none at all.
pub(crate) fn assert_silent(host: &RawPort) {
    let seen = all(host);
    assert!(seen.iter().any(|seen| !seen.outgoing), "the watch saw nothing of the guest: it watched the wrong link");
    let leaked: Vec<_> = seen.iter().filter(|seen| is_of_a_client(&seen.data)).collect();
    assert!(leaked.is_empty(), "DHCP of the guest on the network: {leaked:?}");
}

/// Where the guest sent its DHCP messages to since the last call.
pub(crate) fn sent_to(guest: &RawPort) -> Vec<Ipv4Addr> {
    let of_client = all(guest).into_iter().filter(|seen| seen.outgoing && is_of_a_client(&seen.data));
    of_client.filter_map(|seen| datagram(&seen.data)).map(|udp| udp.to).collect()
}
