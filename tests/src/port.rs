//! What a VM monitor reads and writes frames at: mostly a tap, but not on every path.

use std::{fmt::Debug, os::fd::AsFd};

use anyhow::Result;

use crate::tap::{Offloads, TapFile};

/// The guest's end of a path, not blocking. Before each frame is a virtio-net header of [`HEADER`](crate::tap::HEADER) octets.
pub trait FramePort: AsFd + Debug + Send + Sync {
    /// Reads one header and frame; nothing when none is waiting.
    fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>>;

    /// Writes one header and frame; false when it was not taken.
    fn write(&self, data: &[u8]) -> bool;

    /// Changes what is taken in one piece.
    fn set_offloads(&self, offloads: Offloads) -> Result<()>;
}

impl FramePort for TapFile {
    fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        Self::read(self, buffer)
    }

    fn write(&self, data: &[u8]) -> bool {
        Self::write(self, data)
    }

    fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        Self::set_offloads(self, offloads)
    }
}
