//! A frame in the kernel: the only place with pointer arithmetic.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{
        bpf_check_mtu, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
        bpf_skb_vlan_pop,
    },
    programs::TcContext,
};
use binding_common::{
    MacAddr, Reason,
    guard::{Message, Policy, Upper},
    in_memory::InMemory,
    packet::{ETH_HEADER, HEADERS, Packet},
};

use crate::functions;

/// `BPF_ADJ_ROOM_MAC` of `enum bpf_adj_room_mode`: room is made or taken between the Ethernet header and the next.
const BPF_ADJ_ROOM_MAC: u32 = 1;

/// Octets that lie between the Ethernet header of an answer and the rest of it until it is done; see [`Frame::begin`]. More
/// than are before the UDP header behind the longest IPv4 header, 74.
const SPARE: u32 = 80;

/// `PACKET_HOST` of `linux/if_packet.h`.
pub(crate) const PACKET_HOST: u32 = 0;

/// A frame with its first [`HEADERS`] octets, or all that it has, ready to be read.
///
/// It lends the context and hands out no pointer: those die with every helper that may move the data.
pub(crate) struct Frame<'a> {
    ctx: &'a TcContext,
    data: usize,
    end: usize,
}

impl<'a> Frame<'a> {
    /// Makes the headers readable. They are already, but for frames that a guest splits in unusual places.
    #[inline(always)]
    pub(crate) fn read(ctx: &'a TcContext) -> Result<Self, Reason> {
        let wanted = ctx.len().min(HEADERS as u32);
        if ctx.data() + wanted as usize > ctx.data_end() {
            // SAFETY: the context is the kernel's own.
            if unsafe { bpf_skb_pull_data(ctx.skb.skb, wanted) } != 0 {
                return Err(Reason::Unreadable);
            }
        }
        Ok(Self { ctx, data: ctx.data(), end: ctx.data_end() })
    }

    /// A frame of which only the metadata is looked at.
    #[inline(always)]
    pub(crate) fn unread(ctx: &'a TcContext) -> Self {
        Self { ctx, data: 0, end: 0 }
    }

    #[inline(always)]
    pub(crate) fn ctx(&self) -> &TcContext {
        self.ctx
    }

    /// Octets of the frame, from the destination MAC on; a tag beside the frame does not count.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.ctx.len()
    }

    /// Octets of payload in a segment; 0 if the frame is not GSO.
    #[inline(always)]
    pub(crate) fn gso_size(&self) -> u32 {
        // SAFETY: the context is the kernel's own.
        unsafe { (*self.ctx.skb.skb).gso_size }
    }

    /// The VLAN of a tag beside the frame.
    #[inline(always)]
    pub(crate) fn tag(&self) -> Option<u16> {
        // SAFETY: the context is the kernel's own.
        let (present, tci) = unsafe { ((*self.ctx.skb.skb).vlan_present, (*self.ctx.skb.skb).vlan_tci) };
        if present == 0 { None } else { Some(tci as u16 & 0xfff) }
    }

    /// No VLAN tag, or the tag of VLAN 0, which only carries a priority: receivers take such a frame for an untagged one.
    #[inline(always)]
    pub(crate) fn untagged(&self) -> bool {
        // SAFETY: the context is the kernel's own.
        unsafe { (*self.ctx.skb.skb).vlan_present == 0 || (*self.ctx.skb.skb).vlan_tci & 0xfff == 0 }
    }

    /// The frame was received on this device; a frame that this host's own stack makes was received on none.
    #[inline(always)]
    pub(crate) fn came_from(&self, ifindex: u32) -> bool {
        // SAFETY: the context is the kernel's own.
        unsafe { (*self.ctx.skb.skb).ingress_ifindex == ifindex }
    }

    /// The MTU of a device that the frame is over, as far as the kernel judges that; `None` where it is not over it, or has
    /// segments. An error: there is no such device. What was read of the frame stays readable.
    #[inline(always)]
    pub(crate) fn mtu_exceeded(&self, ifindex: u32) -> Result<Option<u32>, ()> {
        // In: 0, to have the frame's own length taken. Out: the MTU.
        let mut mtu = 0_u32;
        // SAFETY: the context is the kernel's own, and `mtu` outlives the call.
        match unsafe { bpf_check_mtu(self.ctx.as_ptr(), ifindex, &raw mut mtu, 0, 0) } {
            0 => Ok(None),
            1.. => Ok(Some(mtu)),
            _ => Err(()),
        }
    }

    /// Begins an answer of at most `len` octets in place of the frame: [`Self::write`] fills it, [`Self::finish`] ends it.
    ///
    /// A request may have come with a checksum that is still to be filled in (`CHECKSUM_PARTIAL`), and a reply in the
    /// same buffer would inherit that order, and be spoilt by it. Taking octets away behind the Ethernet header makes
    /// the kernel find that the place of the checksum is gone and forget the order (`skb_postpull_rcsum`), so an answer
    /// is written with spare octets there. In that order: growing is refused by no kernel, and when the octets are gone
    /// the kernel's mark of where the UDP header is lies before the frame, so that older kernels, 5.10.223 for one, refuse
    /// every length from then on (`__bpf_skb_min_len`).
    #[inline(always)]
    pub(crate) fn begin(&self, len: u32) -> Result<(), Reason> {
        let skb = self.ctx.skb.skb;
        // SAFETY: the context is the kernel's own.
        if unsafe { (*skb).vlan_present != 0 && bpf_skb_vlan_pop(skb) != 0 } {
            return Err(Reason::ReplyFailed);
        }
        self.set_len(len + SPARE)
    }

    /// Writes octets at an offset of the answer.
    #[inline(always)]
    pub(crate) fn write(&self, at: u32, octets: *const u8, len: u32) -> Result<(), Reason> {
        self.store(at + SPARE, octets, len)
    }

    /// Ends an answer of `len` octets that begins with `head`, with nothing left for an offload to do.
    #[inline(always)]
    pub(crate) fn finish<const N: usize>(&self, head: &[u8; N], len: u32) -> Result<(), Reason> {
        self.set_len(len + SPARE)?;
        self.write(0, head.as_ptr(), N as u32)?;
        self.store(0, head.as_ptr(), ETH_HEADER as u32)?;
        self.ctx.adjust_room(-(SPARE as i32), BPF_ADJ_ROOM_MAC, 0).map_err(|_| Reason::ReplyFailed)
    }

    #[inline(always)]
    fn set_len(&self, len: u32) -> Result<(), Reason> {
        // SAFETY: the context is the kernel's own.
        match unsafe { bpf_skb_change_tail(self.ctx.skb.skb, len, 0) } {
            0 => Ok(()),
            _ => Err(Reason::ReplyFailed),
        }
    }

    /// The kernel's `pkt_type`: who it holds the frame to be for.
    #[inline(always)]
    pub(crate) fn packet_type(&self) -> u32 {
        // SAFETY: the context is the kernel's own.
        unsafe { (*self.ctx.skb.skb).pkt_type }
    }

    /// Writes a MAC at an offset of the frame, whose headers cannot be read any more then.
    #[inline(always)]
    pub(crate) fn put_mac(&self, at: usize, mac: MacAddr) -> Result<(), Reason> {
        self.store(at as u32, mac.0.as_ptr(), 6).map_err(|_| Reason::Unwritable)
    }

    /// Brings the checksum at an offset up to date with octets that it covers. One that is still to be made
    /// (`CHECKSUM_PARTIAL`) is left alone, it will be made over the new octets.
    #[inline(always)]
    pub(crate) fn replace_in_checksum(&self, at: usize, old: MacAddr, new: MacAddr) -> Result<(), Reason> {
        for word in 0..3 {
            let [old, new] =
                [old, new].map(|mac| u64::from(u16::from_ne_bytes([mac.0[2 * word], mac.0[2 * word + 1]])));
            self.ctx.l4_csum_replace(at, old, new, 2).map_err(|_| Reason::Unwritable)?;
        }
        Ok(())
    }

    /// Writes octets at an offset of the frame.
    #[inline(always)]
    pub(crate) fn store(&self, at: u32, octets: *const u8, len: u32) -> Result<(), Reason> {
        // SAFETY: the verifier checks that `octets` holds `len` octets, and the helper that the frame does.
        match unsafe { bpf_skb_store_bytes(self.ctx.skb.skb, at, octets.cast(), len, 0) } {
            0 => Ok(()),
            _ => Err(Reason::ReplyFailed),
        }
    }
}

/// A length that the verifier sees to be 1 to `N`; `None` for any other.
///
/// Out of the compiler's sight, which would check one copy of the length and hand over another, not related to it for the
/// verifier. And by one compare: that a number is not zero taught the verifiers before 6.8 nothing of its range.
#[inline(always)]
pub(crate) fn bounded<const N: usize>(len: usize) -> Option<u32> {
    let last = InMemory::new((len as u64).wrapping_sub(1)).get();
    if last < N as u64 { Some(last as u32 + 1) } else { None }
}

impl Packet for Frame<'_> {
    #[inline(always)]
    fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let at = self.data + offset;
        if at + N > self.end {
            return None;
        }
        let mut octets = [0; N];
        if N.is_multiple_of(2) && offset.is_multiple_of(2) {
            // The compiler takes octets one by one where it cannot know better. A frame begins at an even address.
            for (place, pair) in octets.chunks_exact_mut(2).enumerate() {
                // SAFETY: it lies within the frame.
                let word = unsafe { ptr::read((at + place * 2) as *const u16) };
                pair.copy_from_slice(&word.to_ne_bytes());
            }
        } else {
            // SAFETY: `at..at + N` lies within the frame.
            octets = unsafe { ptr::read_unaligned(at as *const [u8; N]) };
        }
        Some(octets)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut octets = [0; N];
        // SAFETY: `octets` holds `N` octets; the helper checks that the frame does.
        match unsafe { bpf_skb_load_bytes(self.ctx.as_ptr(), offset as u32, octets.as_mut_ptr().cast(), N as u32) } {
            0 => Some(octets),
            _ => None,
        }
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize, len: usize, to: &mut [u8; N]) -> bool {
        let Some(len) = bounded::<N>(len) else { return false };
        // SAFETY: `to` holds `len` octets; the helper checks that the frame does.
        unsafe { bpf_skb_load_bytes(self.ctx.as_ptr(), offset as u32, to.as_mut_ptr().cast(), len) == 0 }
    }

    /// The helper fills with zeros what it cannot fill from the frame (`bpf_skb_load_bytes` in net/core/filter.c, `err_clear`:
    /// the verifier takes the buffer for written then), and no frame is so long. A loop of our own would be one more for
    /// the verifier to follow.
    #[inline(always)]
    fn clear<const N: usize>(&self, buffer: &mut [u8; N]) {
        // SAFETY: `buffer` holds `N` octets.
        let _ = unsafe { bpf_skb_load_bytes(self.ctx.as_ptr(), u32::MAX, buffer.as_mut_ptr().cast(), N as u32) };
    }

    #[inline(always)]
    fn upper(&self, next: u8) -> Option<Upper> {
        Upper::from_bits(functions::tapwire_upper(self.ctx.skb.skb, u32::from(next)))
    }

    #[inline(always)]
    fn is_true_neighbour(&self, message: Message, _: &impl Policy) -> bool {
        let Message { at, kind, nobody } = message;
        functions::tapwire_neighbour(self.ctx.skb.skb, at as u32, u32::from(kind), u32::from(nobody)) != 0
    }
}
