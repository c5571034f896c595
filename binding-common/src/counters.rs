//! What the programs count: frames of both directions, what the responders did, and every drop by its reason.
//!
//! The layout is part of the pinned state and outlives a build of the programs, so it has room and only ever grows at
//! the end of each array.

use crate::InMemory;

/// Places for DHCP messages. A build with other numbers of places is made for the tests of upgrades alone.
const DHCP: usize = if cfg!(feature = "other-layout") { 24 } else { 16 };
/// Places for reasons of drops.
const DROPPED: usize = if cfg!(feature = "other-layout") { 64 } else { 48 };

/// Frames and octets of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames, as the kernel handles them: one GSO frame counts once.
    pub frames: u64,
    /// Octets from the destination MAC on, without the FCS.
    pub bytes: u64,
}

/// Everything that is counted, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Frames of the guest that went to the network.
    pub to_network: Traffic,
    /// Frames of the network that went to the guest.
    pub to_guest: Traffic,
    /// DHCP messages, by [`DhcpMessage`].
    pub dhcp: [u64; DHCP],
    /// ARP requests that were answered.
    pub arp_replies: u64,
    /// Frames that were dropped, by [`Reason`].
    pub dropped: [u64; DROPPED],
}

impl Counters {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        to_network: Traffic { frames: 0, bytes: 0 },
        to_guest: Traffic { frames: 0, bytes: 0 },
        dhcp: [0; DHCP],
        arp_replies: 0,
        dropped: [0; DROPPED],
    };

    /// The layout: the name of each field, in order, and the number of its `u64`s. Builds of the programs with the same
    /// fields share their pinned counters; to any other, these names say what the numbers are.
    pub const FIELDS: [(&str, usize); 5] =
        [("to_network", 2), ("to_guest", 2), ("dhcp", DHCP), ("arp_replies", 1), ("dropped", DROPPED)];

    /// Adds the counts of another CPU.
    pub fn add(&mut self, other: &Self) {
        let Self { to_network, to_guest, dhcp, arp_replies, dropped } = other;
        for (sum, more) in [(&mut self.to_network, to_network), (&mut self.to_guest, to_guest)] {
            sum.frames += more.frames;
            sum.bytes += more.bytes;
        }
        for (sum, more) in self.dhcp.iter_mut().zip(dhcp).chain(self.dropped.iter_mut().zip(dropped)) {
            *sum += more;
        }
        self.arp_replies += arp_replies;
    }
}

/// Makes an enum whose discriminants index an array of counters, with the names that operators see.
macro_rules! counted {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in JSON and in tables.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

counted! {
    /// A DHCP message that was received from the guest or sent to it.
    DhcpMessage {
        /// DHCPDISCOVER received.
        Discover = "discover",
        /// DHCPOFFER sent.
        Offer = "offer",
        /// DHCPREQUEST received.
        Request = "request",
        /// DHCPACK sent, to a DHCPREQUEST or to a DHCPINFORM.
        Ack = "ack",
        /// DHCPNAK sent.
        Nak = "nak",
        /// DHCPINFORM received.
        Inform = "inform",
        /// DHCPRELEASE received.
        Release = "release",
        /// DHCPDECLINE received: the guest found its address in use.
        Decline = "decline",
        /// A reply that an option found no room in. It is counted by its type as well.
        Trimmed = "trimmed",
    }
}

counted! {
    /// Why a frame was dropped. The list is closed: a drop without one of these does not exist.
    Reason {
        /// Longer than the MTU of the link that it should go to, and not GSO; or GSO with segments that are longer.
        TooBig = "too-big",
        /// The kernel refused to make the frame's headers readable.
        Unreadable = "unreadable",
        /// In `keep` mode: a frame that the pod's own network stack wanted to send.
        PodStack = "pod-stack",
        /// A frame of a DHCP server, from the network: the guest has the lease that tapwire gives.
        DhcpServer = "dhcp-server",
        /// A DHCP message of the guest that names another server, or is sent to one.
        DhcpOtherServer = "dhcp-other-server",
        /// A DHCP message whose client hardware address is not the guest's MAC.
        DhcpNotGuest = "dhcp-not-guest",
        /// A DHCP message that is cut short, is a fragment, is no request, asks for nothing, or hides behind tags of VLAN 0.
        DhcpMalformed = "dhcp-malformed",
        /// A BOOTP request, or a DHCP message of a type that is not answered.
        DhcpUnknownType = "dhcp-unknown-type",
        /// The kernel refused to make room for an answer.
        ReplyFailed = "reply-failed",
        /// An ARP packet of the network whose sender has the lease's address.
        ArpConflict = "arp-conflict",
        /// The kernel refused to let the MACs in a frame be replaced.
        Unwritable = "unwritable",
        /// Guard: a frame of the guest whose source MAC is not the guest's.
        SpoofedMac = "spoofed-mac",
        /// Guard: a frame of the guest whose IPv4 source is not the lease's address.
        SpoofedIpv4 = "spoofed-ipv4",
        /// Guard: an ARP or RARP packet of the guest that says of its sender what is not so.
        SpoofedArp = "spoofed-arp",
        /// Guard: a frame of the guest whose IPv6 source is neither link-local nor the pod's.
        SpoofedIpv6 = "spoofed-ipv6",
        /// Guard: a message of neighbour discovery that claims another's address, or names another's MAC.
        SpoofedNd = "spoofed-nd",
        /// Guard: the guest answers as a DHCP server, over IPv4 or IPv6.
        RogueDhcp = "rogue-dhcp",
        /// Guard: the guest advertises itself as a router.
        RogueRa = "rogue-ra",
        /// Guard: the guest sends an ICMP redirect.
        IcmpRedirect = "icmp-redirect",
        /// Guard: the guest speaks as a multicast router.
        MulticastQuerier = "multicast-querier",
        /// Guard: a frame of the guest with a VLAN tag that is not allowed.
        Vlan = "vlan",
        /// Guard: an 802.3 frame of the guest with LLC or SNAP.
        Llc = "llc",
        /// Guard: a frame of the guest to an address that bridges keep to themselves.
        ReservedMulticast = "reserved-multicast",
        /// Guard: a frame of the guest of a protocol that is not allowed.
        EtherType = "ether-type",
        /// Guard: headers of the guest's frame are cut short, wrong, or too many to be followed.
        HiddenHeader = "hidden-header",
        /// Guard: a frame of the network whose source is the guest.
        Looped = "looped",
        /// Something came out of the portal, into the node's stack, where nothing may.
        Portal = "portal",
    }
}

/// What the programs have learnt of the guest, in a map of its own, so that it outlives a change of the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// The guest's MAC as a number; zero until it is known. First in every layout.
    pub mac: InMemory<u64>,
    /// Makes another layout.
    #[cfg(feature = "other-layout")]
    more: u64,
}

impl Learned {
    /// With this MAC.
    pub fn of(mac: u64) -> Self {
        let mut learned = Self::default();
        learned.mac.set(mac);
        learned
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)` and only `u64`s: no padding, and any bits are valid.
unsafe impl aya::Pod for Counters {}

#[cfg(feature = "user")]
// SAFETY: the same.
unsafe impl aya::Pod for Learned {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_place() {
        assert!(DhcpMessage::ALL.len() <= Counters::ZERO.dhcp.len());
        assert!(Reason::ALL.len() <= Counters::ZERO.dropped.len());
        for (index, message) in DhcpMessage::ALL.iter().enumerate() {
            assert_eq!(*message as usize, index);
        }
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn the_fields_are_said_as_they_lie() {
        let mut at = 0;
        for ((name, len), (field, offset)) in Counters::FIELDS.into_iter().zip([
            ("to_network", core::mem::offset_of!(Counters, to_network)),
            ("to_guest", core::mem::offset_of!(Counters, to_guest)),
            ("dhcp", core::mem::offset_of!(Counters, dhcp)),
            ("arp_replies", core::mem::offset_of!(Counters, arp_replies)),
            ("dropped", core::mem::offset_of!(Counters, dropped)),
        ]) {
            assert_eq!((name, at), (field, offset));
            at += 8 * len;
        }
        assert_eq!(at, size_of::<Counters>());
    }

    #[test]
    #[cfg(not(feature = "other-layout"))]
    fn the_layout_that_is_pinned_does_not_change() {
        assert_eq!(size_of::<Learned>(), 8);
        assert_eq!(size_of::<Counters>(), 8 * (2 + 2 + 16 + 1 + 48));
        assert_eq!(core::mem::offset_of!(Counters, dhcp), 32);
        assert_eq!(core::mem::offset_of!(Counters, arp_replies), 160);
        assert_eq!(core::mem::offset_of!(Counters, dropped), 168);
    }

    #[test]
    fn the_counts_of_all_cpus_add_up() {
        let mut sum = Counters::ZERO;
        let mut one = Counters::ZERO;
        one.to_guest = Traffic { frames: 1, bytes: 60 };
        one.dhcp[DhcpMessage::Ack as usize] = 2;
        one.dropped[Reason::TooBig as usize] = 3;
        one.arp_replies = 4;
        sum.add(&one);
        sum.add(&one);
        assert_eq!(sum.to_guest, Traffic { frames: 2, bytes: 120 });
        assert_eq!(sum.dhcp[DhcpMessage::Ack as usize], 4);
        assert_eq!(sum.dropped[Reason::TooBig as usize], 6);
        assert_eq!(sum.arp_replies, 8);
    }
}
