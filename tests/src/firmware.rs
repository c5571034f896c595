//! A machine without a disk, whose firmware boots from the network.
//!
//! Everything that the firmware prints goes to a serial port, and so into a file. It is emulated even where KVM works: the
//! slower one is at its first DHCP message after seven seconds, and it boots the same way everywhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::{
    cmd::{self, Running},
    debs,
    netns::Namespace,
    vm::QEMU,
    wait::wait_for,
};

/// What UEFI takes beside QEMU. It is not installed: Debian's iPXE would put itself into the machine's boot menu.
#[derive(Clone, Debug)]
pub struct Uefi {
    /// edk2 with room for its variables, in one file.
    pub firmware: PathBuf,
    /// A program to boot: iPXE, which goes on with the firmware's driver.
    pub program: PathBuf,
}

impl Uefi {
    /// Debian's, downloaded when it is not in the lab's cache yet.
    pub fn debian() -> Result<Self> {
        debs::cached("uefi", Self::unpacked, |folder| {
            ["ovmf", "ipxe"].iter().try_for_each(|package| debs::download_and_unpack(package, folder))
        })
    }

    fn unpacked(folder: &Path) -> Result<Self> {
        let uefi =
            Self { firmware: folder.join("usr/share/ovmf/OVMF.fd"), program: folder.join("usr/lib/ipxe/snponly.efi") };
        for file in [&uefi.firmware, &uefi.program] {
            ensure!(file.is_file(), "no {}", file.display());
        }
        Ok(uefi)
    }
}

/// Which firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareKind {
    /// `SeaBIOS`, which starts the ROM that QEMU puts into every NIC unless it is told not to: iPXE.
    Bios,
    /// edk2 with its own drivers and its own PXE client; the NIC has no ROM.
    Uefi,
}

impl FirmwareKind {
    /// Machine and memory. Without a graphics card, `SeaBIOS` has the serial port for a screen and lends it to the ROM.
    fn machine(self) -> Result<Vec<String>> {
        Ok(match self {
            Self::Bios => ["-machine", "q35,graphics=off", "-m", "64"].map(str::to_owned).to_vec(),
            Self::Uefi => {
                let firmware = Uefi::debian()?.firmware.display().to_string();
                ["-machine", "q35", "-m", "256", "-bios", &firmware].map(str::to_owned).to_vec()
            }
        })
    }

    /// What is said of the NIC beside its model.
    fn nic(self) -> &'static str {
        match self {
            Self::Bios => "",
            Self::Uefi => ",romfile=",
        }
    }
}

/// A running machine; QEMU is killed when this is dropped.
#[derive(Debug)]
pub struct Firmware {
    qemu: Running,
    folder: TempDir,
}

impl Firmware {
    /// Starts a machine with a NIC of QEMU's `model` on a tap of `namespace`, which must be there already.
    pub fn start(namespace: &Namespace, kind: FirmwareKind, model: &str, tap: &str, mac: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("twt-rom-").tempdir().context("making the machine's folder")?;
        let log = fs::File::create(folder.path().join("qemu.log"))?;
        let mut line = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg"]
            .map(str::to_owned)
            .to_vec();
        line.extend(kind.machine()?);
        line.extend(["-boot".to_owned(), "n".to_owned()]);
        line.extend(["-serial".to_owned(), format!("file:{}", folder.path().join("screen").display())]);
        line.extend(["-netdev".to_owned(), format!("tap,id=nic,ifname={tap},script=no,downscript=no")]);
        line.extend(["-device".to_owned(), format!("{model},netdev=nic,mac={mac}{}", kind.nic())]);
        let mut command = cmd::command(&line)?;
        let qemu = namespace.spawn(command.stdout(Stdio::null()).stderr(log))?;
        Ok(Self { qemu, folder })
    }

    /// What the firmware has printed so far.
    pub fn screen(&self) -> String {
        self.read("screen").replace('\r', "")
    }

    /// Waits until the firmware prints something.
    pub fn wait_to_print(&mut self, text: &str, deadline: Duration) -> Result<()> {
        let shown = wait_for(&format!("the firmware to print {text:?}"), deadline, || {
            if let Some(status) = self.qemu.ended()? {
                bail!("QEMU ended ({status}): {}", self.read("qemu.log").trim_end());
            }
            Ok(self.screen().contains(text).then_some(()))
        });
        shown.with_context(|| format!("the firmware printed:\n{}", self.screen()))
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
