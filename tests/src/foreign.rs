//! A TCX program of somebody else, as an observer or a CNI would have it: two instructions, put before all others.

use std::{
    ffi::c_uint,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{libc, net::if_::if_nametoindex};

use crate::netns::Namespace;

const PROG_LOAD: libc::c_int = 5;
pub(crate) const LINK_CREATE: libc::c_int = 28;
pub(crate) const PROG_TYPE_SCHED_CLS: u32 = 3;
pub(crate) const TCX_INGRESS: u32 = 46;
pub(crate) const F_BEFORE: u32 = 1 << 3;

/// What the program says of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next program decides (`TCX_NEXT`).
    Next,
    /// It is dropped (`TCX_DROP`).
    Drop,
}

/// The program, at the head of the ingress of a device as long as this lives.
#[derive(Debug)]
pub struct Foreign(#[expect(dead_code, reason = "held, not used")] OwnedFd);

#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// What `BPF_LINK_CREATE` takes.
#[repr(C)]
pub(crate) struct Link {
    pub(crate) program: i32,
    pub(crate) ifindex: c_uint,
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
    pub(crate) relative: u32,
    pub(crate) padding: u32,
    pub(crate) revision: u64,
}

impl Foreign {
    /// Puts a program of this name, at most 15 octets, before all others.
    pub fn first(namespace: &Namespace, device: &str, name: &str, verdict: Verdict) -> Result<Self> {
        // r0 = verdict; exit
        let verdict: i32 = if verdict == Verdict::Next { -1 } else { 2 };
        let instructions = [u64::from(verdict.cast_unsigned()) << 32 | 0xb7, 0x95_u64];
        let program = load(PROG_TYPE_SCHED_CLS, name, &instructions)?;
        namespace.run(|| {
            let link = Link {
                program: program.as_raw_fd(),
                ifindex: if_nametoindex(device).with_context(|| format!("no link {device}"))?,
                attach_type: TCX_INGRESS,
                flags: F_BEFORE,
                relative: 0,
                padding: 0,
                revision: 0,
            };
            call(LINK_CREATE, &link).context("attaching a program").map(Self)
        })
    }
}

/// Loads a program of this type and name, at most 15 octets.
pub(crate) fn load(kind: u32, name: &str, instructions: &[u64]) -> Result<OwnedFd> {
    let mut load = Load {
        kind,
        count: u32::try_from(instructions.len())?,
        instructions: u64::try_from(instructions.as_ptr().addr())?,
        licence: u64::try_from(c"GPL".as_ptr().addr())?,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
    };
    for (to, from) in load.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    call(PROG_LOAD, &load).context("loading a program")
}

/// The system call, for those commands that give a descriptor.
pub(crate) fn call<T>(number: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = command(number, attributes)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The system call.
pub(crate) fn command<T>(number: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are live and as long as is said, and so is what they point to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, number, &raw const *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}
