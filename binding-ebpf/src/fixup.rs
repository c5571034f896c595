//! Replaces MACs in frames; what is to be replaced is decided in `binding_common::fixup`.

use binding_common::{
    MacAddr, Reason,
    arp::{SENDER_MAC, TARGET_MAC},
    fixup::{self, ICMPV6_CHECKSUM, SOURCE, ToNetwork},
    guard::Policy as _,
    packet::Packet as _,
};

use crate::{
    constants,
    frame::{Frame, PACKET_HOST},
    guest,
};

/// Makes the NIC's MAC the guest's. Where the guest has it already, nothing is looked at.
#[inline(always)]
pub(crate) fn to_network(frame: &Frame<'_>) -> Result<(), Reason> {
    if !constants::guest_may_differ() {
        return Ok(());
    }
    let network = constants::network_mac();
    // A MAC that the operator allows the guest beside its own is known to the network as it is.
    if constants::Guard.allows_mac(MacAddr(frame.header(SOURCE).unwrap_or_default())) {
        return Ok(());
    }
    // Decided before anything is written: after that, the frame's headers cannot be read.
    let fix = fixup::to_network(frame, guest::mac());
    frame.put_mac(SOURCE, network)?;
    match fix {
        ToNetwork::SourceOnly => Ok(()),
        ToNetwork::Arp { target } => {
            frame.put_mac(SENDER_MAC, network)?;
            if target { frame.put_mac(TARGET_MAC, network) } else { Ok(()) }
        }
        ToNetwork::Neighbour { at, mac } => {
            frame.replace_in_checksum(ICMPV6_CHECKSUM, mac, network)?;
            frame.put_mac(at, network)
        }
    }
}

/// Whether the frame, which has arrived at the pod NIC, was given to it by peer. Of what leaves the host side the type of
/// the packet says nothing.
#[inline(always)]
pub(crate) fn is_for_this_host(frame: &Frame<'_>) -> bool {
    constants::FROM_PEER.load() != 0 && frame.packet_type() == PACKET_HOST
}

/// Makes the guest's MAC the destination of what is meant for it.
#[inline(always)]
pub(crate) fn to_guest(frame: &Frame<'_>, for_this_host: bool) -> Result<(), Reason> {
    let guest = guest::mac();
    let network = constants::network_mac();
    let fix = fixup::to_guest(frame, guest, network, for_this_host);
    if fix.destination {
        frame.put_mac(0, guest)?;
    }
    if constants::guest_may_differ() && fix.target {
        frame.put_mac(TARGET_MAC, guest)?;
    }
    Ok(())
}
