//! Sends a frame on its way, as it is by now.

use core::ptr;

use aya_ebpf::helpers::{bpf_redirect, bpf_redirect_peer};

use crate::{
    constants, count,
    frame::{Frame, PACKET_HOST},
};

/// To the network: to the host side's ingress in the same call chain where the NIC is a veth with a suitable peer
/// (`skb_do_redirect`), out of the NIC else.
#[inline(always)]
pub(crate) fn to_network(frame: &Frame<'_>) -> i32 {
    count::to_network(frame.len());
    let skb = frame.ctx().skb.skb;
    #[cfg(feature = "other-build")]
    // SAFETY: the context is the kernel's own. Nothing is done with it: it makes these other programs.
    let _ = unsafe { ptr::read_volatile(&raw const (*skb).priority) };
    // A guest decides neither on marks nor on transmit queues of the node: tun records its own queue, and every flow
    // would be sent by one queue of the node's NIC. Volatile, since the verifier refuses one wide store to both.
    // SAFETY: the context is the kernel's own, and both fields may be written.
    unsafe {
        ptr::write_volatile(&raw mut (*skb).mark, 0);
        ptr::write_volatile(&raw mut (*skb).queue_mapping, 0);
    }
    let nic = constants::NIC_IFINDEX.load();
    if constants::TO_NETWORK_PEER.load() == 0 {
        // SAFETY: the helper only notes the device.
        return unsafe { bpf_redirect(nic, 0) as i32 };
    }
    // Kernels before 6.1.139, 6.6.91 and 6.12.29 leave the type that the tap saw, which for the gateway's MAC is "another
    // host": the node's stack would drop it. On failure the frame is delivered all the same, with the old type.
    let _ = frame.ctx().change_type(PACKET_HOST);
    // SAFETY: the helper only notes the device.
    unsafe { bpf_redirect_peer(nic, 0) as i32 }
}

/// To the guest: out of the tap. Never by peer, which would loop without limit if the other end did so too.
#[inline(always)]
pub(crate) fn to_guest(frame: &Frame<'_>) -> i32 {
    count::to_guest(frame.len());
    // SAFETY: the helper only notes the device.
    unsafe { bpf_redirect(constants::TAP_IFINDEX.load(), 0) as i32 }
}

/// To the guest from the host side: out of the portal, which transmits by the tap. Nothing is scrubbed on this way: marks
/// and priorities of the node end here.
#[inline(always)]
pub(crate) fn through_portal(frame: &Frame<'_>) -> i32 {
    count::to_guest(frame.len());
    let skb = frame.ctx().skb.skb;
    // SAFETY: the context is the kernel's own, and both fields may be written.
    unsafe {
        ptr::write_volatile(&raw mut (*skb).mark, 0);
        ptr::write_volatile(&raw mut (*skb).priority, 0);
    }
    // SAFETY: the helper only notes the device.
    unsafe { bpf_redirect(constants::PORTAL_IFINDEX.load(), 0) as i32 }
}

/// An answer: back out of the tap that the question came in by.
#[inline(always)]
pub(crate) fn answer() -> i32 {
    // SAFETY: the helper only notes the device.
    unsafe { bpf_redirect(constants::TAP_IFINDEX.load(), 0) as i32 }
}
