//! The BPF file system that holds the pins.
//!
//! A bpffs that was mounted in a private mount namespace dies with it and takes every pin along, and with the pins the
//! links: the guest would lose its network when a shell ends. So tapwire mounts one only where it can prove that the
//! mount outlives it, or where it was told to.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::error::{Context as _, Error, Result};

/// Where a bpffs is mounted on every distribution.
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// The folder of all pins of tapwire, on a bpffs.
#[derive(Clone, Debug)]
pub struct Bpffs(PathBuf);

impl Bpffs {
    /// The folder at `path`, which need not exist yet; that it would lie on a bpffs is checked by [`Self::ensure`].
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes sure that the folder lies on a bpffs. `may_mount`: the operator asked for a mount where there is none.
    pub fn ensure(&self, may_mount: bool) -> Result<()> {
        if !self.is_on_bpffs() {
            if self.is_at_usual_place() && (may_mount || Self::is_in_mount_namespace_of_init() == Some(true)) {
                let none = None::<&str>;
                mount(Some("bpf"), MOUNT_POINT, Some("bpf"), MsFlags::empty(), none)
                    .context(|| format!("mount a bpffs on {MOUNT_POINT}"))?;
            }
            self.check()?;
        }
        make_private_folder(&self.0)
    }

    /// Refuses where the folder does not lie on a bpffs, and so cannot show the pins that there are.
    pub fn check(&self) -> Result<()> {
        if self.is_on_bpffs() { Ok(()) } else { Err(self.not_on_bpffs()) }
    }

    /// Whether it lies where attach would mount a bpffs.
    pub fn is_at_usual_place(&self) -> bool {
        self.0.starts_with(MOUNT_POINT)
    }

    /// Whether this is the mount namespace of process 1. In some sandboxes not even root may read that; then it is `None`.
    pub fn is_in_mount_namespace_of_init() -> Option<bool> {
        let id = |path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        Some(id("/proc/self/ns/mnt")? == id("/proc/1/ns/mnt")?)
    }

    fn not_on_bpffs(&self) -> Error {
        Error::new(format!("use {} for pins", self.0.display()), "it does not lie on a bpffs").with_hint(format!(
            "mount -t bpf bpf {MOUNT_POINT}, on the node and not in `ip netns exec`; or attach with --mount-bpffs, if \
             this mount namespace outlives the VM"
        ))
    }

    /// Judged by the nearest folder that exists.
    fn is_on_bpffs(&self) -> bool {
        let existing = self.0.ancestors().find(|path| path.exists());
        existing.is_some_and(|path| statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC))
    }
}

/// Makes a folder that only root can enter; one that exists is left alone.
pub fn make_private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).context(|| format!("make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_another_file_system_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = Bpffs::at(folder.path().join("pins")).ensure(false).unwrap_err();
        assert!(error.to_string().contains("does not lie on a bpffs"), "{error}");
        assert!(error.hint().unwrap().contains("mount -t bpf"));
        assert!(!folder.path().join("pins").exists());
    }
}
