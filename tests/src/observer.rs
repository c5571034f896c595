//! Programs of somebody else that count what they see, at every place where a node's policy can hang: TCX, filters of
//! clsact, and XDP. They pass, drop or tag.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use nix::{libc, net::if_::if_nametoindex};

use crate::{
    cmd,
    foreign::{LINK_CREATE, Link, PROG_TYPE_SCHED_CLS, call, command, load},
    netns::Namespace,
};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const OBJ_PIN: libc::c_int = 6;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const XDP_GENERIC: u32 = 1 << 1;
const XDP_NATIVE: u32 = 1 << 2;
/// `BPF_F_BEFORE` and `BPF_F_AFTER` with nothing to be relative to: the head and the end of the list.
const FIRST: u32 = 1 << 3;
const LAST: u32 = 1 << 4;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Which way frames go that the program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the device receives.
    Ingress,
    /// What the device sends.
    Egress,
}

/// Where the program hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the head of the TCX list.
    TcxFirst,
    /// At the end of the TCX list.
    TcxLast,
    /// A filter of clsact with this priority and handle.
    Filter(u16, u32),
    /// XDP in the driver; at ingress only.
    XdpNative,
    /// XDP before the stack; at ingress only.
    XdpGeneric,
}

/// What the program does with a frame when it has counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Leaves it to the next.
    Pass,
    /// Drops it.
    Drop,
    /// Gives it an 802.1Q tag with this id, and leaves it to the next.
    Tag(u16),
}

/// A program at its place, as long as this lives.
#[derive(Debug)]
pub struct Observer {
    map: OwnedFd,
    #[expect(dead_code, reason = "held, not used")]
    hung: Hung,
}

/// What keeps a program at its place.
#[derive(Debug)]
enum Hung {
    /// The descriptor, as long as it is open.
    Link(#[expect(dead_code, reason = "held, not used")] OwnedFd),
    /// The kernel, until the filter is deleted.
    Filter(#[expect(dead_code, reason = "deleted when it is dropped")] Filter),
}

/// A filter, which no descriptor holds: it must be deleted.
#[derive(Debug)]
struct Filter {
    namespace: String,
    device: String,
    side: Side,
    priority: u16,
    handle: u32,
}

#[repr(C)]
struct Map {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct Pin {
    path: u64,
    object: u32,
    flags: u32,
}

impl Observer {
    /// Hangs a program at a device of a namespace.
    pub fn hang(namespace: &Namespace, device: &str, side: Side, place: Place, act: Act) -> Result<Self> {
        let map = Map { kind: MAP_TYPE_ARRAY, key: 4, value: 8, entries: 1, flags: 0 };
        let map = call(MAP_CREATE, &map).context("making a map")?;
        let xdp = matches!(place, Place::XdpNative | Place::XdpGeneric);
        let kind = if xdp { PROG_TYPE_XDP } else { PROG_TYPE_SCHED_CLS };
        let program = load(kind, "observer", &instructions(&map, act, xdp))?;
        let (attach_type, flags) = match (place, side) {
            (Place::TcxFirst, side) => (tcx(side), FIRST),
            (Place::TcxLast, side) => (tcx(side), LAST),
            (Place::XdpNative, Side::Ingress) => (ATTACH_XDP, XDP_NATIVE),
            (Place::XdpGeneric, Side::Ingress) => (ATTACH_XDP, XDP_GENERIC),
            (Place::Filter(priority, handle), side) => {
                let (name, device) = (namespace.name().to_owned(), device.to_owned());
                let filter = Filter { namespace: name, device, side, priority, handle };
                filter.add(namespace, &program)?;
                return Ok(Self { map, hung: Hung::Filter(filter) });
            }
            (Place::XdpNative | Place::XdpGeneric, Side::Egress) => bail!("XDP is at ingress only"),
        };
        let link = namespace.run(|| {
            let link = Link {
                program: program.as_raw_fd(),
                ifindex: if_nametoindex(device).with_context(|| format!("no link {device}"))?,
                attach_type,
                flags,
                relative: 0,
                padding: 0,
                revision: 0,
            };
            call(LINK_CREATE, &link).with_context(|| format!("hanging a program at {device}"))
        })?;
        Ok(Self { map, hung: Hung::Link(link) })
    }

    /// Frames that the program has seen.
    pub fn seen(&self) -> Result<u64> {
        let (key, mut count) = (0_u32, 0_u64);
        let element = Element {
            map: u32::try_from(self.map.as_raw_fd())?,
            padding: 0,
            key: u64::try_from((&raw const key).addr())?,
            value: u64::try_from((&raw mut count).expose_provenance())?,
            flags: 0,
        };
        command(MAP_LOOKUP, &element).context("reading a map")?;
        Ok(count)
    }
}

impl Filter {
    fn side(&self) -> &'static str {
        if self.side == Side::Ingress { "ingress" } else { "egress" }
    }

    fn add(&self, namespace: &Namespace, program: &OwnedFd) -> Result<()> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = format!("/sys/fs/bpf/twt-{}-observer-{number}", std::process::id());
        let text = CString::new(path.as_str())?;
        let pin =
            Pin { path: u64::try_from(text.as_ptr().addr())?, object: u32::try_from(program.as_raw_fd())?, flags: 0 };
        command(OBJ_PIN, &pin).context("pinning a program")?;
        // It may have one, of ours or of an observer's.
        let _ = namespace.exec(&["tc", "qdisc", "add", "dev", &self.device, "clsact"]);
        let (priority, handle) = (self.priority.to_string(), format!("0x{:x}", self.handle));
        let place = ["tc", "filter", "add", "dev", &self.device, self.side(), "pref", &priority, "handle", &handle];
        let added = namespace.exec(&[&place[..], &["bpf", "da", "object-pinned", &path]].concat());
        // The filter holds the program now.
        fs::remove_file(Path::new(&path)).with_context(|| format!("removing {path}"))?;
        added.map(drop)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let (priority, handle) = (self.priority.to_string(), format!("0x{:x}", self.handle));
        let device = ["tc", "-n", &self.namespace, "filter", "del", "dev", &self.device, self.side()];
        // The device may be gone, and the filter with it.
        let _ = cmd::run(&[&device[..], &["pref", &priority, "handle", &handle, "bpf"]].concat());
    }
}

fn tcx(side: Side) -> u32 {
    if side == Side::Ingress { 46 } else { 47 }
}

/// One instruction, as the kernel of a little-endian machine reads it.
fn op(code: u8, [to, from]: [u8; 2], offset: i16, value: i32) -> u64 {
    let registers = u64::from(to | from << 4) << 8;
    let offset = u64::from(offset.cast_unsigned()) << 16;
    u64::from(code) | registers | offset | u64::from(value.cast_unsigned()) << 32
}

/// Counts in the one entry of the map, acts, and gives the verdict.
fn instructions(map: &OwnedFd, act: Act, xdp: bool) -> Vec<u64> {
    let verdict = match (act, xdp) {
        (Act::Drop, true) => 1,
        (Act::Drop, false) | (_, true) => 2,
        // TCX_NEXT and TC_ACT_UNSPEC are one number.
        (_, false) => -1,
    };
    let mut all = vec![
        op(0xbf, [6, 1], 0, 0),               // r6 = r1
        op(0x62, [10, 0], -4, 0),             // *(u32 *)(r10 - 4) = 0
        op(0xbf, [2, 10], 0, 0),              // r2 = r10
        op(0x07, [2, 0], 0, -4),              // r2 += -4
        op(0x18, [1, 1], 0, map.as_raw_fd()), // r1 = map
        0,
        op(0x85, [0, 0], 0, 1), // call bpf_map_lookup_elem
        op(0x15, [0, 0], 2, 0), // if r0 == 0 goto +2
        op(0xb7, [1, 0], 0, 1), // r1 = 1
        op(0xdb, [0, 1], 0, 0), // lock *(u64 *)r0 += r1
    ];
    if let Act::Tag(id) = act {
        all.extend([
            op(0xbf, [1, 6], 0, 0),                             // r1 = r6
            op(0xb7, [2, 0], 0, i32::from(0x8100_u16.to_be())), // r2 = 802.1Q
            op(0xb7, [3, 0], 0, i32::from(id)),                 // r3 = id
            op(0x85, [0, 0], 0, 18),                            // call bpf_skb_vlan_push
        ]);
    }
    all.extend([op(0xb7, [0, 0], 0, verdict), op(0x95, [0, 0], 0, 0)]);
    all
}
