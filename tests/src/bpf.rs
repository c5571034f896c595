//! The smallest programs and maps of eBPF, by system call alone: the lab stands on nothing of tapwire's, and a few
//! instructions need no compiler.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::{libc::c_int, net::if_::if_nametoindex};

use crate::{
    foreign::{self, F_BEFORE, LINK_CREATE, Link, PROG_TYPE_SCHED_CLS, TCX_INGRESS, call, command},
    netns::Namespace,
};

const MAP_CREATE: c_int = 0;
const MAP_LOOKUP: c_int = 1;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// A verdict that leaves the frame to the next program (`TCX_NEXT`).
pub const TCX_NEXT: i32 = -1;
/// A verdict that drops the frame (`TCX_DROP`).
pub const TCX_DROP: i32 = 2;

/// `BPF_FUNC_redirect`.
pub const HELPER_REDIRECT: i32 = 23;
/// `BPF_FUNC_redirect_peer`.
pub const HELPER_REDIRECT_PEER: i32 = 155;

/// One instruction, as the kernel has it (RFC 9669, section 3).
pub const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    let registers = from << 4 | to;
    code as u64 | (registers as u64) << 8 | (offset.cast_unsigned() as u64) << 16 | (value.cast_unsigned() as u64) << 32
}

/// `rTO = value`.
pub const fn set(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

/// `rTO = *(u32 *)(rFROM + offset)`.
pub const fn load_word(to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x61, to, from, offset, 0)
}

/// Jumps over `skipped` instructions if `rA != value`.
pub const fn skip_unless(register: u8, value: i32, skipped: i16) -> u64 {
    instruction(0x55, register, 0, skipped, value)
}

/// Adds `rFROM` to the eight octets at `rTO`, as one step.
pub const fn add_at(to: u8, from: u8) -> u64 {
    instruction(0xdb, to, from, 0, 0)
}

/// Calls a helper of this number: arguments in `r1` to `r5`, the result in `r0`.
pub const fn call_helper(number: i32) -> u64 {
    instruction(0x85, 0, 0, 0, number)
}

/// Ends the program; its verdict is in `r0`.
pub const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);

/// A number that programs count in.
#[derive(Debug)]
pub struct Counter(OwnedFd);

impl Counter {
    /// A new one, zero.
    pub fn new() -> Result<Self> {
        // Type, octets of a key and of a value, entries, flags.
        let attributes = [MAP_TYPE_ARRAY, 4, 8, 1, 0];
        call(MAP_CREATE, &attributes).context("making a map").map(Self)
    }

    /// The two instructions that put its place into a register.
    pub fn place(&self, to: u8) -> Result<[u64; 2]> {
        /// `BPF_PSEUDO_MAP_VALUE`: the descriptor stands for where the map's first value lies.
        const MAP_VALUE: u8 = 2;
        let fd = self.0.as_raw_fd();
        Ok([instruction(0x18, to, MAP_VALUE, 0, fd), 0])
    }

    /// What was counted.
    pub fn read(&self) -> Result<u64> {
        #[repr(C)]
        struct Lookup {
            map: u64,
            key: u64,
            value: u64,
            flags: u64,
        }
        let (key, mut value) = (0_u32, 0_u64);
        let lookup = Lookup {
            map: u64::try_from(self.0.as_raw_fd())?,
            key: u64::try_from((&raw const key).addr())?,
            value: u64::try_from((&raw mut value).expose_provenance())?,
            flags: 0,
        };
        command(MAP_LOOKUP, &lookup).context("reading a map")?;
        // SAFETY: the value is live; the kernel wrote to it behind the compiler's back.
        Ok(unsafe { (&raw const value).read_volatile() })
    }
}

/// A TC program that was loaded.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Loads a program of this name, at most 15 octets.
    pub fn load(name: &str, instructions: &[u64]) -> Result<Self> {
        foreign::load(PROG_TYPE_SCHED_CLS, name, instructions).map(Self)
    }

    /// Loads a program that looks at frames and is of no device, as a tap takes to choose its queue.
    pub fn load_filter(name: &str, instructions: &[u64]) -> Result<Self> {
        foreign::load(PROG_TYPE_SOCKET_FILTER, name, instructions).map(Self)
    }

    /// Puts the program before all others at the ingress of a device (TCX), for as long as the result lives.
    pub fn first(&self, namespace: &Namespace, device: &str) -> Result<Attached> {
        namespace.run(|| {
            let link = Link {
                program: self.0.as_raw_fd(),
                ifindex: if_nametoindex(device).with_context(|| format!("no link {device}"))?,
                attach_type: TCX_INGRESS,
                flags: F_BEFORE,
                relative: 0,
                padding: 0,
                revision: 0,
            };
            call(LINK_CREATE, &link).context("attaching a program").map(Attached)
        })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A program on a device; dropping it takes the program off.
#[derive(Debug)]
pub struct Attached(#[expect(dead_code, reason = "held, not used")] OwnedFd);
