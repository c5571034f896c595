//! A copy of the journal beside the pins, in a map of its own: a bpffs takes no regular files.
//!
//! The journal lies in `/run`, and whoever empties that folder, or gives it to a container anew, must not make orphans of
//! bindings whose programs go on. The copy lives exactly as long as the pins. The file goes before it where both are
//! there.

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use super::{
    pins::{remove_file, temporary},
    raw,
    value::One,
};
use crate::error::{Context as _, Result};

/// Name of the pin and of the map.
const RECORD: &str = "journal";

fn path(folder: &Path) -> PathBuf {
    folder.join(RECORD)
}

/// Replaces the copy so that at any moment either the old one or the new one is there, whole.
pub(super) fn write(folder: &Path, text: &[u8]) -> Result<()> {
    let path = path(folder);
    let temporary = temporary(&path);
    remove_file(&temporary)?;
    let map = raw::map_with(RECORD, text);
    let pinned = map.and_then(|map| raw::pin(map.as_fd(), &temporary));
    pinned.and_then(|()| fs::rename(&temporary, &path)).context(|| format!("write {}", path.display()))
}

/// The copy, if there is one.
pub(super) fn read(folder: &Path) -> Result<Option<Vec<u8>>> {
    let Some(map) = One::open(&path(folder))? else { return Ok(None) };
    let mut text = map.value()?;
    // The kernel rounds the size of a value up when it copies it out.
    text.truncate(usize::try_from(map.shape()?.value).context(|| "read a map")?);
    Ok(Some(text))
}
