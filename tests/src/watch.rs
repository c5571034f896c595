//! DHCP among the frames that a [`RawPort`] saw: to tell where a client sent what, and that nothing of it went elsewhere.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};

use crate::raw::{RawPort, Seen};

/// A UDP datagram's destination and its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Destination address.
    pub to: Ipv4Addr,
    /// Source and destination port.
    pub ports: (u16, u16),
}

/// Reads an IPv4 frame with UDP in it.
pub fn datagram(frame: &[u8]) -> Option<Datagram> {
    if frame.get(12..14)? != [8, 0] || *frame.get(23)? != 17 {
        return None;
    }
    let ports = 14 + usize::from(frame[14] & 15) * 4;
    let port = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let to: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
    Some(Datagram { to: to.into(), ports: (port(ports)?, port(ports + 2)?) })
}

/// Of a DHCP client or to a server.
pub fn is_of_a_client(frame: &[u8]) -> bool {
    datagram(frame).is_some_and(|udp| udp.ports.0 == 68 || udp.ports.1 == 67)
}

/// All that waits at a port.
pub fn all(port: &RawPort) -> Result<Vec<Seen>> {
    port.collect(Duration::ZERO)
}

/// Fails if a DHCP message of a client is among the frames that the port received, or if it received none at all.
pub fn heard_no_client(port: &RawPort) -> Result<()> {
    let seen = all(port)?;
    ensure!(seen.iter().any(|seen| !seen.outgoing), "nothing was received: the watch was at the wrong link");
    let leaked: Vec<_> = seen.iter().filter(|seen| is_of_a_client(&seen.data)).collect();
    ensure!(leaked.is_empty(), "DHCP of the guest on the network: {leaked:?}");
    Ok(())
}

/// Where a client's messages among those that wait at a port were sent to. Of a port on the guest's NIC or on its tap.
pub fn sent_to(port: &RawPort) -> Result<Vec<Ipv4Addr>> {
    let seen = all(port)?;
    let of_client = seen.iter().filter(|seen| is_of_a_client(&seen.data));
    Ok(of_client.filter_map(|seen| datagram(&seen.data)).map(|udp| udp.to).collect())
}
