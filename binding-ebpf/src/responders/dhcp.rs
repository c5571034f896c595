//! DHCP: the one lease, from the templates and options that user space laid out.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use binding_common::{
    DhcpMessage, Reason,
    dhcp::{
        Decision, Exchange, Options, Template,
        decide::{self, Reply},
        options::{MAX_TURNS, Output},
        reply::{HEAD, MAX_TEMPLATE},
        request::MAX_OPTIONS,
    },
    packet::Udp,
};

use crate::{
    constants, count, forward,
    frame::{Frame, bounded},
    functions::{take_turns, tapwire_read, tapwire_write, turn},
};

/// The replies, by [`Reply`].
#[map]
static REPLIES: Array<Template> = Array::with_max_entries(Reply::COUNT, 0);

/// The options that follow them.
#[map]
static OPTIONS: Array<Options> = Array::with_max_entries(1, 0);

/// The message that is being answered, and the answer.
#[map]
static EXCHANGE: PerCpuArray<Exchange> = PerCpuArray::with_max_entries(1, 0);

/// Answers a message of the guest. Only what a relay sends to another server goes on to the network.
#[inline(always)]
pub(crate) fn answer(frame: &Frame<'_>, udp: Udp) -> Result<Option<i32>, Reason> {
    let exchange = exchange()?;
    let server = constants::server();
    exchange.request.read_headers(frame, udp)?;
    if !decide::addressed(&exchange.request, &server)? {
        return Ok(None);
    }
    exchange.request.begin(frame, udp)?;
    let ended = take_turns(MAX_OPTIONS, tapwire_read, frame) == turn::DONE;
    let exchange = self::exchange()?;
    exchange.request.end(frame, ended)?;
    if let Some(message) = decide::received(&exchange.request) {
        count::dhcp(message);
    }
    match decide::decide(&exchange.request, &server)? {
        Decision::Consume => return Ok(Some(aya_ebpf::bindings::TC_ACT_SHOT)),
        Decision::Reply(reply, to) => exchange.answer(reply, to),
    }
    send(frame).map(Some)
}

#[inline(always)]
fn exchange() -> Result<&'static mut Exchange, Reason> {
    let exchange = EXCHANGE.get_ptr_mut(0).ok_or(Reason::ReplyFailed)?;
    // SAFETY: the entry is this CPU's own, and a TC program is not interrupted by another on the same CPU.
    Ok(unsafe { &mut *exchange })
}

/// Reads the next option of the message: a turn.
#[inline(always)]
pub(crate) fn read_option(frame: &Frame<'_>) -> u32 {
    let Ok(exchange) = exchange() else { return turn::FAILED };
    if exchange.request.next_option(frame) { turn::DONE } else { turn::MORE }
}

/// Writes the next option of the reply: a turn.
#[inline(always)]
pub(crate) fn write_option(frame: &Frame<'_>) -> u32 {
    let (Ok(exchange), Some(options)) = (exchange(), OPTIONS.get(0)) else { return turn::FAILED };
    match exchange.next_turn(options, &mut Appending(frame)) {
        Ok(false) => turn::MORE,
        Ok(true) => turn::DONE,
        Err(_) => turn::FAILED,
    }
}

/// Turns the request's frame into the reply.
#[inline(always)]
fn send(frame: &Frame<'_>) -> Result<i32, Reason> {
    // Looked up once more, so that nothing of the decision is known here and all decisions are one way.
    let exchange = exchange()?;
    let template = REPLIES.get(exchange.template.get()).ok_or(Reason::ReplyFailed)?;
    let options = OPTIONS.get(0).ok_or(Reason::ReplyFailed)?;
    // Room for the longest reply, and for the template with the zeros behind it, whose length is known to the verifier.
    let longest = options.longest_frame(&exchange.request);
    frame.begin(if longest > MAX_TEMPLATE as u32 { longest } else { MAX_TEMPLATE as u32 })?;
    frame.write(0, template.frame.as_ptr(), MAX_TEMPLATE as u32)?;
    exchange.begin(template, options);
    if take_turns(MAX_TURNS, tapwire_write, frame) != turn::DONE {
        return Err(Reason::ReplyFailed);
    }
    let exchange = self::exchange()?;
    let mut head: [u8; HEAD] = *template.frame.first_chunk().ok_or(Reason::ReplyFailed)?;
    exchange.stamp(&mut head, template.ip_sum);
    frame.finish(&head, exchange.progress.frame_len() as u32)?;
    count::dhcp_at(exchange.counter.get());
    if exchange.progress.trimmed() {
        count::dhcp(DhcpMessage::Trimmed);
    }
    Ok(forward::answer())
}

/// The frame that options are written to.
struct Appending<'a>(&'a Frame<'a>);

impl Output for Appending<'_> {
    #[inline(always)]
    fn put<const N: usize>(&mut self, at: usize, octets: &[u8; N], len: usize) -> Result<(), Reason> {
        match bounded::<N>(len) {
            Some(len) => self.0.write(at as u32, octets.as_ptr(), len),
            None => Ok(()),
        }
    }
}
