//! System calls that aya does not give away: on values of any size, and on programs that are known by their number.

use std::{
    ffi::CString,
    fs,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::programs::ProgramInfo;
use nix::{errno::Errno, libc};

use crate::error::{Context as _, Result, chain};

/// `MEMBARRIER_CMD_GLOBAL`, a command of membarrier(2).
const GLOBAL: libc::c_int = 1;

/// Commands of bpf(2), by their number in `enum bpf_cmd`.
#[derive(Clone, Copy)]
enum Command {
    MapLookupElem = 1,
    ObjPin = 6,
    ProgGetFdById = 13,
}

/// Calls bpf(2). `attribute` is the part of `union bpf_attr` that the command reads, padded by hand.
///
/// # Safety
///
/// What the attribute points to must be live, and as long as the kernel takes it to be.
unsafe fn bpf<T>(command: Command, attribute: &T) -> Result<i64, Errno> {
    // SAFETY: the attribute is as long as is said; for the rest of it the caller vouches.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, &raw const *attribute, size_of::<T>())
    })
}

/// Copies the value of the entry 0 of a map, which must be as long as `value`.
pub(super) fn look_up(map: BorrowedFd<'_>, value: &mut [u8]) -> Result<(), Errno> {
    #[repr(C)]
    struct Element {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = 0_u32;
    let element = Element {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: address(&raw const key),
        value: address(value.as_mut_ptr()),
        flags: 0,
    };
    // SAFETY: key and value live longer than the call, and are as long as those of the map, as the caller has found.
    unsafe { bpf(Command::MapLookupElem, &element) }.map(drop)
}

/// What the kernel says of a program of this id. aya takes one from a pin only, so it is pinned there for a moment; what a
/// process left there that died in between is replaced.
pub(super) fn info_of(id: u32, pin: &Path) -> Result<ProgramInfo> {
    let _ = fs::remove_file(pin);
    let program = program(id).context(|| "open the program")?;
    pin_to(&program, pin).context(|| format!("pin to {}", pin.display()))?;
    let info = ProgramInfo::from_pin(pin).map_err(|error| chain(&error)).context(|| format!("open {}", pin.display()));
    fs::remove_file(pin).context(|| format!("remove {}", pin.display()))?;
    info
}

fn program(id: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: the attribute holds no pointer.
    let fd = unsafe { bpf(Command::ProgGetFdById, &[id, 0, 0]) }?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

fn pin_to(program: &OwnedFd, path: &Path) -> Result<(), Errno> {
    #[repr(C)]
    struct Pin {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let pin = Pin { path: address(path.as_ptr()), fd: program.as_raw_fd().cast_unsigned(), flags: 0 };
    // SAFETY: the path lives longer than the call and ends with a zero.
    unsafe { bpf(Command::ObjPin, &pin) }.map(drop)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// Waits until no program runs that was taken off its hook before: programs run under RCU, and the barrier waits for a
/// grace period of it (`membarrier` in kernel/sched/membarrier.c). A kernel with `nohz_full` refuses.
pub(super) fn wait_for_programs() -> Result<()> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0) };
    Errno::result(result).map(drop).context(|| "wait for programs to end")
}
