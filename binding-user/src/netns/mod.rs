//! Network namespaces: opened, told apart, entered for a moment.
//!
//! `setns(2)` works on one *thread*. On a worker of an async runtime it would send whatever task runs there next into the
//! pod, so the one way in is [`Netns::run`]: a thread of its own, made for the closure and thrown away after it.
//! A [`Netns`] holds an open file, and so keeps the namespace alive: hold one only while working.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    libc,
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use serde::{Deserialize, Serialize};

mod spec;
#[cfg(test)]
mod tests;

pub use spec::{NAMED_DIR, NetnsSpec};

use crate::{Context as _, Error, Result};

/// Which namespace, for comparing and for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device number of the nsfs.
    pub dev: u64,
    /// Inode number on it. The kernel gives the number of a dead namespace to a new one.
    pub ino: u64,
    /// `SO_NETNS_COOKIE` (Linux 5.14): never reused while the machine is up. `None` on older kernels.
    pub cookie: Option<u64>,
}

impl NetnsId {
    /// Whether both name one namespace. A cookie that only one side has decides nothing.
    pub fn same(&self, other: &Self) -> bool {
        let cookies = match (self.cookie, other.cookie) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        self.dev == other.dev && self.ino == other.ino && cookies
    }
}

/// Whether a namespace is the machine's own, where a mistake cuts the machine off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachinesOwn {
    /// It is that of process 1.
    Yes,
    /// It is not.
    No,
    /// It may be: it is the caller's, and that of process 1 cannot be read (some sandboxes deny it even to root).
    Unknown,
}

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    id: NetnsId,
    path: PathBuf,
}

impl Netns {
    /// Opens what the operator named.
    pub fn open(spec: &NetnsSpec) -> Result<Self> {
        Self::open_path(&spec.path()).map_err(|error| match spec {
            NetnsSpec::Named(name) if !spec.path().exists() => {
                Error::new(format!("open the network namespace {name}"), format!("{NAMED_DIR}/{name} does not exist"))
                    .with_hint("`ip netns list` lists the names; a path or pid:N works too")
            }
            NetnsSpec::Pid(pid) if !Path::new(&format!("/proc/{pid}")).exists() => {
                Error::new(format!("open the network namespace of process {pid}"), "there is no such process")
            }
            _ => error,
        })
    }

    /// The namespace that the calling thread is in.
    pub fn current() -> Result<Self> {
        Self::open(&NetnsSpec::Current)
    }

    /// Opens the namespace that `path` is bound to.
    pub fn open_path(path: &Path) -> Result<Self> {
        let what = || format!("open the network namespace {}", path.display());
        // A pipe is opened without waiting for its other end; entering will tell that it is no namespace.
        let file =
            File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).context(what)?;
        let meta = file.metadata().context(what)?;
        let fd = OwnedFd::from(file);
        // Entering is also the check that this is a network namespace and no other file: setns says EINVAL.
        let cookie = in_namespace(fd.as_fd(), path, || Ok(cookie()))?;
        let id = NetnsId { dev: meta.dev(), ino: meta.ino(), cookie };
        Ok(Self { fd, id, path: path.to_owned() })
    }

    /// Its identity.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// The path it was opened by. Names can be bound to something else later; the identity is [`Self::id`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are one namespace.
    pub fn same(&self, other: &Self) -> bool {
        self.id.same(&other.id)
    }

    /// Runs `f` inside the namespace, on a thread that is made for it and ends with it. It blocks the caller until then,
    /// so `f` must be short: open a socket, write a sysctl, an ioctl.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_namespace(self.fd.as_fd(), &self.path, f)
    }

    /// Finds a namespace again: at the path that is remembered, among the named ones, and among those of all processes
    /// and their open files. `None`: it is gone.
    pub fn find(id: &NetnsId, hint_path: Option<&Path>) -> Result<Option<Self>> {
        let named = fs::read_dir(NAMED_DIR).into_iter().flatten().flatten().map(|entry| entry.path());
        let processes = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
            .map(|entry| entry.path().join("ns/net"));
        let paths = hint_path.map(Path::to_owned).into_iter().chain(named).chain(processes);
        // Last, because there are many: what is only held open, as by a container runtime at work.
        for path in paths.chain(open_files().filter(|path| is_netns(path, id.ino))) {
            // Looking costs one system call; only a file with the right numbers is opened and entered. What cannot be
            // looked at (a process that has just ended) is not what is sought.
            let right = fs::metadata(&path).is_ok_and(|meta| meta.dev() == id.dev && meta.ino() == id.ino);
            if !right {
                continue;
            }
            match Self::open_path(&path) {
                Ok(found) if found.id.same(id) => return Ok(Some(found)),
                // The same inode with another cookie: the namespace died and its number went to a new one.
                Ok(_) => return Ok(None),
                // It ended between the two calls, or cannot be opened by this path; another may work.
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Whether this is the machine's own namespace. Where that of process 1 cannot be read, the caller is taken to live
    /// in the machine's, which then is `Unknown` and every other `No`.
    pub fn is_machines_own(&self) -> MachinesOwn {
        let is_same =
            |path: &str| fs::metadata(path).map(|meta| meta.dev() == self.id.dev && meta.ino() == self.id.ino).ok();
        match is_same("/proc/1/ns/net") {
            Some(true) => MachinesOwn::Yes,
            Some(false) => MachinesOwn::No,
            None if is_same("/proc/thread-self/ns/net") == Some(false) => MachinesOwn::No,
            None => MachinesOwn::Unknown,
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The files that processes hold open, as far as they can be looked at.
fn open_files() -> impl Iterator<Item = PathBuf> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().join("fd"));
    folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()))
}

/// Whether a link of /proc leads to the network namespace of this inode number.
fn is_netns(path: &Path, ino: u64) -> bool {
    fs::read_link(path).is_ok_and(|to| to.as_os_str() == format!("net:[{ino}]").as_str())
}

/// The thread of [`Netns::run`].
fn in_namespace<T: Send>(fd: BorrowedFd<'_>, path: &Path, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let what = || format!("enter the network namespace {}", path.display());
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                setns(fd, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
                    nix::Error::EPERM => {
                        Error::new(what(), errno).with_hint("run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN")
                    }
                    nix::Error::EINVAL => Error::new(what(), "it is not a network namespace"),
                    _ => Error::new(what(), errno),
                })?;
                f()
            })
            .context(what)?;
        thread.join().unwrap_or_else(|_| Err(Error::new(what(), "the thread in it panicked")))
    })
}

/// The cookie of the calling thread's namespace: `SO_NETNS_COOKIE` of any socket that is made in it.
fn cookie() -> Option<u64> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).ok()?;
    // SAFETY: the descriptor is open for the whole call, and the two pointers are to a u64 and to its size.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    // ENOPROTOOPT: a kernel before 5.14.
    (status == 0).then_some(cookie)
}
