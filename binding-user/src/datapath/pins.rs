//! The pins of one binding: its links and its maps, under names that are fixed, so that a later process finds them.

use std::{fs, io, path::PathBuf};

use aya::maps::{Array, Map, MapData};
use binding_common::{Learned, MacAddr};

use super::{Bpffs, PinnedMaps, bpffs::make_private_folder, value::One};
use crate::error::{Context as _, Error, Result, chain};

/// The folder of one binding on the bpffs.
#[derive(Clone, Debug)]
pub struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// The pins of the binding `name`; none need exist.
    pub fn of(bpffs: &Bpffs, name: &str) -> Self {
        // A bpffs takes no dots (`bpf_lookup` in kernel/bpf/inode.c); a name has no `+`.
        Self { folder: bpffs.path().join(name.replace('.', "+")) }
    }

    /// Refuses pins that no journal tells of: they may hold the programs of another pod's binding in their place.
    pub fn check_absent(&self) -> Result<()> {
        if !self.exist() {
            return Ok(());
        }
        let folder = self.folder.display();
        Err(Error::new(format!("pin to {folder}"), "pins of a binding of this name are there, and no journal of it")
            .with_hint(format!(
                "choose another name; or, if its state folder is lost for good, `rm -r {folder}` takes its programs off"
            )))
    }

    /// Whether there is anything.
    pub fn exist(&self) -> bool {
        self.folder.exists()
    }

    /// Where the link of a hook is pinned.
    pub fn link(&self, hook: &str) -> PathBuf {
        self.folder.join(format!("link_{hook}"))
    }

    /// Where a program is pinned for a moment.
    pub fn passing(&self, program: &str) -> PathBuf {
        self.folder.join(format!("passing_{program}"))
    }

    /// Makes the folder.
    pub fn make(&self) -> Result<()> {
        make_private_folder(&self.folder)
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The MAC that the programs have learnt of the guest, if they have.
    pub fn learned(&self, maps: &PinnedMaps) -> Result<Option<MacAddr>> {
        let path = self.map(&maps.learned);
        let what = || format!("read the guest's MAC at {}", path.display());
        let map = One::open(&path)?.ok_or("the pin is gone").context(what)?;
        let value = map.value()?;
        let number = value.first_chunk().copied().map(u64::from_ne_bytes).ok_or("it is too short").context(what)?;
        Ok(Some(MacAddr::from_number(number)).filter(|mac| *mac != MacAddr::ZERO))
    }

    /// Has the programs learn the guest's MAC anew, or go on with one that was learnt.
    pub fn set_learned(&self, maps: &PinnedMaps, mac: MacAddr) -> Result<()> {
        let path = self.map(&maps.learned);
        let what = || format!("write the guest's MAC at {}", path.display());
        let map = MapData::from_pin(&path).map_err(|error| chain(&error)).context(what)?;
        let mut map: Array<_, Learned> = Map::Array(map).try_into().context(what)?;
        map.set(0, Learned::of(mac.to_number()), 0).context(what)
    }

    /// Removes the pin of a map. One that is not there is no error.
    pub fn remove_map(&self, name: &str) -> Result<()> {
        let path = self.map(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::new(format!("remove {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// Removes every pin. What is on a TCX hook leaves it with its pin.
    pub fn remove(&self) -> Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::new(format!("read {}", self.folder.display()), error)),
        };
        let mut errors = Vec::new();
        for entry in entries.flatten() {
            if let Err(error) = fs::remove_file(entry.path()) {
                errors.push(Error::new(format!("remove {}", entry.path().display()), error));
            }
        }
        if let Err(error) = fs::remove_dir(&self.folder) {
            errors.push(Error::new(format!("remove {}", self.folder.display()), error));
        }
        Error::join(errors)
    }
}
