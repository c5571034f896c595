//! Debian packages that are downloaded and unpacked into the lab's cache, and never installed.
//!
//! A kernel is not for the machine that tests on it, and a network manager would begin to manage the machine's NICs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::cmd;

/// Where downloads and unpacked files stay between runs.
pub fn cache_folder() -> Result<PathBuf> {
    let folder = match std::env::var_os("TAPWIRE_LAB_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    folder.canonicalize().context("finding the cache folder")
}

/// What `read` makes of the cache's folder `name`. Where it cannot, `fill` fills that folder anew, in one step.
pub fn cached<T>(name: &str, read: impl Fn(&Path) -> Result<T>, fill: impl FnOnce(&Path) -> Result<()>) -> Result<T> {
    let cache = cache_folder()?;
    // Tests of other processes may want the same at the same time.
    let lock = File::create(cache.join("lock")).context("making the cache's lock")?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("locking the cache")?;
    let folder = cache.join(name);
    if let Ok(value) = read(&folder) {
        return Ok(value);
    }
    let new = cache.join(format!("{name}.new"));
    // Left by a run that was killed.
    let _ = fs::remove_dir_all(&new);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&new)?;
    fill(&new)?;
    fs::rename(&new, &folder).with_context(|| format!("keeping the unpacked {name}"))?;
    read(&folder)
}

/// Downloads a package from the machine's own suites and unpacks it into a folder.
pub(crate) fn download_and_unpack(package: &str, folder: &Path) -> Result<()> {
    let download = folder.join("download");
    fs::create_dir(&download)?;
    let mut command = cmd::command(&["apt-get", "download", "-q", package])?;
    let output = command.current_dir(&download).output().context("running apt-get")?;
    // Lists of some weeks ago name packages that are gone by now.
    cmd::text(&command, &output).context("if it is not found: apt-get update, and try again")?;
    let file = only_entry(&download)?.display().to_string();
    cmd::run(&["dpkg", "-x", &file, &folder.display().to_string()])?;
    fs::remove_dir_all(&download).context("removing the downloaded package")
}

/// The one thing in a folder.
pub fn only_entry(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let entry = entries.next().with_context(|| format!("{} is empty", folder.display()))??;
    anyhow::ensure!(entries.next().is_none(), "{} holds more than one thing", folder.display());
    Ok(entry.path())
}
