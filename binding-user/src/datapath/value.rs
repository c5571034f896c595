//! Values of pinned maps as octets.
//!
//! A map that another build of the programs made may have values of any size, which no type of this build has.

use std::{os::fd::AsFd as _, path::Path};

use aya::{
    maps::{MapData, MapType},
    util::nr_cpus,
};

use super::raw;
use crate::error::{Chained as _, Context as _, Result};

/// What a map is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Its type.
    pub kind: MapType,
    /// Octets of a key.
    pub key: u32,
    /// Octets of a value, for one CPU.
    pub value: u32,
    /// Number of its entries.
    pub entries: u32,
}

impl Shape {
    /// An array, per CPU or not, of one entry of `value` octets.
    pub fn of_one(kind: MapType, value: usize) -> Self {
        Self { kind, key: 4, value: u32::try_from(value).unwrap_or(u32::MAX), entries: 1 }
    }
}

/// A pinned map of one entry.
#[derive(Debug)]
pub struct One(MapData);

impl One {
    /// Opens the pin; `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let map = MapData::from_pin(path).chained(|| format!("open the map {}", path.display()))?;
        Ok(Some(Self(map)))
    }

    /// What the kernel says that it is like.
    pub fn shape(&self) -> Result<Shape> {
        let look = || -> Result<_, aya::maps::MapError> {
            let info = self.0.info()?;
            Ok(Shape {
                kind: info.map_type()?,
                key: info.key_size(),
                value: info.value_size(),
                entries: info.max_entries(),
            })
        };
        look().chained(|| "ask what a map is like")
    }

    /// The value of the entry; of an array per CPU the values of all CPUs that the kernel knows, one after the other,
    /// each with its size rounded up to 8 octets (`bpf_percpu_array_copy` in kernel/bpf/arraymap.c).
    pub fn value(&self) -> Result<Vec<u8>> {
        let what = || "read a map";
        let shape = self.shape()?;
        let cpus = match shape.kind {
            MapType::PerCpuArray => nr_cpus().map_err(|(file, error)| format!("{file}: {error}")).context(what)?,
            MapType::Array => 1,
            other => return Err(format!("it is a map of the type {other:?}")).context(what),
        };
        let size = usize::try_from(shape.value).context(what)?.next_multiple_of(8);
        let mut value = vec![0_u8; size * cpus];
        raw::look_up(self.0.fd().as_fd(), &mut value).context(what)?;
        Ok(value)
    }
}
