//! A TFTP server, for firmware that boots from the network.
//!
//! It announces itself as the link's IPv6 router, too: iPXE asks for one while it configures its NIC, and where none answers
//! it boots a quarter of a minute later.

use std::fs;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{dnsmasq::Process, netns::Namespace};

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct TftpServer {
    process: Process,
    _files: TempDir,
}

impl TftpServer {
    /// Serves files, given by name and content, on a link that has an IPv6 address.
    pub fn start(namespace: &Namespace, interface: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for TFTP")?;
        for (name, content) in files {
            fs::write(folder.path().join(name), content).with_context(|| format!("writing {name}"))?;
        }
        let arguments = [
            "--enable-tftp".to_owned(),
            format!("--tftp-root={}", folder.path().display()),
            "--enable-ra".to_owned(),
            format!("--dhcp-range=::,constructor:{interface},ra-only"),
        ];
        let process = Process::start(namespace, interface, &arguments, "TFTP root is")?;
        Ok(Self { process, _files: folder })
    }

    /// Whether a file was sent, to its end, to an address.
    pub fn has_sent(&self, name: &str, to: &str) -> Result<bool> {
        let end = format!("/{name} to {to}");
        Ok(self.process.log()?.lines().any(|line| line.contains("sent ") && line.ends_with(&end)))
    }
}
