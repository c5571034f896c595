//! ARP: the DHCP server's address, where it is nobody else's.

use binding_common::{Reason, arp, dhcp::SERVER_MAC};

use crate::{constants, count, forward, frame::Frame};

/// Answers a request for the server identifier; leaves every other ARP packet to the network.
#[inline(always)]
pub(crate) fn answer(frame: &Frame<'_>) -> Result<Option<i32>, Reason> {
    if constants::ARP_SERVER.load() == 0 {
        return Ok(None);
    }
    let Some(reply) = arp::reply(frame, constants::SERVER_IDENTIFIER.load(), SERVER_MAC) else {
        return Ok(None);
    };
    frame.store(0, reply.as_ptr(), arp::FRAME as u32)?;
    count::arp_reply();
    Ok(Some(forward::answer()))
}
