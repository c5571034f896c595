//! The pins of one binding: its links and its maps, under names that are fixed, so that a later process finds them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData, MapInfo};
use binding_common::{Learned, MacAddr};

use super::{Bpffs, PinnedMaps, bpffs::make_private_folder, maps, raw, record, value::One};
use crate::error::{Chained as _, Context as _, Error, Result};

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

    /// Where a program is pinned for a moment.
    pub fn passing(&self, program: &str) -> PathBuf {
        self.folder.join(format!("passing_{program}"))
    }

    /// Removes what a command that died left pinned for a moment: it holds a program that may have been replaced since.
    pub fn remove_passing(&self) -> Result<()> {
        self.of_kind("passing_")?.iter().try_for_each(|path| remove_file(path))
    }

    /// Makes the folder.
    pub fn make(&self) -> Result<()> {
        make_private_folder(&self.folder)
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The maps that outlive a change of the programs, and where they are pinned.
    fn maps(&self, maps: &PinnedMaps) -> [(&'static str, PathBuf); 2] {
        [("COUNTERS", self.map(&maps.counters.pin)), ("LEARNED", self.map(&maps.learned))]
    }

    /// The maps that are not pinned.
    pub fn missing(&self, maps: &PinnedMaps) -> Vec<&'static str> {
        self.maps(maps).into_iter().filter(|(_, path)| !path.exists()).map(|(name, _)| name).collect()
    }

    /// Pins the maps again that a running program still holds, and gives their names.
    pub fn recover(&self, maps: &PinnedMaps, program: u32) -> Result<Vec<&'static str>> {
        let what = || format!("find the maps of the program of id {program}");
        // One that is gone holds nothing.
        let Ok(info) = raw::info_of(program, &self.passing("recovered")) else { return Ok(Vec::new()) };
        let ids = info.map_ids().context(what)?.unwrap_or_default();
        let mut recovered = Vec::new();
        for (name, path) in self.maps(maps).into_iter().filter(|(_, path)| !path.exists()) {
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
        // After an upgrade they may be pinned under another name of that beginning.
        let pinned = self.of_kind(maps::COUNTERS)?;
        let counters: Vec<_> = pinned.iter().filter_map(|path| MapData::from_pin(path).ok()?.info().ok()).collect();
        let uses = |ids: Option<Vec<u32>>| ids.is_some_and(|ids| counters.iter().any(|map| ids.contains(&map.id())));
        Ok(aya::programs::loaded_programs().flatten().any(|program| program.map_ids().is_ok_and(uses)))
    }

    fn links(&self) -> Result<Vec<PathBuf>> {
        self.of_kind("link_")
    }

    /// The pins whose names begin like this.
    fn of_kind(&self, kind: &str) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(|| format!("read {}", self.folder.display())),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths
            .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(kind.as_bytes())))
            .collect())
    }

    /// The copy of the journal, if there is one.
    pub fn record(&self) -> Result<Option<Vec<u8>>> {
        record::read(&self.folder)
    }

    /// Replaces the copy of the journal. Without pins there is none.
    pub fn set_record(&self, text: &[u8]) -> Result<()> {
        if !self.exist() {
            return Ok(());
        }
        record::write(&self.folder, text)
    }

    /// The folder of all of them.
    pub fn folder(&self) -> &Path {
        &self.folder
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
        let map = MapData::from_pin(&path).chained(what)?;
        let mut map: Array<_, Learned> = Map::Array(map).try_into().context(what)?;
        map.set(0, Learned::of(mac.to_number()), 0).context(what)
    }

    /// Removes the pin of a map. One that is not there is no error.
    pub fn remove_map(&self, name: &str) -> Result<()> {
        remove_file(&self.map(name))
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
