//! A TCX program of somebody else, as an observer or a CNI would have it: two instructions, put before all others.

use anyhow::Result;

use crate::{
    bpf::{self, Attached, Program},
    netns::Namespace,
};

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
pub struct Foreign(#[expect(dead_code, reason = "held, not used")] Attached);

impl Foreign {
    /// Puts a program of this name, at most 15 octets, before all others.
    pub fn first(namespace: &Namespace, device: &str, name: &str, verdict: Verdict) -> Result<Self> {
        let verdict = if verdict == Verdict::Next { bpf::TCX_NEXT } else { bpf::TCX_DROP };
        Program::load(name, &[bpf::set(0, verdict), bpf::EXIT])?.first(namespace, device).map(Self)
    }
}
