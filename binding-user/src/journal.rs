//! The journal: the record on disk of what attach changed, from which detach restores.
//!
//! It is written whole before the first change, with everything that was there before. So it does not matter where a
//! process dies: each step of undoing looks at what is, not at how far somebody came.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    libc,
};
use serde::{Deserialize, Serialize};

use crate::{
    change::LeaseChange,
    datapath::{Bpffs, Build, Hook, PinnedMaps, Pins, bpffs::make_private_folder},
    error::{Context as _, Error, Result},
    guard::Guard,
    input::{self, Links},
    lease::Lease,
    netns::NetnsId,
    nic::Nic,
    node::NodeRecord,
    portal::PortalRecord,
    request::{AttachRequest, check_name},
    snapshot::Snapshot,
    wire::Wire,
};

mod list;
mod tap;
mod valid;

pub use tap::{TapBefore, TapRecord};

/// Octets that a journal may have: of a pod NIC with thousands of routes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// What helps where the state folder cannot be used.
const STATE_HINT: &str = "make it writable, with space left; TAPWIRE_STATE_DIR names another";

/// The layout of the record. A record of a later version is refused, never guessed at. The first one knew no changes of a
/// lease and no MAC of the guest's own, the second one no repair; what they lack has defaults.
const VERSION: u32 = 3;

/// How far a binding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// `attach` has begun and not ended: it is at work, or it died.
    Attaching,
    /// Whole.
    Ready,
    /// `lease set` or `upgrade` has begun and not ended: some hooks may have their old program. The record is of what is
    /// wanted.
    Changing,
    /// `repair` has begun and not ended: some devices and hooks may not be as the record says, which is of the end.
    Repairing,
    /// `detach` has begun and not ended.
    Detaching,
    /// Nothing of it is left: an `attach` that was to make it anew took it apart, and failed. Kept for the lease that it
    /// was changed to.
    Cleared,
}

/// The record of one binding.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Journal {
    /// When and by what it was written.
    #[serde(flatten)]
    pub header: Header,
    /// Name of the binding.
    pub name: String,
    /// How far it is.
    pub phase: Phase,
    /// What the operator asked for.
    pub request: AttachRequest,
    /// The pod's namespace.
    pub netns: NetnsId,
    /// Where the namespace was found, to look there first.
    pub netns_path: PathBuf,
    /// The pod NIC as it was discovered.
    pub nic: Nic,
    /// What restores the pod NIC, in `swap` mode.
    pub snapshot: Option<Snapshot>,
    /// The tap.
    pub tap: TapRecord,
    /// The node's namespace; `None` in a record from before that was written down.
    #[serde(default)]
    pub node: Option<NodeRecord>,
    /// The portal, if frames to the guest go through one.
    #[serde(default)]
    pub portal: Option<PortalRecord>,
    /// The lease; `None` for a pure wire.
    pub lease: Option<Lease>,
    /// What `lease set` was told since, all of it together.
    #[serde(default)]
    pub change: LeaseChange,
    /// Which build of the programs is loaded; `None` in a record from before that was written down.
    #[serde(default)]
    pub programs: Option<Build>,
    /// The maps that outlive the programs.
    #[serde(default)]
    pub maps: PinnedMaps,
    /// How frames go.
    pub wire: Wire,
    /// The guard.
    #[serde(default)]
    pub guard: Guard,
    /// The programs and their places.
    pub hooks: Vec<Hook>,
    /// Devices that had no clsact qdisc before.
    pub clsact_made: Vec<String>,
    /// Programs of others that were on the pod NIC at attach, and that the operator was told of: they may come before ours.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Journal {
    /// Whether the machine was started again since: then nothing of the binding is left.
    pub fn is_of_another_boot(&self) -> bool {
        boot_id().is_ok_and(|boot| boot != self.header.boot)
    }
}

/// What every record begins with, whatever it records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The layout of the record.
    version: u32,
    /// The boot in which it was written: interface indexes and namespaces of another one mean nothing.
    boot: String,
}

impl Header {
    /// For a record that is written now.
    pub fn now() -> Result<Self> {
        Ok(Self { version: VERSION, boot: boot_id()? })
    }
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).context(|| format!("read {path}"))?;
    Ok(id.trim().to_owned())
}

/// The folder of all journals.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    /// Where a copy of each record lies beside the pins.
    copies: Option<Bpffs>,
}

/// Held while a binding is being changed; dropping it lets the next one in.
#[derive(Debug)]
#[must_use = "the lock is held only as long as this lives"]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

impl Store {
    /// The journals in `folder`, which need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), copies: None }
    }

    /// The same, with a copy of each record beside the pins of its binding: what is lost of the folder is found there.
    #[must_use]
    pub fn with_copies(self, bpffs: Bpffs) -> Self {
        Self { copies: Some(bpffs), ..self }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until no other process changes a binding. One lock for all: bindings may share a namespace or a tap, and a
    /// change takes a tenth of a second.
    pub fn lock(&self) -> Result<Lock> {
        make_private_folder(&self.folder).map_err(|error| error.with_hint(STATE_HINT))?;
        let path = self.folder.join("lock");
        let what = || format!("lock {}", path.display());
        let file = Self::lock_options().create(true).truncate(false).mode(0o600).open(&path).context(what);
        let file = file.map_err(|error| error.with_hint(STATE_HINT))?;
        Flock::lock(file, FlockArg::LockExclusive).map(Lock).map_err(|(_, errno)| errno).context(what)
    }

    /// Never waits, and never locks a file elsewhere.
    fn lock_options() -> fs::OpenOptions {
        let mut options = File::options();
        options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        options
    }

    /// Whether some process is changing a binding right now.
    pub fn is_busy(&self) -> bool {
        let Ok(file) = Self::lock_options().open(self.folder.join("lock")) else { return false };
        Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
    }

    /// The record of a binding, if there is one; where its file is lost, the copy.
    pub fn load(&self, name: &str) -> Result<Option<Journal>> {
        let path = self.path(name);
        match input::read(&path, LIMIT, Links::Refused) {
            Ok(text) => parse(&path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.load_copy(name),
            Err(error) => Err(error).context(|| format!("read the journal {}", path.display())),
        }
    }

    /// The copy of a record, if there is one.
    pub fn load_copy(&self, name: &str) -> Result<Option<Journal>> {
        let Some(bpffs) = &self.copies else { return Ok(None) };
        let pins = Pins::of(bpffs, name);
        let copy = pins.record()?.map(|text| parse(&self.path(name), &text)).transpose();
        copy.map_err(|error| Error::new(format!("read the copy of the journal in {}", pins.folder().display()), error))
    }

    /// Whether the copy of a record, where there are pins for one to be beside, is that of its file.
    pub fn copy_is_alike(&self, name: &str) -> Result<bool> {
        let Some(bpffs) = &self.copies else { return Ok(true) };
        let pins = Pins::of(bpffs, name);
        let path = self.path(name);
        let text =
            input::read(&path, LIMIT, Links::Refused).context(|| format!("read the journal {}", path.display()))?;
        Ok(!pins.exist() || pins.record()? == Some(text))
    }

    /// Whether the record has its file, and not just a copy.
    pub fn has_file(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The names of bindings that have pins and no file.
    pub fn without_file(&self) -> Result<Vec<String>> {
        let Some(bpffs) = &self.copies else { return Ok(Vec::new()) };
        let mut names = Pins::names(bpffs)?;
        names.retain(|name| check_name(name).is_ok() && !self.has_file(name));
        Ok(names)
    }

    /// The record of a binding that must exist.
    pub fn load_existing(&self, name: &str) -> Result<Journal> {
        check_name(name)?;
        self.load(name)?.ok_or_else(|| {
            Error::new(format!("find the binding {name}"), "there is none of this name")
                .with_hint("`tapwire list` lists the bindings")
        })
    }

    /// The names of bindings that have pins and neither a file nor a copy.
    pub fn without_record(&self) -> Result<Vec<String>> {
        let mut names = self.without_file()?;
        // One that is there and cannot be read is told of by [`Self::list`].
        names.retain(|name| matches!(self.load_copy(name), Ok(None)));
        Ok(names)
    }

    /// Writes a record so that at any moment either the old one or the new one is there, whole.
    pub fn save(&self, journal: &Journal) -> Result<()> {
        let path = self.path(&journal.name);
        let what = || format!("write the journal {}", path.display());
        make_private_folder(&self.folder)?;
        let text = serde_json::to_vec_pretty(journal).context(what)?;
        let temporary = self.folder.join(format!("{}.new", journal.name));
        let written = write_synced(&temporary, &text).and_then(|()| fs::rename(&temporary, &path));
        let synced = written.and_then(|()| File::open(&self.folder)?.sync_all());
        synced.map_err(|error| {
            // Half a record is of no use, and would take the space that the next one needs.
            let _ = fs::remove_file(&temporary);
            Error::new(what(), error).with_hint(STATE_HINT)
        })?;
        match &self.copies {
            Some(bpffs) => Pins::of(bpffs, &journal.name).set_record(&text),
            None => Ok(()),
        }
    }

    /// Removes a record.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context(|| format!("remove the journal {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let mut options = File::options();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).custom_flags(flags).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Reads the text of a record; `path` is for the errors.
pub fn parse(path: &Path, text: &[u8]) -> Result<Journal> {
    let what = || format!("read the journal {}", path.display());
    check_version(path, text)?;
    let journal = serde_json::from_slice(text).context(what)?;
    valid::check(path, &journal).context(what)?;
    Ok(journal)
}

/// Whether this program knows the version of a record. Looked at first: the rest of another may look like anything.
fn check_version(path: &Path, text: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let what = || format!("read the journal {}", path.display());
    let Version { version } = serde_json::from_slice(text).context(what)?;
    if (1..=VERSION).contains(&version) {
        return Ok(());
    }
    Err(Error::new(what(), format!("it is of version {version}, this program knows {VERSION}"))
        .with_hint("use the tapwire that wrote it"))
}
