//! Loads the programs.

use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{ProgramError, SchedClassifier},
};
use binding_common::dhcp::{Options, Server, Template};

use super::hook::NEEDS;
use crate::{
    dhcp::Replies,
    error::{Context as _, Error, Result, chain},
};

/// The object that `build.rs` built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tapwire-ebpf"));

/// Lines of the verifier's log that an error repeats: the last ones tell what it refused.
const VERIFIER_LINES: usize = 3;

/// What is fixed for a binding; the programs see it as read-only globals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// DHCP is answered with this; `None` makes a pure wire.
    pub dhcp: Option<Server>,
    /// The ARP responder answers for the server identifier.
    pub arp_server: bool,
}

/// The programs of one binding, in the kernel but on no hook yet.
#[derive(Debug)]
pub struct Programs(Ebpf);

impl Programs {
    /// Loads every program; the kernel verifies them here. Changes nothing but the kernel's memory, and dropping the
    /// result undoes that.
    pub fn load(constants: &Constants, replies: Option<&Replies>) -> Result<Self> {
        let server = constants.dhcp;
        let flags = [constants.peer, server.is_some(), constants.arp_server].map(u32::from);
        let address = server.map_or([0; 4], |server| server.lease);
        let identifier = server.map_or([0; 4], |server| server.identifier);
        let guest = server.map_or([0; 6], |server| server.guest.0);
        let mut loader = EbpfLoader::new();
        loader
            // Nothing in the programs needs the kernel's BTF, and parsing it costs more than all the rest of `attach`.
            .btf(None)
            .override_global("NIC_IFINDEX", &constants.nic, true)
            .override_global("TAP_IFINDEX", &constants.tap, true)
            .override_global("MTU", &constants.mtu, true)
            .override_global("TAP_MTU", &constants.tap_mtu, true)
            .override_global("TO_NETWORK_PEER", &flags[0], true)
            .override_global("DHCP", &flags[1], true)
            .override_global("ARP_SERVER", &flags[2], true)
            .override_global("LEASE_ADDRESS", &address, true)
            .override_global("SERVER_IDENTIFIER", &identifier, true)
            .override_global("GUEST_MAC", &guest, true);
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| Error::new("load the programs", chain(&error)).with_hint(NEEDS))?;
        if let Some(replies) = replies {
            fill_replies(&mut ebpf, replies)?;
        }
        for (name, program) in ebpf.programs_mut() {
            let name = name.to_owned();
            let program: &mut SchedClassifier = program.try_into().context(|| format!("load the program {name}"))?;
            program.load().map_err(|error| refused(&name, &error))?;
        }
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

fn fill_replies(ebpf: &mut Ebpf, replies: &Replies) -> Result<()> {
    let what = || "store the DHCP replies";
    let map = ebpf.map_mut("REPLIES").ok_or("the object has no such map").context(what)?;
    let mut map: Array<_, Template> = map.try_into().context(what)?;
    for (index, template) in (0..).zip(&replies.templates) {
        map.set(index, template, 0).context(what)?;
    }
    let map = ebpf.map_mut("OPTIONS").ok_or("the object has no such map").context(what)?;
    let mut map: Array<_, Options> = map.try_into().context(what)?;
    map.set(0, *replies.options, 0).context(what)
}

/// A program that the kernel does not take, with the end of what its verifier said.
fn refused(name: &str, error: &ProgramError) -> Error {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return Error::new(format!("load the program {name}"), chain(error));
    };
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(VERIFIER_LINES)..].join(" | ");
    let why = if tail.is_empty() { io_error.to_string() } else { format!("{io_error}: {tail}") };
    Error::new(format!("load the program {name}"), why)
        .with_hint("the kernel lacks what this program needs; tapwire runs on 5.10 and later")
}
