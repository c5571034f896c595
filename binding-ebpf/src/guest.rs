//! The guest's MAC: fixed when the programs are loaded, or learnt from the first frame that the guest sends.

use aya_ebpf::{macros::map, maps::Array};
use binding_common::{Learned, MacAddr, fixup::SOURCE, packet::Packet as _};

use crate::{constants, frame::Frame};

/// The MAC that was learnt.
#[map]
static LEARNED: Array<Learned> = Array::with_max_entries(1, 0);

/// The guest's MAC; zero as long as it is to be learnt.
#[inline(always)]
pub(crate) fn mac() -> MacAddr {
    if constants::LEARN.load() == 0 {
        return MacAddr::from_number(constants::GUEST_MAC.load());
    }
    LEARNED.get(0).map_or(MacAddr::ZERO, |learned| MacAddr::from_number(learned.mac.get()))
}

/// Takes the source of a frame of the guest for the guest's MAC, if there is none yet.
///
/// Two first frames on two CPUs may come from two MACs: then the later one counts. A guest sends its first frame alone.
#[inline(always)]
pub(crate) fn learn(frame: &Frame<'_>) {
    if constants::LEARN.load() == 0 || mac() != MacAddr::ZERO {
        return;
    }
    let source = MacAddr(frame.header(SOURCE).unwrap_or_default());
    if !source.is_group()
        && let Some(learned) = LEARNED.get_ptr_mut(0)
    {
        // SAFETY: the entry is there, and is written at once.
        unsafe { (*learned).mac.set(source.to_number()) };
    }
}
