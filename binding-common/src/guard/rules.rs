//! The rules of the guard: a closed list, each with a bit and with the name of the drops that it causes.

use crate::Reason;

/// Makes the rules, each the [`Reason`] of the same name.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident,)*) => {
        /// A rule of the guard. Its name is that of the drops that it causes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// All of them, in the order of their bits.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)*];

            /// What a frame that breaks the rule is dropped for.
            #[inline(always)]
            pub const fn reason(self) -> Reason {
                match self {
                    $(Self::$rule => Reason::$rule,)*
                }
            }
        }
    };
}

rules! {
    /// To-network: the source MAC is the guest's, or an allowed one.
    SpoofedMac,
    /// To-network: the IPv4 source is the lease's address, or an allowed one.
    SpoofedIpv4,
    /// To-network: what an ARP or RARP packet says of its sender is true.
    SpoofedArp,
    /// To-network: the IPv6 source is the pod's or an allowed one, or a link-local one that is nobody else's.
    SpoofedIpv6,
    /// To-network: what a message of neighbour discovery says of its sender is true.
    SpoofedNd,
    /// To-network: nothing that a DHCP server sends to a client.
    RogueDhcp,
    /// To-network: no router advertisements.
    RogueRa,
    /// To-network: no redirects.
    IcmpRedirect,
    /// To-network: nothing that only a multicast router sends.
    MulticastQuerier,
    /// To-network: no VLAN tags but allowed ones.
    Vlan,
    /// To-network: no 802.3 frames with LLC or SNAP.
    Llc,
    /// To-network: nothing to 01:80:c2:00:00:00 up to 0f, but LLDP where it is allowed.
    ReservedMulticast,
    /// To-network: no protocols but IPv4, IPv6, ARP, RARP and allowed ones.
    EtherType,
    /// To-network: headers can be followed up to what the other rules look at.
    HiddenHeader,
    /// To-guest: nothing of a DHCP server.
    DhcpServer,
    /// To-guest: no frame whose source is the guest itself.
    Looped,
}

impl Rule {
    /// The name on the command line, in JSON and of the counter.
    pub const fn name(self) -> &'static str {
        self.reason().name()
    }

    /// Whether it needs to know the guest's addresses.
    pub const fn needs_addresses(self) -> bool {
        matches!(self, Self::SpoofedIpv4 | Self::SpoofedArp | Self::SpoofedIpv6 | Self::SpoofedNd)
    }
}

/// A set of rules, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub u32);

impl Rules {
    /// None: the guard is off.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self((1 << Rule::ALL.len()) - 1);

    /// Whether the rule is one of them.
    #[inline(always)]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }

    /// These, and one more.
    #[must_use]
    pub const fn with(self, rule: Rule) -> Self {
        Self(self.0 | 1 << rule as u8)
    }

    /// These without one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u8))
    }

    /// Drops a frame that breaks a rule, if that is one of these.
    #[inline(always)]
    pub(super) fn forbid(self, rule: Rule) -> Result<(), Reason> {
        if self.has(rule) { Err(rule.reason()) } else { Ok(()) }
    }

    /// Drops a frame if it breaks a rule and that is one of these.
    #[inline(always)]
    pub(super) fn forbid_if(self, breaks: bool, rule: Rule) -> Result<(), Reason> {
        if breaks { self.forbid(rule) } else { Ok(()) }
    }
}
