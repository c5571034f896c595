//! The pins of one binding: its links and its maps, under names that are fixed, so that a later process finds them.

use std::{fs, io, path::PathBuf};

use aya::maps::{Array, Map, MapData, PerCpuArray};
use binding_common::{Counters, MacAddr};

use super::{Bpffs, bpffs::make_private_folder};
use crate::error::{Chained as _, Error, Result};

/// Name of the pin of the counters.
const COUNTERS: &str = "counters";
/// Name of the pin of the guest's MAC.
const LEARNED: &str = "learned";

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

    /// Makes the folder.
    pub fn make(&self) -> Result<()> {
        make_private_folder(&self.folder)
    }

    /// The maps that outlive a change of the programs, and where they are pinned.
    pub fn maps(&self) -> [(&'static str, PathBuf); 2] {
        [("COUNTERS", self.folder.join(COUNTERS)), ("LEARNED", self.folder.join(LEARNED))]
    }

    /// The MAC that the programs have learnt of the guest, if they have.
    pub fn learned(&self) -> Result<Option<MacAddr>> {
        let number = self.learned_map()?.get(&0, 0).chained(|| "read the guest's MAC")?;
        Ok(Some(MacAddr::from_number(number)).filter(|mac| *mac != MacAddr::ZERO))
    }

    /// Has the programs learn the guest's MAC anew.
    pub fn forget_learned(&self) -> Result<()> {
        self.learned_map()?.set(0, 0, 0).chained(|| "forget the guest's MAC")
    }

    fn learned_map(&self) -> Result<Array<MapData, u64>> {
        let path = self.folder.join(LEARNED);
        let what = || format!("open the map {}", path.display());
        Map::Array(MapData::from_pin(&path).chained(what)?).try_into().chained(what)
    }

    /// What the programs counted, all CPUs together.
    pub fn counters(&self) -> Result<Counters> {
        let path = self.folder.join(COUNTERS);
        let what = || format!("read the counters at {}", path.display());
        let map = Map::PerCpuArray(MapData::from_pin(&path).chained(what)?);
        let map = PerCpuArray::<_, Counters>::try_from(map).chained(what)?;
        let mut sum = Counters::ZERO;
        for counters in map.get(&0, 0).chained(what)?.iter() {
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
