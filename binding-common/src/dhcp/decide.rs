//! Decides what becomes of a client's message (RFC 2131, 4.3).
//!
//! There is one lease, and this server is the only one on the link between tap and guest: it is authoritative. So a
//! client that asks for any other address gets a NAK at once, in every state, and starts anew; it need not wait for a
//! timer to find out that its address has changed.

use super::{CLIENT_PORT, Request, SERVER_PORT, reply::Destination};
use crate::{
    MacAddr,
    counters::{DhcpMessage, Reason},
};

/// Values of option 53 (RFC 2132, 9.6).
mod message_type {
    pub(super) const DISCOVER: u8 = 1;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const DECLINE: u8 = 4;
    pub(super) const RELEASE: u8 = 7;
    pub(super) const INFORM: u8 = 8;
}

const NO_ADDRESS: [u8; 4] = [0; 4];
const BROADCAST_ADDRESS: [u8; 4] = [255; 4];

/// What the server is and what it has to give: constants of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address of the lease.
    pub lease: [u8; 4],
    /// The server identifier.
    pub identifier: [u8; 4],
    /// The guest's MAC.
    pub guest: MacAddr,
}

/// The replies that user space lays out; the discriminant is their place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK to a DHCPREQUEST.
    Ack,
    /// DHCPNAK.
    Nak,
    /// DHCPACK to a DHCPINFORM: no address, no times.
    Inform,
    /// DHCPACK to a DHCPDISCOVER (RFC 4039).
    RapidCommit,
}

impl Reply {
    /// How many there are.
    pub const COUNT: u32 = 5;

    /// The counter of a reply that was sent.
    #[inline(always)]
    pub fn counter(self) -> DhcpMessage {
        match self {
            Self::Offer => DhcpMessage::Offer,
            Self::Ack | Self::Inform | Self::RapidCommit => DhcpMessage::Ack,
            Self::Nak => DhcpMessage::Nak,
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answered.
    Reply(Reply, Destination),
    /// Taken note of; the protocol has no answer for it.
    Consume,
}

/// Whose is a message, judged by its headers alone? `Ok(true)`: ours; `Ok(false)`: it goes on to the network.
///
/// Only what a relay sends to another server, and to it alone, may leave: from the client port nothing does, whichever
/// server it names, or a guest that renews with a server of its past would be answered by whoever now has that address.
#[inline(always)]
pub fn addressed(request: &Request, server: &Server) -> Result<bool, Reason> {
    if request.sent_to == BROADCAST_ADDRESS || request.sent_to == server.identifier {
        return if request.fragment { Err(Reason::DhcpMalformed) } else { Ok(true) };
    }
    let to_one = !request.to_group && (1..224).contains(&request.sent_to[0]);
    if request.source_port == SERVER_PORT && to_one { Ok(false) } else { Err(Reason::DhcpOtherServer) }
}

/// The counter of a message that was received; `None` for a type that this server does not know.
#[inline(always)]
pub fn received(request: &Request) -> Option<DhcpMessage> {
    match request.message_type {
        message_type::DISCOVER => Some(DhcpMessage::Discover),
        message_type::REQUEST => Some(DhcpMessage::Request),
        message_type::DECLINE => Some(DhcpMessage::Decline),
        message_type::RELEASE => Some(DhcpMessage::Release),
        message_type::INFORM => Some(DhcpMessage::Inform),
        _ => None,
    }
}

/// The state table of the server.
#[inline(always)]
pub fn decide(request: &Request, server: &Server) -> Result<Decision, Reason> {
    if !request.is_from(server.guest) {
        return Err(Reason::DhcpNotGuest);
    }
    let reply = match received(request).ok_or(Reason::DhcpUnknownType)? {
        // "The client may include a suggestion" (3.1): whatever it suggests, there is one address.
        DhcpMessage::Discover if request.rapid_commit => Reply::RapidCommit,
        DhcpMessage::Discover => Reply::Offer,
        DhcpMessage::Request => requested(request, server)?,
        // A client that forgets `ciaddr` still has its address in the IPv4 header, and is answered there, as by Kea.
        DhcpMessage::Inform if request.ciaddr != NO_ADDRESS || request.sent_from == server.lease => Reply::Inform,
        DhcpMessage::Inform => return Err(Reason::DhcpMalformed),
        // The lease is kept for the guest: nobody else can have it.
        _ => return Ok(Decision::Consume),
    };
    Ok(Decision::Reply(reply, destination(request, server, reply)))
}

/// DHCPREQUEST in its four states (4.3.2).
#[inline(always)]
fn requested(request: &Request, server: &Server) -> Result<Reply, Reason> {
    let address = if request.server != NO_ADDRESS {
        // SELECTING. A client that chose another server is left to it.
        if request.server != server.identifier {
            return Err(Reason::DhcpOtherServer);
        }
        // Some clients put the address into `ciaddr` here as well.
        if request.requested == NO_ADDRESS { request.ciaddr } else { request.requested }
    } else if request.ciaddr == NO_ADDRESS {
        // INIT-REBOOT.
        request.requested
    } else {
        // RENEWING, REBINDING.
        request.ciaddr
    };
    match address {
        NO_ADDRESS => Err(Reason::DhcpMalformed),
        address if address == server.lease => Ok(Reply::Ack),
        _ => Ok(Reply::Nak),
    }
}

/// Where the answer goes (4.1). A NAK is broadcast, since the client's address is what is wrong.
///
/// One case is not by the letter: a NAK to a renewal that was sent to this server alone goes back alone. Clients in that
/// state (dhcpcd, `NetworkManager`, systemd-networkd) listen on a socket that is bound to their address and never hear a
/// broadcast; they would keep the lost address until they rebind, for seven eighths of the lease. The letter is for
/// servers that may be behind a router; this one shares the link with the client, and its unicast has just arrived.
#[inline(always)]
fn destination(request: &Request, server: &Server, reply: Reply) -> Destination {
    let unicast = |address, port| Destination { mac: request.source_mac, address, port };
    let renewing = request.ciaddr != NO_ADDRESS && request.sent_to == server.identifier;
    let broadcast = Destination { mac: MacAddr::BROADCAST, address: BROADCAST_ADDRESS, port: CLIENT_PORT };
    if request.giaddr != NO_ADDRESS {
        unicast(request.giaddr, SERVER_PORT)
    } else if reply == Reply::Nak && !renewing {
        broadcast
    } else if request.ciaddr != NO_ADDRESS {
        unicast(request.ciaddr, CLIENT_PORT)
    } else if request.wants_broadcast() {
        broadcast
    } else {
        unicast(server.lease, CLIENT_PORT)
    }
}
