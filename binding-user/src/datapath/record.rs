//! A copy of the journal beside the pins, in a map of its own: a bpffs takes no regular files.
//!
//! The journal lies in `/run`, and whoever empties that folder, or gives it to a container anew, must not make orphans of
//! bindings whose programs go on. The copy lives exactly as long as the pins. The file goes before it where both are
//! there.

use std::{
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use super::raw;

/// Name of the pin and of the map.
const RECORD: &str = "journal";

/// Where the copy of a binding is, in the folder of its pins.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(RECORD)
}

/// Replaces the copy so that at any moment either the old one or the new one is there, whole.
pub(super) fn write(folder: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = super::pins::temporary(&path(folder));
    remove(&temporary)?;
    raw::pin(raw::map_with(RECORD, text)?.as_fd(), &temporary)?;
    fs::rename(&temporary, path(folder))
}

/// The copy, if there is one.
pub(super) fn read(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = path(folder);
    if !path.exists() {
        return Ok(None);
    }
    raw::value_of(raw::get(&path)?.as_fd()).map(Some)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
