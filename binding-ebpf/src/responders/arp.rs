//! ARP: the addresses that the network does not answer for, where it is to be like that; and the way to the server.

use aya_ebpf::{macros::map, maps::HashMap};
use binding_common::{
    MacAddr, Reason,
    arp::{self, FRAME, MAX_NEIGHBOURS, answers},
};

use crate::{constants, count, forward, frame::Frame, guest};

/// The MACs of the addresses that are answered for.
#[map]
static NEIGHBOURS: HashMap<[u8; 4], MacAddr> = HashMap::with_max_entries(MAX_NEIGHBOURS, BPF_F_NO_PREALLOC);

/// Of `linux/bpf.h`: memory for the few entries that there are, not for all that there could be.
const BPF_F_NO_PREALLOC: u32 = 1;

/// Answers a request for an address of the table, or for any; leaves every other ARP packet to the network.
#[inline(always)]
pub(crate) fn answer(frame: &Frame<'_>) -> Result<Option<i32>, Reason> {
    if constants::ARP.load() == answers::NONE {
        return Ok(None);
    }
    let Some(request) = arp::Request::read(frame) else { return Ok(None) };
    if !request.asks_for_another(constants::LEASE_ADDRESS.load()) {
        return Ok(None);
    }
    // SAFETY: the entry is copied, and nobody changes it while the programs run.
    let mac = match unsafe { NEIGHBOURS.get(request.target) } {
        Some(mac) => *mac,
        // A probe is for an address that the guest wants to take: that it is in use is not ours to say.
        None if constants::ARP.load() == answers::ALL && !request.is_probe() => {
            MacAddr::from_number(constants::GATEWAY_MAC.load())
        }
        None => return Ok(None),
    };
    reply(frame, &request, mac).map(Some)
}

/// Tells a client whose address was lost where its server is; every other packet that got here is the spoofed one that the
/// guard takes it for.
#[inline(always)]
pub(crate) fn lead_to_server(frame: &Frame<'_>) -> Result<i32, Reason> {
    let is_answered = constants::DHCP.load() != 0 && frame.untagged();
    match arp::Request::read(frame) {
        Some(request) if is_answered && request.looks_for(constants::SERVER_IDENTIFIER.load(), guest::mac()) => {
            reply(frame, &request, MacAddr::from_number(constants::GATEWAY_MAC.load()))
        }
        _ => Err(Reason::SpoofedArp),
    }
}

#[inline(always)]
fn reply(frame: &Frame<'_>, request: &arp::Request, mac: MacAddr) -> Result<i32, Reason> {
    let reply = request.reply(mac);
    frame.store(0, reply.as_ptr(), FRAME as u32)?;
    count::arp_reply();
    Ok(forward::answer())
}
