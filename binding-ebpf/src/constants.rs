//! What is fixed for a binding. User space writes these before it loads the programs and they are read-only from then on,
//! so the verifier takes them for constants and leaves out every branch that they rule out.

use aya_ebpf::Global;
use binding_common::{MacAddr, dhcp::Server};

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
/// Whether DHCP is answered, and kept off the network: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static DHCP: Global<u32> = Global::new(0);
/// Whether the ARP responder answers for the server identifier: 0 or 1.
#[unsafe(no_mangle)]
pub(crate) static ARP_SERVER: Global<u32> = Global::new(0);
/// The address of the lease, as it is sent.
#[unsafe(no_mangle)]
pub(crate) static LEASE_ADDRESS: Global<[u8; 4]> = Global::new([0; 4]);
/// The server identifier, as it is sent.
#[unsafe(no_mangle)]
pub(crate) static SERVER_IDENTIFIER: Global<[u8; 4]> = Global::new([0; 4]);
/// The guest's MAC.
#[unsafe(no_mangle)]
pub(crate) static GUEST_MAC: Global<[u8; 6]> = Global::new([0; 6]);

/// The constants of the DHCP responder.
#[inline(always)]
pub(crate) fn server() -> Server {
    Server { lease: LEASE_ADDRESS.load(), identifier: SERVER_IDENTIFIER.load(), guest: MacAddr(GUEST_MAC.load()) }
}
