//! The inputs that are kept: seeds to begin with, and every case that was ever found.
//!
//! `seeds/TARGET/` is what libFuzzer chose of all that it saw: few files that together reach all code that it knew to
//! reach. `found/TARGET/` has an input for every finding, so that none comes back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder of this package, where the source tree still is.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of a target.
pub fn seeds(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    read(&home().join("seeds").join(target))
}

/// The cases that were found by a target.
pub fn found(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    read(&home().join("found").join(target))
}

/// All files of a folder, by name; none where there is no folder.
fn read(folder: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(|path| fs::read(&path).map(|bytes| (path, bytes))).collect()
}
