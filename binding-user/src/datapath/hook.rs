//! Hangs programs on hooks.
//!
//! Every function here runs on a thread that is in the namespace of the device: the kernel looks for an interface index
//! in the namespace of the thread that asks, and the same index is another device elsewhere.

use std::{io, mem};

use aya::programs::{
    LinkOrder, ProgramError, ProgramInfo, SchedClassifier, TcAttachType,
    links::{FdLink, Link as _, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use serde::{Deserialize, Serialize};

use super::{Pins, Programs, raw::info_of, tcx};
use crate::{
    error::{Chained as _, Context as _, Result},
    netlink::tc::{Filter, Tc},
};

/// What the kernel must have, and the process.
pub(super) const NEEDS: &str = "tapwire needs CONFIG_BPF_SYSCALL, a kernel of 5.10 or later, CAP_BPF and CAP_NET_ADMIN, and memory: before 5.11 \
     `ulimit -l unlimited`; `tapwire check` tells what is missing";

/// Priority of our filters on clsact: late, so that a filter which the operator adds without thinking comes first.
pub(super) const PRIORITY: u16 = 50_000;
/// The same in the node's namespace: the last one, so that every other filter comes first, also one that is added later.
pub const NODE_PRIORITY: u16 = u16::MAX;
/// Handle of our filters: fixed, so that they are recognised and replaced, never doubled.
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// By which interface of the kernel a program is on its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookKind {
    /// TCX, kernel 6.6 and later: a link that is held by its pin.
    Tcx,
    /// A filter of the clsact qdisc, which the device holds.
    Clsact,
}

/// The direction of a frame as the kernel has it, seen from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into this host.
    Ingress,
    /// Out of this host.
    Egress,
}

/// The namespace that a hook's device is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// The pod's.
    #[default]
    Pod,
    /// The node's. There it is always a filter of clsact, behind all others: TCX programs and other filters come first,
    /// whenever they come.
    Node,
}

/// A program and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Name of the program in the object; it also names the pin of the link.
    pub program: String,
    /// Name of the device.
    pub device: String,
    /// Which of the device's hooks.
    pub direction: Direction,
    /// Where the device is.
    #[serde(default)]
    pub space: Space,
}

impl Hook {
    /// A hook of the program `tapwire_…` of this name.
    pub fn new(program: &str, device: &str, direction: Direction) -> Self {
        Self { program: program.to_owned(), device: device.to_owned(), direction, space: Space::Pod }
    }

    /// The same in the node's namespace.
    pub fn in_node(program: &str, device: &str, direction: Direction) -> Self {
        Self { space: Space::Node, ..Self::new(program, device, direction) }
    }

    /// Whether its device is this one of the pod's namespace.
    pub fn is_device_of_pod(&self, device: &str) -> bool {
        self.space == Space::Pod && self.device == device
    }

    /// Whether its device is in the node's namespace.
    pub fn is_in_node(&self) -> bool {
        self.space == Space::Node
    }

    /// The same hook of a device that is called otherwise now.
    #[must_use]
    pub fn on(&self, device: &str) -> Self {
        Self { device: device.to_owned(), ..self.clone() }
    }

    /// By what the program is on its hook, in a binding of this kind.
    pub(super) fn kind(&self, of_binding: HookKind) -> HookKind {
        if self.is_in_node() { HookKind::Clsact } else { of_binding }
    }

    fn priority(&self) -> u16 {
        if self.is_in_node() { NODE_PRIORITY } else { PRIORITY }
    }

    /// Puts the program on its hook, where nothing of this binding may be yet. It stays there without this process.
    pub fn attach(&self, kind: HookKind, programs: &mut Programs, pins: &Pins) -> Result<()> {
        let what = || format!("attach {} to {} of {}", self.program, self.side(), self.device);
        let program = programs.program(&self.program)?;
        match self.kind(kind) {
            HookKind::Tcx => {
                let options = TcAttachOptions::TcxOrder(LinkOrder::default());
                let link = self.link(program, options).chained(what)?;
                let link: FdLink = link.try_into().chained(what)?;
                link.pin(pins.link(&self.program)).chained(what).map(drop)
            }
            HookKind::Clsact => self.add_filter(program),
        }
    }

    /// [`attach`](Self::attach) of a hook in the node's namespace, which needs no pins.
    pub fn attach_in_node(&self, programs: &mut Programs) -> Result<()> {
        self.add_filter(programs.program(&self.program)?)
    }

    fn add_filter(&self, program: &mut SchedClassifier) -> Result<()> {
        add_clsact(&self.device)?;
        let options = NlOptions { priority: self.priority(), handle: HANDLE, classid: None };
        let link = self.link(program, TcAttachOptions::Netlink(options));
        let link = link.chained(|| format!("attach {} to {} of {}", self.program, self.side(), self.device))?;
        #[expect(clippy::mem_forget, reason = "dropping the link of a filter deletes the filter")]
        mem::forget(link);
        Ok(())
    }

    /// Gives the hook another program, in one step: no frame meets the old one after the new one, or none at all. On
    /// failure the old one is still there.
    pub fn replace(&self, kind: HookKind, program: &mut SchedClassifier, pins: &Pins) -> Result<()> {
        let what = || format!("replace {} on {} of {}", self.program, self.side(), self.device);
        let kind = self.kind(kind);
        let link: SchedClassifierLink = match kind {
            HookKind::Tcx => {
                let link = PinnedLink::from_pin(pins.link(&self.program)).chained(what)?;
                FdLink::from(link).try_into().chained(what)?
            }
            HookKind::Clsact => {
                SchedClassifierLink::attached(&self.device, self.direction.into(), self.priority(), HANDLE, None)
                    .context(what)?
            }
        };
        let taken = program.attach_to_link(link).and_then(|id| program.take_link(id));
        let link = taken.chained(what)?;
        if kind == HookKind::Clsact {
            #[expect(clippy::mem_forget, reason = "dropping the link of a filter deletes the filter")]
            mem::forget(link);
        }
        Ok(())
    }

    /// The program that is on the hook now, of whichever build, so that it can be put back. `tc` is what its device has.
    pub fn current(&self, kind: HookKind, pins: &Pins, tc: &Tc) -> Result<SchedClassifier> {
        let what = || format!("find {} on {} of {}", self.program, self.side(), self.device);
        let found = match self.kind(kind) {
            HookKind::Tcx => self.program_on_tcx(pins),
            HookKind::Clsact => {
                let id = self.filter(tc).and_then(|filter| filter.bpf_id);
                id.map(|id| info_of(id, &pins.passing(&self.program)).context(what)).transpose()?
            }
        };
        let info = found.ok_or("it is not there").context(what)?;
        SchedClassifier::from_program_info(info, self.program.clone().into()).chained(what)
    }

    /// Takes the program off its TCX hook, by removing the pin that holds the link. One that is not there is no error.
    pub fn unpin(&self, pins: &Pins) -> Result<()> {
        match std::fs::remove_file(pins.link(&self.program)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context(|| format!("detach {} from {}", self.program, self.device))
            }
            _ => Ok(()),
        }
    }

    /// Deletes the program's filter, which [`Self::is_among`] has found.
    pub fn delete_filter(&self) -> Result<()> {
        let what = || format!("detach {} from {}", self.program, self.device);
        let link = SchedClassifierLink::attached(&self.device, self.direction.into(), self.priority(), HANDLE, None);
        link.context(what)?.detach().chained(what)
    }

    /// The program's filter, if it is on its hook by one.
    pub(super) fn filter<'a>(&self, tc: &'a Tc) -> Option<&'a Filter> {
        self.filters(tc).iter().find(|filter| self.is_filter(filter))
    }

    fn program_on_tcx(&self, pins: &Pins) -> Option<ProgramInfo> {
        let id = self.linked_program(pins)?;
        let programs = tcx::programs(&self.device, self.direction.into()).ok()?;
        programs.into_iter().find(|program| program.id() == id)
    }

    /// The id of the program of the pinned link, wherever that is.
    pub(super) fn linked_program(&self, pins: &Pins) -> Option<u32> {
        let link = PinnedLink::from_pin(pins.link(&self.program)).ok()?;
        FdLink::from(link).info().ok().map(|info| info.program_id())
    }

    /// Whether the program is among the filters of its device.
    pub fn is_among(&self, tc: &Tc) -> bool {
        self.filter(tc).is_some()
    }

    /// The filters of its side.
    pub(super) fn filters<'a>(&self, tc: &'a Tc) -> &'a [Filter] {
        match self.direction {
            Direction::Ingress => &tc.ingress,
            Direction::Egress => &tc.egress,
        }
    }

    /// Whether a filter is the program's.
    fn is_filter(&self, filter: &Filter) -> bool {
        filter.priority == self.priority()
            && filter.handle == u32::from(HANDLE)
            && filter.bpf_name.as_deref() == Some(self.program.as_str())
    }

    pub(super) fn link(
        &self,
        program: &mut SchedClassifier,
        options: TcAttachOptions,
    ) -> Result<SchedClassifierLink, ProgramError> {
        let id = program.attach_with_options(&self.device, self.direction.into(), options)?;
        // At once: dropping the program would detach what it still owns.
        program.take_link(id)
    }

    fn side(&self) -> &'static str {
        match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

impl From<Direction> for TcAttachType {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self::Ingress,
            Direction::Egress => Self::Egress,
        }
    }
}

/// Adds the clsact qdisc; one that is there already serves as well.
fn add_clsact(device: &str) -> Result<()> {
    match tc::qdisc_add_clsact(device) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(nix::libc::EEXIST) => Ok(()),
        other => other.chained(|| format!("add the clsact qdisc to {device}")),
    }
}

/// Whether a filter is in the place of ours at the host side's egress.
pub fn is_in_node_place(filter: &Filter) -> bool {
    filter.priority == NODE_PRIORITY && filter.handle == u32::from(HANDLE)
}

/// Whether a program of this name is one of ours.
pub fn is_ours(program: &str) -> bool {
    program.starts_with("tapwire_")
}
