//! The few calls of bpf(2) that aya does not offer: a map whose size is known only when it is made, and the device of a
//! TCX link.
//!
//! The structs are the beginnings of members of `union bpf_attr` (include/uapi/linux/bpf.h); the kernel takes what is
//! left out for zero.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::libc;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
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

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
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
    let element = Element {
        map_fd: map.as_raw_fd(),
        padding: 0,
        key: address(&raw const key),
        value: address(value.as_ptr()),
        flags: 0,
    };
    call(MAP_UPDATE_ELEM, &element)?;
    Ok(map)
}

/// The one entry of a map that [`map_with`] made.
pub(super) fn value_of(map: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut info = MapInfo::default();
    ask(map, &mut info)?;
    if (info.map_type, info.key_size) != (MAP_TYPE_ARRAY, 4) {
        return Err(io::Error::other("it is no array map"));
    }
    // The kernel rounds the size of a value up when it copies it out.
    let size = usize::try_from(info.value_size).map_err(io::Error::other)?;
    let mut value = vec![0_u8; size.next_multiple_of(8)];
    let key = 0_u32;
    let element = Element {
        map_fd: map.as_raw_fd(),
        padding: 0,
        key: address(&raw const key),
        value: address(value.as_mut_ptr()),
        flags: 0,
    };
    call(MAP_LOOKUP_ELEM, &element)?;
    value.truncate(size);
    Ok(value)
}

/// The interface index that a pinned TCX link is on; 0 when its device is gone (`bpf_tcx_link_fill_info`), `None` for
/// what is no TCX link.
pub(super) fn link_ifindex(path: &Path) -> io::Result<Option<u32>> {
    use std::os::fd::AsFd as _;
    let link = get(path)?;
    let mut info = LinkInfo::default();
    ask(link.as_fd(), &mut info)?;
    Ok((info.link_type == LINK_TYPE_TCX).then_some(info.ifindex))
}

/// Pins an object to a path on a bpffs where nothing is.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    call(OBJ_PIN, &Object { path: address(path.as_ptr()), fd: object.as_raw_fd(), flags: 0 }).map(drop)
}

/// Opens what is pinned to a path.
pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    open(OBJ_GET, &Object { path: address(path.as_ptr()), fd: 0, flags: 0 })
}

fn ask<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let length = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    call(OBJ_GET_INFO_BY_FD, &Info { fd: object.as_raw_fd(), length, to: address(&raw mut *info) }).map(drop)
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
