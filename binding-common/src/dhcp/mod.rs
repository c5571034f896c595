//! The DHCP responder: what it matches, what it decides, what it stamps.
//!
//! One binding has one lease, so the whole server is a parser ([`request`]), a table of the states of RFC 2131
//! ([`decide`]), the beginnings of five replies that user space has laid out before ([`reply`]), and the options that
//! follow them ([`options`]). Nothing is remembered between two messages.

pub mod decide;
pub mod options;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;

pub use decide::{Decision, Server, decide};
pub use options::Options;
pub use reply::{Destination, Exchange, Template};
pub use request::Request;

/// UDP port of a server or relay.
pub const SERVER_PORT: u16 = 67;
/// UDP port of a client.
pub const CLIENT_PORT: u16 = 68;

/// The server identifier when there is no gateway whose address could serve: the one that KubeVirt's first bridge has,
/// so that a guest which comes from there finds its server again.
pub const LINK_LOCAL_SERVER: [u8; 4] = [169, 254, 75, 10];

/// The MAC that replies come from, and that [`LINK_LOCAL_SERVER`] is at. Locally administered; it exists on no link but
/// the tap's, so it may be the same for every binding.
pub const SERVER_MAC: crate::MacAddr = crate::MacAddr([0x02, 0x74, 0x77, 0x00, 0x00, 0x01]);

/// Option codes that the responder itself must know (RFC 2132). All others are laid out in user space.
pub(crate) mod option {
    pub(crate) const PAD: u8 = 0;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER_IDENTIFIER: u8 = 54;
    pub(crate) const PARAMETERS: u8 = 55;
    pub(crate) const MAX_MESSAGE_SIZE: u8 = 57;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const RAPID_COMMIT: u8 = 80;
    pub(crate) const CLASSLESS_ROUTES: u8 = 121;
    pub(crate) const END: u8 = 255;
}
