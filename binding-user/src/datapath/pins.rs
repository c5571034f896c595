//! The pins of one binding: its links and its maps, under names that are fixed, so that a later process finds them.

use std::{fs, io, path::PathBuf};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray},
};
use binding_common::Counters;

use super::{Bpffs, bpffs::make_private_folder};
use crate::error::{Context as _, Error, Result};

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

    /// Makes the folder and pins the maps that must be found again.
    pub fn pin_maps(&self, ebpf: &mut Ebpf) -> Result<()> {
        make_private_folder(&self.folder)?;
        for (map, pin) in [("COUNTERS", "counters"), ("REPLIES", "replies")] {
            let path = self.folder.join(pin);
            let what = || format!("pin the map {map} as {}", path.display());
            ebpf.map_mut(map).ok_or("the object has no such map").context(what)?.pin(&path).context(what)?;
        }
        Ok(())
    }

    /// What the programs counted, all CPUs together.
    pub fn counters(&self) -> Result<Counters> {
        let path = self.folder.join("counters");
        let what = || format!("read the counters at {}", path.display());
        let map = Map::PerCpuArray(MapData::from_pin(&path).context(what)?);
        let map = PerCpuArray::<_, Counters>::try_from(map).context(what)?;
        let mut sum = Counters::ZERO;
        for counters in map.get(&0, 0).context(what)?.iter() {
            sum.add(counters);
        }
        Ok(sum)
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
