//! Files of a pod, read without trusting it.
//!
//! What lies below `/proc/PID/root` is the tenant's: a symbolic link there could lead to a file of the node, and a pipe
//! would keep the reader waiting for ever. So the path is resolved within that root, and only a regular file is read.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Octets that are read of a file: far more than a resolv.conf or a host name has.
pub(crate) const LIMIT: u64 = 64 * 1024;

/// Reads `path`, relative to the root of the process. `None` when there is no such regular file; or when the process has
/// the node's root, as a QEMU that was only put into the pod's network namespace: the node's files are never the pod's.
pub fn read(pid: u32, path: &str) -> Option<Vec<u8>> {
    let root = own_root(pid)?;
    let folder = File::open(root).ok()?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(&folder, path, how).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(LIMIT).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The root folder of a process that has one of its own.
fn own_root(pid: u32) -> Option<PathBuf> {
    let id = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let root = PathBuf::from(format!("/proc/{pid}/root/."));
    let own = id(&root)?;
    let is_nodes = ["/.", "/proc/1/root/."].iter().any(|node| id(Path::new(node)) == Some(own));
    (!is_nodes).then_some(root)
}
