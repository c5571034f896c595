//! The attacks. Those of programs are other people's, and what they send is what an attacker has at hand.

mod dhcp;
mod ipv4;
mod ipv6;
mod link;
mod neighbour;
mod to_guest;

use crate::row::Row;

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    [link::rows(), neighbour::rows(), ipv4::rows(), dhcp::rows(), ipv6::rows(), to_guest::rows()]
        .into_iter()
        .flatten()
        .collect()
}
