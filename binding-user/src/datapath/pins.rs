//! The pins of one binding: its links and its maps, under names that are fixed, so that a later process finds them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData, MapInfo, PerCpuArray};
use binding_common::{Counters, MacAddr};

use super::{Bpffs, bpffs::make_private_folder, place, raw, record};
use crate::error::{Context as _, Error, Result};

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
            .with_hint("choose another name; `tapwire repair` of this one removes them if their devices are gone, and says how if not"))
    }

    /// The names of all bindings that have pins.
    pub fn names(bpffs: &Bpffs) -> Result<Vec<String>> {
        let entries = match fs::read_dir(bpffs.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(|| format!("read {}", bpffs.path().display())),
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().replace('+', "."));
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
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

    /// The maps that are not pinned.
    pub fn missing(&self) -> Vec<&'static str> {
        self.maps().into_iter().filter(|(_, path)| !path.exists()).map(|(name, _)| name).collect()
    }

    /// Pins the maps again that a running program still holds, and gives their names.
    pub fn recover(&self, program: u32) -> Result<Vec<&'static str>> {
        let what = || format!("find the maps of the program of id {program}");
        let Some(info) = place::program(program) else { return Ok(Vec::new()) };
        let ids = info.map_ids().context(what)?.unwrap_or_default();
        let mut recovered = Vec::new();
        for (name, path) in self.maps().into_iter().filter(|(_, path)| !path.exists()) {
            for id in &ids {
                if MapInfo::from_id(*id).context(what)?.name_as_str() == Some(name) {
                    MapData::from_id(*id).context(what)?.pin(&path).context(|| format!("pin {}", path.display()))?;
                    recovered.push(name);
                }
            }
        }
        Ok(recovered)
    }

    /// Removes pins of links that are not those of these hooks.
    pub fn remove_other_links(&self, hooks: &[super::Hook]) -> Result<()> {
        let ours: Vec<_> = hooks.iter().map(|hook| self.link(&hook.program)).collect();
        for path in self.links()?.into_iter().filter(|path| !ours.contains(path)) {
            remove_file(&path)?;
        }
        Ok(())
    }

    /// Whether a pinned link is on a device that lives, or a program that runs uses the pinned counters.
    pub fn are_alive(&self) -> Result<bool> {
        for path in self.links()? {
            if raw::link_ifindex(&path).is_ok_and(|ifindex| ifindex.is_some_and(|index| index != 0)) {
                return Ok(true);
            }
        }
        if !self.links()?.is_empty() {
            return Ok(false);
        }
        let Ok(map) = MapData::from_pin(self.folder.join(COUNTERS)).and_then(|map| map.info()) else {
            return Ok(false);
        };
        let uses = |ids: Option<Vec<u32>>| ids.is_some_and(|ids| ids.contains(&map.id()));
        Ok(aya::programs::loaded_programs().flatten().any(|program| program.map_ids().is_ok_and(uses)))
    }

    fn links(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(|| format!("read {}", self.folder.display())),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths
            .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"link_")))
            .collect())
    }

    /// The copy of the journal, if there is one.
    pub fn record(&self) -> Result<Option<Vec<u8>>> {
        record::read(&self.folder).context(|| format!("read {}", record::path(&self.folder).display()))
    }

    /// Replaces the copy of the journal. Without pins there is none.
    pub fn set_record(&self, text: &[u8]) -> Result<()> {
        if !self.exist() {
            return Ok(());
        }
        record::write(&self.folder, text).context(|| format!("write {}", record::path(&self.folder).display()))
    }

    /// The folder of all of them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The MAC that the programs have learnt of the guest, if they have.
    pub fn learned(&self) -> Result<Option<MacAddr>> {
        let number = self.learned_map()?.get(&0, 0).context(|| "read the guest's MAC")?;
        Ok(Some(MacAddr::from_number(number)).filter(|mac| *mac != MacAddr::ZERO))
    }

    /// Has the programs learn the guest's MAC anew.
    pub fn forget_learned(&self) -> Result<()> {
        self.learned_map()?.set(0, 0, 0).context(|| "forget the guest's MAC")
    }

    fn learned_map(&self) -> Result<Array<MapData, u64>> {
        let path = self.folder.join(LEARNED);
        let what = || format!("open the map {}", path.display());
        Map::Array(MapData::from_pin(&path).context(what)?).try_into().context(what)
    }

    /// What the programs counted, all CPUs together.
    pub fn counters(&self) -> Result<Counters> {
        let path = self.folder.join(COUNTERS);
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

/// Where a pin lies until it takes the place of another. No pin is named so otherwise.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push("+new");
    path.into()
}

/// Removes a pin, which need not be there.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
