//! What the programs answer themselves. A responder gives the action that ends its frame, or `None` when the frame is not
//! for it and goes on.

pub(crate) mod arp;
pub(crate) mod dhcp;
