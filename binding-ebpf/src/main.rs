//! The TC programs of tapwire: one per hook, each a thin shell around the decisions of `binding-common`.
//!
//! | program             | hook                    | does |
//! |---------------------|-------------------------|------|
//! | `tapwire_tap_in`    | ingress of the tap      | answers the guest, or sends its frames to the network |
//! | `tapwire_nic_in`    | ingress of the NIC      | sends the network's frames to the guest |
//! | `tapwire_nic_out`   | egress of the NIC       | in `keep` mode: silences the pod's own stack |
//! | `tapwire_host_out`  | egress of the host side | sends what would reach the NIC to the guest, through the portal |
//! | `tapwire_portal_in` | ingress of the portal   | ends whatever would climb into the node's stack there |
//!
//! Every program ends every frame of its direction: nothing climbs into the pod's network stack. Only `tapwire_host_out`
//! leaves a frame to the veth where the portal is gone; then `tapwire_nic_in` judges and counts it.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[cfg(target_arch = "bpf")]
mod constants;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod fixup;
#[cfg(target_arch = "bpf")]
mod forward;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod functions;
#[cfg(target_arch = "bpf")]
mod guest;
#[cfg(target_arch = "bpf")]
mod responders;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
        macros::classifier,
        programs::TcContext,
    };
    use binding_common::{Reason, guard, packet::too_big, to_guest, to_network};

    use crate::{
        constants::{self, Guard},
        count, fixup, forward,
        frame::Frame,
        guest, responders,
    };

    /// From the guest: answered here, or sent to the network.
    #[classifier]
    pub(crate) fn tapwire_tap_in(ctx: TcContext) -> i32 {
        verdict(from_guest(&ctx))
    }

    /// From the network: sent to the guest.
    #[classifier]
    pub(crate) fn tapwire_nic_in(ctx: TcContext) -> i32 {
        verdict(from_network(&ctx))
    }

    /// From the pod's own stack, unless it is the guest's frame on its way out of the tap.
    #[classifier]
    pub(crate) fn tapwire_nic_out(ctx: TcContext) -> i32 {
        let frame = Frame::unread(&ctx);
        verdict(if frame.came_from(constants::TAP_IFINDEX.load()) { Ok(TC_ACT_UNSPEC) } else { Err(Reason::PodStack) })
    }

    /// From the node, on its way out of the host side: sent to the guest through the portal.
    #[classifier]
    pub(crate) fn tapwire_host_out(ctx: TcContext) -> i32 {
        verdict(from_node(&ctx))
    }

    /// Into the portal: nothing may come out of it.
    #[classifier]
    pub(crate) fn tapwire_portal_in(_ctx: TcContext) -> i32 {
        verdict(Err(Reason::Portal))
    }

    /// The one place where a drop becomes a verdict.
    #[inline(always)]
    fn verdict(result: Result<i32, Reason>) -> i32 {
        match result {
            Ok(action) => action,
            Err(reason) => {
                count::dropped(reason);
                TC_ACT_SHOT
            }
        }
    }

    #[inline(always)]
    fn from_guest(ctx: &TcContext) -> Result<i32, Reason> {
        let frame = Frame::read(ctx)?;
        guest::learn(&frame);
        guard::source(&frame, &Guard)?;
        if constants::DHCP.load() != 0 && frame.untagged() {
            let answer = match to_network::classify(&frame) {
                to_network::Class::Plain => None,
                to_network::Class::Arp => responders::arp::answer(&frame)?,
                to_network::Class::Dhcp(udp) => responders::dhcp::answer(&frame, udp)?,
                to_network::Class::Hidden => return Err(Reason::DhcpMalformed),
            };
            if let Some(action) = answer {
                return Ok(action);
            }
        }
        // Behind the responders: a renewal from a lost address must get its NAK.
        match guard::to_network(&frame, frame.tag(), &Guard) {
            Err(Reason::SpoofedArp) => return responders::arp::lead_to_server(&frame),
            judged => judged?,
        }
        if too_big(&frame, frame.len(), frame.gso_size(), constants::MTU.load()) {
            return Err(Reason::TooBig);
        }
        fixup::to_network(&frame)?;
        Ok(forward::to_network(&frame))
    }

    #[inline(always)]
    fn from_network(ctx: &TcContext) -> Result<i32, Reason> {
        let frame = Frame::read(ctx)?;
        may_reach_guest(&frame)?;
        fixup::to_guest(&frame, fixup::is_for_this_host(&frame))?;
        Ok(forward::to_guest(&frame))
    }

    #[inline(always)]
    fn from_node(ctx: &TcContext) -> Result<i32, Reason> {
        let portal = constants::PORTAL_IFINDEX.load();
        if portal == 0 {
            return Ok(TC_ACT_UNSPEC);
        }
        let frame = Frame::read(ctx)?;
        may_reach_guest(&frame)?;
        if constants::PORTAL_CHECK.load() != 0 {
            match frame.mtu_exceeded(portal) {
                Ok(None) => {}
                // The portal follows the tap's MTU downwards, and checks none itself.
                Ok(Some(mtu)) if too_big(&frame, frame.len(), frame.gso_size(), mtu) => return Err(Reason::TooBig),
                Ok(Some(_)) => {}
                Err(()) => return Ok(TC_ACT_UNSPEC),
            }
        }
        fixup::to_guest(&frame, false)?;
        Ok(forward::through_portal(&frame))
    }

    /// What is judged of a frame to the guest, whichever way it goes.
    #[inline(always)]
    fn may_reach_guest(frame: &Frame<'_>) -> Result<(), Reason> {
        guard::to_guest(frame, frame.untagged(), &Guard)?;
        if constants::DHCP.load() != 0 && frame.untagged() {
            to_guest::classify(frame, constants::LEASE_ADDRESS.load())?;
        }
        if too_big(frame, frame.len(), frame.gso_size(), constants::TAP_MTU.load()) {
            return Err(Reason::TooBig);
        }
        Ok(())
    }
}

/// The programs have no `main`; this one lets `cargo clippy` and `cargo test` take the crate on the host.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Never reached: nothing in the programs can panic, or the verifier would refuse the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers such as `bpf_skb_change_tail` are for GPL-compatible programs; the crate is MIT or GPL.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
