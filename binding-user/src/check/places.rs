//! The two folders that outlive our processes: the pins and the journals.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::{
    libc,
    unistd::{AccessFlags, access},
};

use super::Finding;
use crate::datapath::Bpffs;

/// Octets that a trial writes: more than a page, so that a full file system shows.
const TRIAL: usize = 16 * 1024;

/// Whether pins can be made, and would last.
pub(super) fn bpffs(bpffs: &Bpffs) -> Finding {
    const NAME: &str = "bpffs";
    const LASTING: &str =
        "run tapwire in the node's mount namespace, or with the node's bpffs mounted into the container";
    let shown = bpffs.path().display();
    let of_init = Bpffs::is_in_mount_namespace_of_init();
    if let Err(error) = bpffs.check() {
        return if of_init == Some(true) && bpffs.is_at_usual_place() {
            Finding::ok(NAME, format!("none is mounted at {shown} yet; attach mounts it"))
        } else {
            Finding::of(NAME, Err(error), "mount -t bpf bpf /sys/fs/bpf")
        };
    }
    // By the effective user and its capabilities: nothing of ours runs set-user-id.
    if let Err(errno) = access(nearest(bpffs.path()), AccessFlags::W_OK | AccessFlags::X_OK) {
        let hint = "mount it writable: mount -o remount,rw /sys/fs/bpf";
        return Finding::failed(NAME, format!("pins cannot be made in {shown}: {errno}"), hint);
    }
    match of_init {
        Some(true) => Finding::ok(NAME, format!("{shown} lies on a bpffs of the node")),
        Some(false) => Finding::warning(
            NAME,
            format!(
                "{shown} lies on a bpffs; this is not the mount namespace of process 1: pins last only if that bpffs is the node's"
            ),
            LASTING,
        ),
        None => Finding::warning(
            NAME,
            format!("{shown} lies on a bpffs; whether it is the node's is not known: /proc/1/ns/mnt cannot be read"),
            LASTING,
        ),
    }
}

/// Whether journals can be written.
pub(super) fn state(folder: &Path) -> Finding {
    let shown = folder.display();
    match try_to_write(folder) {
        Ok(()) => Finding::ok("state", format!("journals can be written to {shown}")),
        Err(error) => Finding::failed(
            "state",
            format!("journals cannot be written to {shown}: {error}"),
            "make it writable and not full; it is /run/tapwire, or TAPWIRE_STATE_DIR",
        ),
    }
}

/// Writes a file without a name, which nobody sees and which goes with its descriptor.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let existing = nearest(folder);
    let unnamed = File::options().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(existing);
    match unnamed {
        Ok(mut file) => file.write_all(&[0; TRIAL]).and_then(|()| file.sync_all()),
        // This file system has no such files.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
            access(existing, AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from)
        }
        Err(error) => Err(error),
    }
}

/// The folder itself, or what exists of the way to it.
fn nearest(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, state};

    #[test]
    fn a_state_folder_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("run/tapwire");
        assert_eq!(state(&missing).verdict, Verdict::Ok);
        assert!(!folder.path().join("run").exists());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(state(&file).verdict, Verdict::Failed);
    }
}
