//! The guard: the policies that are fuzzed, and an opinion of its own on what a stranger's guest must not get through.
//!
//! The opinion follows a receiver: what a node or another pod would make of the frame, if it came there. Where they would
//! throw it away, nothing is forbidden, whatever the guard says; where they would believe it, the guard must have dropped
//! it.

use binding_common::{
    MacAddr,
    guard::{Exceptions, Policy, Rules},
};
use binding_user::guard::GuardConstants;

use crate::{
    bindings::{GUEST, LEASE, OTHER, OTHER_MAC},
    oracle,
};

/// The pod's own IPv6 address.
pub const OWN6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
/// The link-local address of the host side.
pub const ROUTER6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x08, 0x58, 0x0a, 0xff, 0xfe, 0xf4, 1, 1];
const NOBODY: [u8; 16] = [0; 16];

/// All rules, and nothing that is allowed but what is the guest's own.
pub fn strict() -> GuardConstants {
    let mut exceptions = Exceptions::NONE;
    exceptions.allow_ipv6(OWN6, 128).unwrap();
    exceptions.forbid_link_local(ROUTER6).unwrap();
    GuardConstants { rules: Rules::ALL, exceptions }
}

/// All rules, and something allowed of each kind.
pub fn relaxed() -> GuardConstants {
    let mut constants = strict();
    let exceptions = &mut constants.exceptions;
    exceptions.allow_mac(OTHER_MAC).unwrap();
    exceptions.allow_ipv4(OTHER, 31).unwrap();
    exceptions.allow_ipv6([0xfd; 16], 8).unwrap();
    exceptions.allow_ether_type(0x88b5).unwrap();
    exceptions.allow_vlan(0);
    exceptions.allow_vlan(7);
    exceptions.allow_lldp();
    constants
}

/// What the guard asks of a binding.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Rules and exceptions.
    pub constants: GuardConstants,
    /// The guest's MAC.
    pub guest: MacAddr,
    /// The MAC that the network knows.
    pub network: MacAddr,
    /// The address of the lease.
    pub lease: [u8; 4],
}

impl Known {
    /// The usual binding under a policy.
    pub fn usual(constants: GuardConstants) -> Self {
        Self { constants, guest: GUEST, network: GUEST, lease: LEASE }
    }
}

impl Policy for Known {
    fn rules(&self) -> Rules {
        self.constants.rules
    }

    fn guest(&self) -> MacAddr {
        self.guest
    }

    fn network(&self) -> MacAddr {
        self.network
    }

    fn lease(&self) -> [u8; 4] {
        self.lease
    }

    fn exceptions(&self) -> &Exceptions {
        &self.constants.exceptions
    }
}

/// What is wrong with a frame of the guest under [`strict`], to whoever receives it. `tag` is a tag beside the frame.
pub fn forbidden(frame: &[u8], tag: Option<u16>) -> Option<&'static str> {
    let (to, rest) = frame.split_first_chunk::<6>()?;
    let (from, rest) = rest.split_first_chunk::<6>()?;
    let (kind, payload) = oracle::word(rest)?;
    if *from != GUEST.0 {
        return Some("it comes from another MAC");
    }
    if to[..5] == [1, 0x80, 0xc2, 0, 0] && to[5] < 16 {
        return Some("it is for bridges");
    }
    if tag.is_some() {
        return Some("it is tagged");
    }
    match kind {
        0x0800 => ipv4(payload),
        0x86dd => ipv6(payload),
        0x0806 => arp(payload),
        0x8035 => rarp(payload),
        _ => Some("it is of a protocol that a guest has no need of"),
    }
}

fn arp(payload: &[u8]) -> Option<&'static str> {
    let packet = oracle::arp(payload)?;
    if packet.sender.0 != GUEST.0 {
        return Some("ARP of another MAC");
    }
    (packet.sender.1 != LEASE && packet.sender.1 != [0; 4]).then_some("ARP of another address")
}

fn rarp(payload: &[u8]) -> Option<&'static str> {
    let packet = oracle::arp(payload)?;
    if packet.operation == 4 {
        return Some("it answers RARP");
    }
    (packet.sender.0 != GUEST.0).then_some("RARP of another MAC")
}

fn ipv4(payload: &[u8]) -> Option<&'static str> {
    let packet = oracle::ipv4(payload)?;
    if packet.from != LEASE {
        return Some("another IPv4 address");
    }
    if packet.offset != 0 {
        return None;
    }
    match (packet.protocol, packet.rest.first()?) {
        (17, _) => (oracle::udp_ports(&packet)?.1 == 68).then_some("a DHCP server"),
        (1, 5) => Some("a redirect"),
        (1, 9) => Some("a router"),
        (2, 0x11 | 0x30) => Some("a multicast router"),
        _ => None,
    }
}

/// Whether an address is the guest's to use.
fn is_own(address: &[u8]) -> bool {
    let link_local = address[0] == 0xfe && address[1] & 0xc0 == 0x80;
    address == OWN6 || (link_local && address != ROUTER6)
}

fn ipv6(payload: &[u8]) -> Option<&'static str> {
    let (header, rest) = payload.split_at_checked(40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (source, length) = (&header[8..24], usize::from(u16::from_be_bytes([header[4], header[5]])));
    let nobody = source == NOBODY;
    if !nobody && !is_own(source) {
        return Some("another IPv6 address");
    }
    // A receiver takes as much as the header says, and throws away what is shorter. Linux looks at no length of zero before
    // hop-by-hop options, which may have another (`ip6_rcv_core`).
    let whole = if length == 0 && header[6] == 0 { rest } else { rest.get(..length)? };
    let Upper { protocol, octets, later } = upper(header[6], whole)?;
    if later {
        return nobody.then_some("a fragment of nobody");
    }
    match protocol {
        58 => icmpv6(octets, nobody),
        _ if nobody => Some("something of nobody"),
        17 => {
            let (_, behind) = oracle::word(octets)?;
            (oracle::word(behind)?.0 == 546).then_some("a DHCPv6 server")
        }
        _ => None,
    }
}

/// What is behind all extension headers, however many there are.
struct Upper<'a> {
    protocol: u8,
    octets: &'a [u8],
    /// It is a fragment that is not the first.
    later: bool,
}

/// `None` where they are cut short.
fn upper(mut protocol: u8, mut octets: &[u8]) -> Option<Upper<'_>> {
    loop {
        let len = match protocol {
            0 | 43 | 60 | 135 | 139 | 140 => usize::from(*octets.get(1)?) * 8 + 8,
            51 => usize::from(*octets.get(1)?) * 4 + 8,
            44 => 8,
            _ => return Some(Upper { protocol, octets, later: false }),
        };
        let (header, behind) = octets.split_at_checked(len)?;
        if protocol == 44 && u16::from_be_bytes([header[2], header[3]]) >> 3 != 0 {
            return Some(Upper { protocol: header[0], octets: behind, later: true });
        }
        (protocol, octets) = (header[0], behind);
    }
}

fn icmpv6(message: &[u8], nobody: bool) -> Option<&'static str> {
    let kind = *message.first()?;
    match kind {
        134 => Some("a router"),
        137 => Some("a redirect"),
        130 | 151 => Some("a multicast router"),
        131 | 143 => None,
        133 => discovery(message, 8),
        135 | 136 => {
            let target = message.get(8..24)?;
            let claims = kind == 136 || nobody;
            if claims && !is_own(target) { Some("another's target") } else { discovery(message, 24) }
        }
        _ => nobody.then_some("something of nobody"),
    }
}

/// The options of neighbour discovery, of which a receiver takes all or, if one is malformed, none (RFC 4861, 4.6).
fn discovery(message: &[u8], at: usize) -> Option<&'static str> {
    let mut options = message.get(at..)?;
    let mut wrong = None;
    while !options.is_empty() {
        let len = usize::from(*options.get(1)?) * 8;
        if len == 0 {
            return None;
        }
        let (option, behind) = options.split_at_checked(len)?;
        if len == 8 && matches!(option[0], 1 | 2) && option[2..8] != GUEST.0 {
            wrong = Some("neighbour discovery with another MAC");
        }
        options = behind;
    }
    wrong
}
