//! What a row says must come of a request.

use crate::request::{ANY, BROADCAST_MAC, GATEWAY, GUEST, LEASE, NONE};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// A reply, to the guest and nowhere else.
    Reply(Answer),
    /// Nothing; the drop is counted by this reason.
    Dropped(&'static str),
    /// Nothing, as the protocol wants; the message is counted under this name.
    Noted(&'static str),
    /// It reaches the host side as it is, and nothing comes back.
    Passes,
}

/// Which reply: the type on the wire, and the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Offer,
    Ack,
    Nak,
    /// DHCPACK to a DHCPINFORM.
    Facts,
}

impl Kind {
    pub(crate) fn message_type(self) -> u8 {
        match self {
            Self::Offer => 2,
            Self::Ack | Self::Facts => 5,
            Self::Nak => 6,
        }
    }

    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Offer => "dhcp.offer",
            Self::Ack | Self::Facts => "dhcp.ack",
            Self::Nak => "dhcp.nak",
        }
    }

    /// What tcpdump calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Offer => "Offer",
            Self::Ack | Self::Facts => "ACK",
            Self::Nak => "NACK",
        }
    }
}

/// A reply as a row wants it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    /// Destination MAC, address and port.
    pub(crate) to: ([u8; 6], [u8; 4], u16),
    pub(crate) server: [u8; 4],
    pub(crate) yiaddr: [u8; 4],
    pub(crate) ciaddr: [u8; 4],
    pub(crate) siaddr: [u8; 4],
    pub(crate) file: Vec<u8>,
    pub(crate) flags_set: u16,
    /// Options with their values.
    pub(crate) with: Vec<(u8, Vec<u8>)>,
    /// The names of option 119.
    pub(crate) search: Vec<String>,
    /// Options that must not be there.
    pub(crate) without: Vec<u8>,
    /// Exactly these options in this order.
    pub(crate) codes: Option<Vec<u8>>,
    /// Octets of the message.
    pub(crate) len: Option<usize>,
    /// An option found no room.
    pub(crate) trimmed: bool,
}

fn answer(kind: Kind) -> Answer {
    let leases = matches!(kind, Kind::Offer | Kind::Ack);
    Answer {
        kind,
        to: (GUEST, LEASE, 68),
        server: GATEWAY,
        yiaddr: if leases { LEASE } else { NONE },
        ciaddr: NONE,
        siaddr: NONE,
        file: Vec::new(),
        flags_set: 0,
        with: Vec::new(),
        search: Vec::new(),
        without: Vec::new(),
        codes: None,
        len: None,
        trimmed: false,
    }
}

/// DHCPOFFER of the lease, to its address.
pub(crate) fn offer() -> Answer {
    answer(Kind::Offer)
}

/// DHCPACK of the lease, to its address.
pub(crate) fn ack() -> Answer {
    answer(Kind::Ack)
}

/// DHCPACK to a client that uses an address already: to that address, which it repeats.
pub(crate) fn ack_to_user_of(address: [u8; 4]) -> Answer {
    ack().sent_to(address).repeating(address)
}

/// DHCPNAK, by broadcast.
pub(crate) fn nak() -> Answer {
    answer(Kind::Nak).broadcast()
}

/// DHCPACK to a DHCPINFORM, to the client's address.
pub(crate) fn facts(address: [u8; 4]) -> Answer {
    answer(Kind::Facts).sent_to(address).repeating(address)
}

impl Answer {
    pub(crate) fn reply(self) -> Outcome {
        Outcome::Reply(self)
    }

    /// By broadcast.
    pub(crate) fn broadcast(mut self) -> Self {
        self.to = (BROADCAST_MAC, ANY, 68);
        self
    }

    /// By unicast to an address of the guest.
    pub(crate) fn sent_to(mut self, address: [u8; 4]) -> Self {
        self.to = (GUEST, address, 68);
        self
    }

    /// To a relay.
    pub(crate) fn relayed_to(mut self, address: [u8; 4]) -> Self {
        self.to = (GUEST, address, 67);
        self
    }

    /// With the client's address in `ciaddr`.
    pub(crate) fn repeating(mut self, address: [u8; 4]) -> Self {
        self.ciaddr = address;
        self
    }

    pub(crate) fn server(mut self, address: [u8; 4]) -> Self {
        self.server = address;
        self
    }

    /// With the boot server in `siaddr` and the file's name in `file`.
    pub(crate) fn booting(mut self, server: [u8; 4], file: &str) -> Self {
        self.siaddr = server;
        self.file = file.as_bytes().to_vec();
        self
    }

    /// With flags that the request had not.
    pub(crate) fn setting(mut self, flags: u16) -> Self {
        self.flags_set = flags;
        self
    }

    pub(crate) fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.with.push((code, value.to_vec()));
        self
    }

    /// With a search list, compressed or not.
    pub(crate) fn searching(mut self, names: &[&str]) -> Self {
        self.search = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub(crate) fn without(mut self, codes: &[u8]) -> Self {
        self.without.extend(codes);
        self
    }

    pub(crate) fn codes(mut self, codes: &[u8]) -> Self {
        self.codes = Some(codes.to_vec());
        self
    }

    /// The message, from `op` on, has exactly so many octets.
    pub(crate) fn octets(mut self, len: usize) -> Self {
        self.len = Some(len);
        self
    }

    pub(crate) fn trimmed(mut self) -> Self {
        self.trimmed = true;
        self
    }
}
