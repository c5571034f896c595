//! The counters. Per CPU, so that counting is an addition and nothing more.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use binding_common::{Counters, DhcpMessage, Reason};

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn with(count: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own, and a TC program is not interrupted by another on the same CPU.
        count(unsafe { &mut *counters });
    }
}

/// A frame that was sent to the network.
#[inline(always)]
pub(crate) fn to_network(len: u32) {
    with(|counters| {
        counters.to_network.frames += 1;
        counters.to_network.bytes += u64::from(len);
    });
}

/// A frame that was sent to the guest.
#[inline(always)]
pub(crate) fn to_guest(len: u32) {
    with(|counters| {
        counters.to_guest.frames += 1;
        counters.to_guest.bytes += u64::from(len);
    });
}

/// A DHCP message, received or sent.
#[inline(always)]
pub(crate) fn dhcp(message: DhcpMessage) {
    with(|counters| counters.dhcp[message as usize] += 1);
}

/// The same, by the place of its counter.
#[inline(always)]
pub(crate) fn dhcp_at(place: u32) {
    with(|counters| {
        if let Some(counter) = counters.dhcp.get_mut(place as usize) {
            *counter += 1;
        }
    });
}

/// An ARP request that was answered.
#[inline(always)]
pub(crate) fn arp_reply() {
    with(|counters| counters.arp_replies += 1);
}

/// A frame that was dropped.
#[inline(always)]
pub(crate) fn dropped(reason: Reason) {
    with(|counters| counters.dropped[reason as usize] += 1);
}
