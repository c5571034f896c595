//! DHCP: the one lease, from the templates that user space laid out.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use binding_common::{
    Reason,
    dhcp::{
        Decision, Destination, Request, Template,
        decide::{self, Reply},
        reply::{self, HEAD, MAX_FRAME},
    },
    packet::Udp,
};

use crate::{constants, count, forward, frame::Frame};

/// The replies, by [`Reply`].
#[map]
static REPLIES: Array<Template> = Array::with_max_entries(Reply::COUNT, 0);

/// The message that is being answered; see [`Request`] for why it is not on the stack.
#[map]
static REQUEST: PerCpuArray<Request> = PerCpuArray::with_max_entries(1, 0);

/// Answers a message of the guest. Only what a relay sends to another server goes on to the network.
#[inline(always)]
pub(crate) fn answer(frame: &Frame<'_>, udp: Udp) -> Result<Option<i32>, Reason> {
    let request = REQUEST.get_ptr_mut(0).ok_or(Reason::ReplyFailed)?;
    // SAFETY: the entry is this CPU's own, and a TC program is not interrupted by another on the same CPU.
    let request = unsafe { &mut *request };
    let server = constants::server();
    request.read_headers(frame, udp)?;
    if !decide::addressed(request, &server)? {
        return Ok(None);
    }
    request.read_message(frame, udp)?;
    if let Some(message) = decide::received(request) {
        count::dhcp(message);
    }
    match decide::decide(request, &server)? {
        Decision::Consume => Ok(Some(aya_ebpf::bindings::TC_ACT_SHOT)),
        Decision::Reply(kind, to) => send(frame, request, kind, &to).map(Some),
    }
}

/// Turns the request's frame into the reply.
#[inline(always)]
fn send(frame: &Frame<'_>, request: &Request, kind: Reply, to: &Destination) -> Result<i32, Reason> {
    let template = REPLIES.get(kind as u32).ok_or(Reason::ReplyFailed)?;
    let len = template.len;
    if len < HEAD as u32 || len > MAX_FRAME as u32 {
        return Err(Reason::ReplyFailed);
    }
    let mut head = [0; HEAD];
    head.copy_from_slice(&template.frame[..HEAD]);
    reply::stamp(&mut head, (template.ip_sum, template.udp_sum), request, kind, to);
    frame.resize(len)?;
    frame.store(template.frame.as_ptr(), len)?;
    frame.store(head.as_ptr(), HEAD as u32)?;
    count::dhcp(kind.counter());
    Ok(forward::answer())
}
