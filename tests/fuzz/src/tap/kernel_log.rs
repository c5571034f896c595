//! What the kernel complains of while we look.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::{Context as _, Result};

/// `O_NONBLOCK` of Linux.
const NOT_BLOCKING: i32 = 0o4000;

/// What the kernel writes when an assumption of its own does not hold, and nobody else does.
const COMPLAINTS: [&str; 9] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "general protection",
    "kernel NULL pointer",
    "skb_over_panic",
    "skb_under_panic",
    "hw csum failure",
    "stall",
];

/// The kernel's log from now on.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// Begins behind what is there.
    pub fn from_now() -> Result<Self> {
        let mut file =
            OpenOptions::new().read(true).custom_flags(NOT_BLOCKING).open("/dev/kmsg").context("open /dev/kmsg")?;
        file.seek(SeekFrom::End(0)).context("go to the end of /dev/kmsg")?;
        Ok(Self(file))
    }

    /// The complaints since then, or since the last look.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        // A read gives one record (Documentation/ABI/testing/dev-kmsg).
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return Ok(complaints),
                Ok(len) => {
                    let text = String::from_utf8_lossy(&record[..len]).into_owned();
                    if COMPLAINTS.iter().any(|complaint| text.contains(complaint)) {
                        complaints.push(text.lines().next().unwrap_or_default().to_owned());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(complaints),
                // Records were overwritten before we came to read them; the next read has the oldest that is left.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error).context("read /dev/kmsg"),
            }
        }
    }
}
