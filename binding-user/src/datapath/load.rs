//! Loads the programs.

use std::{panic::resume_unwind, thread};

use aya::{
    Ebpf, VerifierLogLevel,
    maps::{Array, HashMap},
    programs::{Program, ProgramError, SchedClassifier},
};
use binding_common::{
    MacAddr,
    dhcp::{Options, Server, Template},
};

use super::{
    PinnedMaps, Pins,
    hook::NEEDS,
    object::{Functions, loader, object},
};
use crate::{
    dhcp::Replies,
    error::{Chained as _, Context as _, Error, Result, chain},
    guard::GuardConstants,
    guest_mac::GuestMac,
    neighbours::ArpTable,
    portal::{HOST_OUT, PORTAL_IN},
};

/// Lines of the verifier's log that an error repeats: the last ones tell what it refused.
const VERIFIER_LINES: usize = 3;

/// What is fixed for a binding; the programs see it as read-only globals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constants {
    /// Interface index of the pod NIC.
    pub nic: u32,
    /// Interface index of the tap.
    pub tap: u32,
    /// MTU of the pod NIC in octets.
    pub mtu: u32,
    /// MTU of the tap in octets.
    pub tap_mtu: u32,
    /// To-network goes by `bpf_redirect_peer`.
    pub peer: bool,
    /// To-guest goes through a portal.
    pub portal: Option<PortalConstants>,
    /// The pod NIC may be given frames by `bpf_redirect_peer`.
    pub from_peer: bool,
    /// The MAC that the network knows: the pod NIC's as the CNI made it.
    pub network_mac: MacAddr,
    /// The guest's MAC.
    pub guest_mac: GuestMac,
    /// DHCP is answered with this; `None` makes a pure wire.
    pub dhcp: Option<Server>,
    /// What the ARP responder answers.
    pub arp: ArpTable,
    /// What the guest may send.
    pub guard: GuardConstants,
}

/// Of a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortalConstants {
    /// Its interface index in the node's namespace.
    pub ifindex: u32,
    /// The kernel has `bpf_check_mtu`: a portal that is gone is noticed, and frames go over the veth.
    pub check: bool,
}

/// The programs of one binding, in the kernel but on no hook yet.
#[derive(Debug)]
pub struct Programs(Ebpf);

impl Programs {
    /// Loads every program that the constants give work to; the kernel verifies them here. Changes nothing but the kernel's memory, and dropping the
    /// result undoes that; but with `pins`, the maps that outlive the programs are those that are pinned there, and are
    /// pinned if they are not. The kernel lets programs work with a map of any layout: [`PinnedMaps::for_this_build`]
    /// says which they are.
    pub fn load(constants: &Constants, replies: Option<&Replies>, pins: Option<(&Pins, &PinnedMaps)>) -> Result<Self> {
        let mut programs =
            Self::prepare(constants, replies, pins, Functions::of_this_kernel(), VerifierLogLevel::default())?;
        let wanted = |name: &str| constants.portal.is_some() || ![HOST_OUT, PORTAL_IN].contains(&name);
        // Side by side: the verifier is most of what an attach takes.
        thread::scope(|scope| {
            let wanted = programs.0.programs_mut().filter(|(name, _)| wanted(name));
            let loads: Vec<_> = wanted.map(|(name, program)| scope.spawn(|| verify(name, program))).collect();
            let loaded = loads.into_iter().map(|load| load.join().unwrap_or_else(|panic| resume_unwind(panic)));
            loaded.collect::<Vec<_>>().into_iter().collect::<Result<()>>()
        })?;
        Ok(programs)
    }

    /// [`load`](Self::load) without its last step: the maps are made and filled, and the kernel has seen no program yet.
    /// Who measures what the verifier does goes on from here. `log` is what an error has of the verifier's words.
    pub fn prepare(
        constants: &Constants,
        replies: Option<&Replies>,
        pins: Option<(&Pins, &PinnedMaps)>,
        functions: Functions,
        log: VerifierLogLevel,
    ) -> Result<Self> {
        let mut ebpf = load_object(constants, pins, functions, log)?;
        if let Some(replies) = replies {
            fill_replies(&mut ebpf, replies)?;
        }
        fill_neighbours(&mut ebpf, &constants.arp)?;
        Ok(Self(ebpf))
    }

    /// A program by its name.
    pub fn program(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let what = || format!("find the program {name}");
        let program = self.0.program_mut(name).ok_or("it is not in the object").context(what)?;
        program.try_into().context(what)
    }

    /// The loaded object: its maps, and programs to run by hand.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.0
    }
}

/// Has the kernel verify a program.
fn verify(name: &str, program: &mut Program) -> Result<()> {
    let program: &mut SchedClassifier = program.try_into().context(|| format!("load the program {name}"))?;
    program.load().map_err(|error| refused(name, &error))
}

/// Makes the maps, and sets the globals that the programs take for constants.
fn load_object(
    constants: &Constants,
    pins: Option<(&Pins, &PinnedMaps)>,
    functions: Functions,
    log: VerifierLogLevel,
) -> Result<Ebpf> {
    let Constants { nic, tap, mtu, tap_mtu, peer, from_peer, network_mac, guest_mac, dhcp, arp, guard, portal } =
        constants;
    let (portal_ifindex, portal_check) = portal.map_or((0, 0), |portal| (portal.ifindex, u32::from(portal.check)));
    let flags = [*peer, dhcp.is_some(), *guest_mac == GuestMac::Learn, *from_peer].map(u32::from);
    let address = dhcp.map_or([0; 4], |server| server.lease);
    let identifier = dhcp.map_or([0; 4], |server| server.identifier);
    let guest = guest_mac.expected(*network_mac);
    let (answers, gateway) = (arp.answers(), arp.gateway());
    let macs = [*network_mac, guest, gateway].map(MacAddr::to_number);
    let mut loader = loader();
    loader
        .verifier_log_level(log)
        .override_global("NIC_IFINDEX", nic, true)
        .override_global("TAP_IFINDEX", tap, true)
        .override_global("MTU", mtu, true)
        .override_global("TAP_MTU", tap_mtu, true)
        .override_global("TO_NETWORK_PEER", &flags[0], true)
        .override_global("PORTAL_IFINDEX", &portal_ifindex, true)
        .override_global("PORTAL_CHECK", &portal_check, true)
        .override_global("DHCP", &flags[1], true)
        .override_global("ARP", &answers, true)
        .override_global("LEASE_ADDRESS", &address, true)
        .override_global("SERVER_IDENTIFIER", &identifier, true)
        .override_global("NETWORK_MAC", &macs[0], true)
        .override_global("GUEST_MAC", &macs[1], true)
        .override_global("LEARN", &flags[2], true)
        .override_global("FROM_PEER", &flags[3], true)
        .override_global("GATEWAY_MAC", &macs[2], true)
        .override_global("GUARD", &guard.rules.0, true)
        .override_global("EXCEPTIONS", &guard.exceptions, true);
    if let Some((pins, maps)) = pins {
        loader.map_pin_path("COUNTERS", pins.map(&maps.counters.pin));
        loader.map_pin_path("LEARNED", pins.map(&maps.learned));
    }
    loader
        .load(object(functions).octets())
        .map_err(|error| Error::new("load the programs", chain(&error)).with_hint(NEEDS))
}

fn fill_neighbours(ebpf: &mut Ebpf, table: &ArpTable) -> Result<()> {
    let what = || "store the neighbours";
    let map = ebpf.map_mut("NEIGHBOURS").ok_or("the object has no such map").context(what)?;
    let mut map: HashMap<_, [u8; 4], [u8; 6]> = map.try_into().context(what)?;
    table.entries.iter().try_for_each(|(address, mac)| map.insert(address.octets(), mac.0, 0)).chained(what)
}

fn fill_replies(ebpf: &mut Ebpf, replies: &Replies) -> Result<()> {
    let what = || "store the DHCP replies";
    let map = ebpf.map_mut("REPLIES").ok_or("the object has no such map").context(what)?;
    let mut map: Array<_, Template> = map.try_into().context(what)?;
    for (index, template) in (0..).zip(&replies.templates) {
        map.set(index, template, 0).chained(what)?;
    }
    let map = ebpf.map_mut("OPTIONS").ok_or("the object has no such map").context(what)?;
    let mut map: Array<_, Options> = map.try_into().context(what)?;
    map.set(0, *replies.options, 0).chained(what)
}

/// A program that the kernel does not take, with the end of what its verifier said.
fn refused(name: &str, error: &ProgramError) -> Error {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return Error::new(format!("load the program {name}"), chain(error));
    };
    let log = verifier_log.to_string();
    // Its statistics stand last and tell nothing of the cause.
    let tells = |line: &&str| {
        !line.trim().is_empty()
            && !["verification time", "stack depth", "processed "].iter().any(|s| line.starts_with(s))
    };
    let lines: Vec<_> = log.lines().filter(tells).collect();
    let tail = lines[lines.len().saturating_sub(VERIFIER_LINES)..].join(" | ");
    let why = if tail.is_empty() { io_error.to_string() } else { format!("{io_error}: {tail}") };
    Error::new(format!("load the program {name}"), why)
        .with_hint("the kernel lacks what this program needs; tapwire runs on 5.10 and later")
}
