//! What becomes of a frame to the DHCP server port, by the code under test.

use binding_common::{
    MacAddr, Reason,
    dhcp::{
        Decision, Exchange, Request, Server,
        decide::{self, Reply},
    },
    packet::Udp,
};

use crate::bindings::Binding;

/// What the responder does with a message.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on to the network: a relay's.
    Passed,
    /// It ends here, and nothing comes of it.
    Consumed(Box<Request>),
    /// It is answered.
    Answered {
        /// What was read.
        request: Box<Request>,
        /// Which answer.
        reply: Reply,
        /// The frame of the answer.
        frame: Vec<u8>,
        /// An option found no room.
        trimmed: bool,
    },
}

/// It is dropped.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// The message, if it was read to its end.
    pub read: Option<Box<Request>>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, read: None }
    }
}

/// Gives a frame of the guest, which has this MAC, to the responder of a binding.
pub fn respond(binding: &Binding, guest: MacAddr, frame: &[u8], udp: Udp) -> Result<Outcome, Failure> {
    let server = Server { guest, ..binding.server };
    let mut exchange = Exchange::default();
    exchange.request.read_headers(frame, udp)?;
    if !decide::addressed(&exchange.request, &server)? {
        return Ok(Outcome::Passed);
    }
    exchange.request.read_message(frame, udp)?;
    let request = Box::new(exchange.request);
    match decide::decide(&exchange.request, &server) {
        Err(reason) => Err(Failure { reason, read: Some(request) }),
        Ok(Decision::Consume) => Ok(Outcome::Consumed(request)),
        Ok(Decision::Reply(reply, to)) => {
            exchange.answer(reply, to);
            let bytes = binding.replies.templates[reply as usize].render(&binding.replies.options, &mut exchange)?;
            let frame = bytes[..exchange.progress.frame_len()].to_vec();
            Ok(Outcome::Answered { request, reply, frame, trimmed: exchange.progress.trimmed() })
        }
    }
}
