//! Where a program of ours stands on its hook, who comes before it, and how it is put there again.
//!
//! All programs of a hook are asked in turn until one decides (`sch_handle_ingress` in net/core/dev.c): TCX programs in
//! the order of their list, then the filters of clsact by priority. What comes before ours may send a frame elsewhere or
//! drop it, uncounted. Like all of [`hook`](super::hook), this runs on a thread that is in the device's namespace.

use std::{fmt, fs};

use aya::programs::{LinkOrder, ProgramId, ProgramInfo, links::FdLink, tc::TcAttachOptions};

use super::{Hook, HookKind, Pins, Programs, hook::is_ours, pins, tcx};
use crate::{
    error::{Chained as _, Context as _, Result},
    netlink::tc::{Filter, Tc},
};

/// A program of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its name, or the kind of filter that it is.
    pub name: String,
    /// Of a filter of clsact, where its owner put it; `None` for a TCX program.
    pub priority: Option<u16>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.priority {
            Some(priority) => write!(f, "filter {} (priority {priority})", self.name),
            None => write!(f, "program {}", self.name),
        }
    }
}

/// A program of ours that is on its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub program: u32,
    /// Who comes before it.
    pub before: Vec<Foreign>,
}

impl Hook {
    /// Finds the program on its hook; `tc` is what traffic control the device has.
    pub fn find(&self, kind: HookKind, pins: &Pins, tc: &Tc) -> Result<Option<Place>> {
        let on_tcx = tcx::programs(&self.device, self.direction.into())?;
        let foreign =
            |program: &ProgramInfo| Foreign { name: program.name_as_str().unwrap_or("?").to_owned(), priority: None };
        Ok(match self.kind(kind) {
            HookKind::Tcx => self.linked_program(pins).and_then(|ours| {
                let at = on_tcx.iter().position(|program| program.id() == ours)?;
                let before = on_tcx[..at].iter().map(foreign).filter(|program| !is_ours(&program.name));
                Some(Place { program: ours, before: before.collect() })
            }),
            HookKind::Clsact => self.filter(tc).map(|ours| Place {
                program: ours.bpf_id.unwrap_or_default(),
                before: on_tcx.iter().map(foreign).chain(earlier(self.filters(tc), ours.priority)).collect(),
            }),
        })
    }

    /// Puts the program on its hook, or gives the hook this one in place of the one that is there. On TCX it comes before
    /// the first program that is not known, on a place that it did not have. In either case no frame finds the hook empty
    /// that did not before.
    pub fn put(
        &self,
        kind: HookKind,
        programs: &mut Programs,
        pins: &Pins,
        place: Option<&Place>,
        known: &[String],
    ) -> Result<()> {
        let is_unknown = |name: &str| !is_ours(name) && !known.iter().any(|known| known == name);
        let behind = place.is_none_or(|place| place.before.iter().any(|foreign| is_unknown(&foreign.name)));
        match self.kind(kind) {
            HookKind::Tcx if behind => {
                let on_tcx = tcx::programs(&self.device, self.direction.into())?;
                let first = on_tcx.iter().find(|program| program.name_as_str().is_none_or(is_unknown));
                self.link_anew(programs, pins, first.map(ProgramInfo::id))
            }
            HookKind::Clsact if place.is_none() => self.attach(kind, programs, pins),
            _ => self.replace(kind, programs.program(&self.program)?, pins),
        }
    }

    /// Puts the program on its hook by a new link, before `first` or at the end, and only then lets go of the old link.
    fn link_anew(&self, programs: &mut Programs, pins: &Pins, first: Option<u32>) -> Result<()> {
        let what = || format!("attach {} to {}", self.program, self.device);
        let order = first.map_or_else(LinkOrder::default, before);
        let program = programs.program(&self.program)?;
        let link = self.link(program, TcAttachOptions::TcxOrder(order)).chained(what)?;
        let link: FdLink = link.try_into().context(what)?;
        let path = pins.link(&self.program);
        let temporary = pins::temporary(&path);
        pins::remove_file(&temporary)?;
        link.pin(&temporary).context(what)?;
        fs::rename(&temporary, &path).context(what)
    }
}

/// Before the program of an id, which the kernel has just named.
fn before(id: u32) -> LinkOrder {
    // SAFETY: a number and no more; the kernel refuses one that is not on the hook.
    LinkOrder::before_program_id(unsafe { ProgramId::new(id) })
}

/// Filters that come before ours.
fn earlier(filters: &[Filter], than: u16) -> impl Iterator<Item = Foreign> {
    filters
        .iter()
        .filter(move |filter| filter.priority < than)
        .map(|filter| Foreign { name: filter.name().to_owned(), priority: Some(filter.priority) })
}
