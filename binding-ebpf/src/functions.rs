//! Functions that the verifier follows once, and not once for each way that leads to them.
//!
//! A loop costs it the instructions of all turns, and what is called on many ways is followed on each. But a function that
//! other objects could call (`BTF_FUNC_GLOBAL`, for which the verifier needs the BTF of program and kernel) is followed by
//! itself, as one that may be called with anything, and a call of it is one instruction. Attach waits for the verifier, so
//! what loops, and what only odd frames need, is in such functions. They get the context and numbers, return a number, and
//! find all else in maps.
//!
//! Where the BTF is missing they are followed like any other, with the same result; `Programs::load` knows both ways.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use binding_common::guard::{self, Message, Upper};

use crate::{constants::Guard, frame::Frame, responders::dhcp};

/// What a function says of its turn.
pub(crate) mod turn {
    /// There is another one.
    pub(crate) const MORE: u32 = 0;
    /// It was the last one.
    pub(crate) const DONE: u32 = 1;
    /// It did not succeed.
    pub(crate) const FAILED: u32 = 2;
}

/// Turns that one call takes.
const BATCH: usize = 16;

/// Calls a function that takes [`BATCH`] turns until it says that there are no more, for at least so many turns.
#[inline(always)]
pub(crate) fn take_turns(turns: usize, function: extern "C" fn(*mut __sk_buff) -> u32, frame: &Frame<'_>) -> u32 {
    repeat(turns.div_ceil(BATCH), || function(frame.ctx().skb.skb))
}

#[inline(always)]
fn repeat(times: usize, turn: impl Fn() -> u32) -> u32 {
    for _ in 0..times {
        match turn() {
            turn::MORE => {}
            other => return other,
        }
    }
    turn::MORE
}

/// Reads options of the guest's DHCP message.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tapwire_read(skb: *mut __sk_buff) -> u32 {
    repeat(BATCH, || tapwire_read_one(skb))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tapwire_read_one(skb: *mut __sk_buff) -> u32 {
    dhcp::read_option(&Frame::unread(&TcContext::new(skb)))
}

/// Writes options of the reply.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tapwire_write(skb: *mut __sk_buff) -> u32 {
    repeat(BATCH, || tapwire_write_one(skb))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tapwire_write_one(skb: *mut __sk_buff) -> u32 {
    dhcp::write_option(&Frame::unread(&TcContext::new(skb)))
}

/// Follows the extension headers of an IPv6 packet; the result is that of [`Upper::to_bits`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tapwire_upper(skb: *mut __sk_buff, next: u32) -> u64 {
    guard::follow(&Frame::unread(&TcContext::new(skb)), next as u8).map_or(Upper::NONE, Upper::to_bits)
}

/// Judges a message of neighbour discovery; 1 if it is true, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tapwire_neighbour(skb: *mut __sk_buff, at: u32, kind: u32, nobody: u32) -> u32 {
    let message = Message { at: at as usize, kind: kind as u8, nobody: nobody != 0 };
    u32::from(guard::is_true_neighbour(&Frame::unread(&TcContext::new(skb)), message, &Guard))
}

/// The look-ups in the lists of the guard; 1 if it is there, else 0. A MAC and an address are the numbers that their octets
/// are in network byte order.
mod lists {
    use binding_common::MacAddr;

    use crate::constants::EXCEPTIONS;

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(crate) extern "C" fn tapwire_allows_ipv4(address: u32) -> u32 {
        u32::from(EXCEPTIONS.has_ipv4(address.to_be_bytes()))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(crate) extern "C" fn tapwire_allows_ipv6(high: u64, low: u64) -> u32 {
        u32::from(EXCEPTIONS.has_ipv6([high, low]))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(crate) extern "C" fn tapwire_is_anothers(high: u64, low: u64) -> u32 {
        u32::from(EXCEPTIONS.is_anothers([high, low]))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(crate) extern "C" fn tapwire_allows_mac(mac: u64) -> u32 {
        u32::from(EXCEPTIONS.has_mac(MacAddr::from_number(mac)))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(crate) extern "C" fn tapwire_allows_type(kind: u32) -> u32 {
        let [_, _, high, low] = kind.to_be_bytes();
        u32::from(EXCEPTIONS.has_ether_type([high, low]))
    }
}
pub(crate) use lists::*;
