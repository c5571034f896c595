//! The guard: no frame passes that a receiver would believe and that is not the guest's to say; and what is ordinary
//! passes.

use binding_common::{
    Reason,
    guard::{self, Rule},
};

use crate::{
    bindings::GUEST,
    guard::{Known, forbidden, relaxed, strict},
    oracle,
};

/// The first octet says which way and whether there is a tag beside the frame, the next two are that tag.
pub(super) fn run(bytes: &[u8]) {
    let Some(([first, t0, t1], frame)) = bytes.split_first_chunk::<3>() else { return };
    let tag = (first & 1 != 0).then(|| u16::from_be_bytes([*t0, *t1]) & 0xfff);
    to_network(frame, tag);
    to_guest(frame, tag);
}

fn judge(frame: &[u8], tag: Option<u16>, policy: &Known) -> Result<(), Reason> {
    guard::source(frame, policy)?;
    guard::to_network(frame, tag, policy)
}

fn to_network(frame: &[u8], tag: Option<u16>) {
    let policy = Known::usual(strict());
    let verdict = judge(frame, tag, &policy);
    let wrong = forbidden(frame, tag);
    assert!(verdict.is_err() || wrong.is_none(), "{} passes", wrong.unwrap_or_default());
    if is_ordinary(frame) && tag.is_none() {
        assert_eq!(verdict.map_err(Reason::name), Ok(()));
    }
    // What is allowed beside takes nothing away, and a rule that is off drops nothing.
    if verdict.is_ok() {
        assert_eq!(judge(frame, tag, &Known::usual(relaxed())), Ok(()));
    }
    if let Err(reason) = verdict {
        let rule = Rule::ALL.iter().find(|rule| rule.reason() == reason);
        let mut lax = policy;
        lax.constants.rules = policy.constants.rules.without(*rule.unwrap());
        assert_ne!(judge(frame, tag, &lax), Err(reason));
    }
}

/// A frame that every guest sends all day: TCP or UDP right behind the header of IPv4, from its own MAC and address.
fn is_ordinary(frame: &[u8]) -> bool {
    let Some(read) = oracle::frame(frame) else { return false };
    let reserved = read.to[..5] == [1, 0x80, 0xc2, 0, 0];
    let Some(packet) = oracle::ipv4(read.rest) else { return false };
    let datagram = match packet.protocol {
        6 => packet.rest.len() >= 20,
        17 => oracle::udp_ports(&packet).is_some_and(|(_, to)| to != 68),
        _ => false,
    };
    let own = read.from == GUEST.0 && packet.from == crate::bindings::LEASE;
    read.tags == 0 && read.kind == 0x0800 && packet.offset == 0 && own && datagram && !reserved
}

fn to_guest(frame: &[u8], tag: Option<u16>) {
    let policy = Known::usual(strict());
    let untagged = tag.is_none_or(|vlan| vlan == 0);
    let verdict = guard::to_guest(frame, untagged, &policy);
    if frame.get(6..12) == Some(&GUEST.0) {
        assert_eq!(verdict, Err(Reason::Looped));
    } else if untagged && serves_dhcpv6(frame) {
        assert!(verdict.is_err(), "a DHCPv6 server passes");
    }
}

/// Whether a receiver would give a frame to its `DHCPv6` client.
fn serves_dhcpv6(frame: &[u8]) -> bool {
    // The same from the guest is forbidden for this and for no other reason, if all else is its own.
    let mut of_guest = frame.to_vec();
    if of_guest.len() < 54 || of_guest[12..14] != [0x86, 0xdd] {
        return false;
    }
    of_guest[0..6].fill(0);
    of_guest[6..12].copy_from_slice(&GUEST.0);
    of_guest[22..38].copy_from_slice(&crate::guard::OWN6);
    forbidden(&of_guest, None) == Some("a DHCPv6 server")
}
