//! The few system calls that aya does not offer: maps whose size is known only at run time, the device of a TCX link, a
//! program by its number, and the end of programs that were taken off.
//!
//! The structs are the beginnings of members of `union bpf_attr` (include/uapi/linux/bpf.h); the kernel takes what is
//! left out for zero.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::programs::ProgramInfo;
use nix::libc;

use crate::error::{Chained as _, Context as _, Result};

/// `MEMBARRIER_CMD_GLOBAL`, a command of membarrier(2).
const MEMBARRIER_GLOBAL: libc::c_int = 1;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

const MAP_TYPE_ARRAY: u32 = 2;
const LINK_TYPE_TCX: u32 = 11;

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Element {
    map_fd: i32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    /// An entry of a map, by its key, and where its value is or shall be.
    fn of(map: BorrowedFd<'_>, key: &u32, value: *const u8) -> Self {
        Self { map_fd: map.as_raw_fd(), padding: 0, key: address(&raw const *key), value: address(value), flags: 0 }
    }
}

#[repr(C)]
struct Object {
    path: u64,
    fd: i32,
    flags: u32,
}

#[repr(C)]
struct Info {
    fd: i32,
    length: u32,
    to: u64,
}

/// The beginning of `struct bpf_link_info`, as it is for TCX.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    link_type: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

/// Makes an array map of one entry that holds `value`.
pub(super) fn map_with(name: &str, value: &[u8]) -> io::Result<OwnedFd> {
    let mut create = MapCreate {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: u32::try_from(value.len()).map_err(io::Error::other)?,
        max_entries: 1,
        flags: 0,
        inner_map_fd: 0,
        numa_node: 0,
        name: [0; 16],
    };
    // The last octet stays zero.
    for (to, from) in create.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let map = open(MAP_CREATE, &create)?;
    let key = 0_u32;
    call(MAP_UPDATE_ELEM, &Element::of(map.as_fd(), &key, value.as_ptr()))?;
    Ok(map)
}

/// Copies the value of the entry 0 of a map, which must be as long as `value`.
pub(super) fn look_up(map: BorrowedFd<'_>, value: &mut [u8]) -> io::Result<()> {
    let key = 0_u32;
    call(MAP_LOOKUP_ELEM, &Element::of(map, &key, value.as_mut_ptr())).map(drop)
}

/// What the kernel says of a program of this id. aya takes one from a pin only, so it is pinned there for a moment; what a
/// process left there that died in between is replaced.
pub(super) fn info_of(id: u32, path: &Path) -> Result<ProgramInfo> {
    let _ = fs::remove_file(path);
    let program = open(PROG_GET_FD_BY_ID, &[id, 0, 0]).context(|| "open the program")?;
    pin(program.as_fd(), path).context(|| format!("pin to {}", path.display()))?;
    let info = ProgramInfo::from_pin(path).chained(|| format!("open {}", path.display()));
    fs::remove_file(path).context(|| format!("remove {}", path.display()))?;
    info
}

/// The interface index that a pinned TCX link is on; 0 when its device is gone (`bpf_tcx_link_fill_info`), `None` for
/// what is no TCX link.
pub(super) fn link_ifindex(path: &Path) -> io::Result<Option<u32>> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let link = open(OBJ_GET, &Object { path: address(path.as_ptr()), fd: 0, flags: 0 })?;
    let mut info = LinkInfo::default();
    let length = u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?;
    call(OBJ_GET_INFO_BY_FD, &Info { fd: link.as_raw_fd(), length, to: address(&raw mut info) })?;
    Ok((info.link_type == LINK_TYPE_TCX).then_some(info.ifindex))
}

/// Pins an object to a path on a bpffs where nothing is.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    call(OBJ_PIN, &Object { path: address(path.as_ptr()), fd: object.as_raw_fd(), flags: 0 }).map(drop)
}

/// Waits until no program runs that was taken off its hook before: programs run under RCU, and the barrier waits for a
/// grace period of it (`membarrier` in kernel/sched/membarrier.c). A kernel with `nohz_full` refuses.
pub(super) fn wait_for_programs() -> Result<()> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_GLOBAL, 0) };
    if result < 0 { Err(io::Error::last_os_error()).context(|| "wait for programs to end") } else { Ok(()) }
}

/// A call that gives a descriptor.
fn open<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are live and as long as is said, and so is what each caller has them point to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { libc::c_int::try_from(result).map_err(io::Error::other) }
}

fn address<T>(pointer: *const T) -> u64 {
    // No address is longer.
    u64::try_from(pointer.addr()).unwrap_or_default()
}
