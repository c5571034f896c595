//! What is fixed for a binding. User space writes these before it loads the programs and they are read-only from then on,
//! so the verifier takes them for constants and leaves out every branch that they rule out.

use aya_ebpf::Global;
use binding_common::{
    MacAddr,
    arp::answers as arp_answers,
    dhcp::Server,
    guard::{Exceptions, Ipv6, Policy, Rules},
};

use crate::{functions, guest};

/// Interface index of the pod NIC.
#[unsafe(no_mangle)]
pub(crate) static NIC_IFINDEX: Global<u32> = Global::new(0);
/// Interface index of the tap.
#[unsafe(no_mangle)]
pub(crate) static TAP_IFINDEX: Global<u32> = Global::new(0);
/// MTU of the pod NIC.
#[unsafe(no_mangle)]
pub(crate) static MTU: Global<u32> = Global::new(0);
/// MTU of the tap.
#[unsafe(no_mangle)]
pub(crate) static TAP_MTU: Global<u32> = Global::new(0);
/// Whether to-network goes by `bpf_redirect_peer`: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static TO_NETWORK_PEER: Global<u32> = Global::new(0);
/// Interface index of the portal, in the node's namespace; 0 if there is none.
#[unsafe(no_mangle)]
pub(crate) static PORTAL_IFINDEX: Global<u32> = Global::new(0);
/// Whether the kernel has `bpf_check_mtu`, so that a portal that is gone is noticed: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static PORTAL_CHECK: Global<u32> = Global::new(0);
/// Whether DHCP is answered, and kept off the network: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static DHCP: Global<u32> = Global::new(0);
/// For what the ARP responder answers: nothing, the addresses of its table, or all; one of [`arp_answers`].
#[unsafe(no_mangle)]
pub(crate) static ARP: Global<u32> = Global::new(arp_answers::NONE);
/// The address of the lease, as it is sent.
#[unsafe(no_mangle)]
pub(crate) static LEASE_ADDRESS: Global<[u8; 4]> = Global::new([0; 4]);
/// The server identifier, as it is sent.
#[unsafe(no_mangle)]
pub(crate) static SERVER_IDENTIFIER: Global<[u8; 4]> = Global::new([0; 4]);
/// Whether the pod NIC may be given frames by `bpf_redirect_peer`, with a MAC that is neither its own nor the guest's: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static FROM_PEER: Global<u32> = Global::new(0);
/// The MAC that the network knows: that of the pod NIC as the CNI made it.
#[unsafe(no_mangle)]
pub(crate) static NETWORK_MAC: Global<u64> = Global::new(0);
/// The guest's MAC, unless it is learnt.
#[unsafe(no_mangle)]
pub(crate) static GUEST_MAC: Global<u64> = Global::new(0);
/// Whether the guest's MAC is learnt from its first frame: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static LEARN: Global<u32> = Global::new(0);
/// The MAC that is answered for addresses which the table of the ARP responder lacks.
#[unsafe(no_mangle)]
pub(crate) static GATEWAY_MAC: Global<u64> = Global::new(0);

/// The rules of the guard that hold.
#[unsafe(no_mangle)]
pub(crate) static GUARD: Global<u32> = Global::new(Rules::NONE.0);
/// What the guard lets pass beside the guest's own. Its values are read like those of a [`Global`], one by one.
#[unsafe(no_mangle)]
pub(crate) static EXCEPTIONS: Exceptions = Exceptions::NONE;

/// The MAC that the network knows.
#[inline(always)]
pub(crate) fn network_mac() -> MacAddr {
    MacAddr::from_number(NETWORK_MAC.load())
}

/// Whether the guest's MAC may be another than the network knows. If not, no frame to the network is edited.
#[inline(always)]
pub(crate) fn guest_may_differ() -> bool {
    LEARN.load() != 0 || GUEST_MAC.load() != NETWORK_MAC.load()
}

/// The constants of the guard.
pub(crate) struct Guard;

impl Policy for Guard {
    #[inline(always)]
    fn rules(&self) -> Rules {
        Rules(GUARD.load())
    }

    #[inline(always)]
    fn guest(&self) -> MacAddr {
        guest::mac()
    }

    #[inline(always)]
    fn network(&self) -> MacAddr {
        network_mac()
    }

    #[inline(always)]
    fn lease(&self) -> [u8; 4] {
        LEASE_ADDRESS.load()
    }

    #[inline(always)]
    fn exceptions(&self) -> &Exceptions {
        &EXCEPTIONS
    }

    #[inline(always)]
    fn allows_ipv4(&self, address: [u8; 4]) -> bool {
        functions::tapwire_allows_ipv4(u32::from_be_bytes(address)) != 0
    }

    #[inline(always)]
    fn allows_ipv6(&self, address: Ipv6) -> bool {
        // An ordinary frame has the pod's own address.
        EXCEPTIONS.has_first_ipv6(address) || functions::tapwire_allows_ipv6(address[0], address[1]) != 0
    }

    #[inline(always)]
    fn is_anothers(&self, address: Ipv6) -> bool {
        functions::tapwire_is_anothers(address[0], address[1]) != 0
    }

    #[inline(always)]
    fn allows_mac(&self, mac: MacAddr) -> bool {
        functions::tapwire_allows_mac(mac.to_number()) != 0
    }

    #[inline(always)]
    fn allows_ether_type(&self, kind: [u8; 2]) -> bool {
        functions::tapwire_allows_type(u32::from(u16::from_be_bytes(kind))) != 0
    }
}

/// The constants of the DHCP responder.
#[inline(always)]
pub(crate) fn server() -> Server {
    Server { lease: LEASE_ADDRESS.load(), identifier: SERVER_IDENTIFIER.load(), guest: guest::mac() }
}
