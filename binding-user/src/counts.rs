//! What programs counted, whichever build of them it was.
//!
//! A build knows its own counters as a struct. Those of another build may have other fields, or more places in a field.
//! So the record of a binding says how the counters of its programs lie ([`Layout`]), and what is read of them is kept
//! by the names of the fields ([`Counts`]). Within a field, places are only ever added at the end: a number means the
//! same in every build that knows it, and one that does not know it hands it on.

use std::{array, collections::BTreeMap};

use binding_common::{Counters, Traffic};
use serde::{Deserialize, Serialize};

/// Octets of one counter.
const WORD: usize = size_of::<u64>();

/// How counters lie in their map: the name of each field, in order, and the number of its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Layout(Vec<(String, usize)>);

impl Layout {
    /// That of the programs in this binary.
    pub fn of_this_build() -> Self {
        Self::from(&Counters::FIELDS)
    }

    /// That of the builds which did not write it down yet.
    pub fn unsaid() -> Self {
        Self::from(&[("to_network", 2), ("to_guest", 2), ("dhcp", 16), ("arp_replies", 1), ("dropped", 48)])
    }

    fn from(fields: &[(&str, usize)]) -> Self {
        Self(fields.iter().map(|(name, len)| ((*name).to_owned(), *len)).collect())
    }

    /// Octets of it, for one CPU. One that no memory could hold has none.
    pub fn size(&self) -> usize {
        let sum = self.0.iter().try_fold(0_usize, |sum, (_, len)| sum.checked_add(*len));
        sum.and_then(|words| words.checked_mul(WORD)).unwrap_or(0)
    }

    /// The counts of all CPUs together, from their values one after the other. A value that is longer than the layout,
    /// or shorter, is of no CPU.
    pub fn read(&self, values: &[u8]) -> Counts {
        let mut sum = Counts::default();
        for value in values.chunks_exact(self.size().max(1)) {
            let mut words = value.chunks_exact(WORD).map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
            let fields = self.0.iter().map(|(name, len)| (name.clone(), words.by_ref().take(*len).collect()));
            sum.add(&Counts(fields.collect()));
        }
        sum
    }
}

/// Counts by the names of their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, Vec<u64>>);

impl Counts {
    /// Adds others, field by field and place by place.
    pub fn add(&mut self, others: &Self) {
        for (name, more) in &others.0 {
            let sums = self.0.entry(name.clone()).or_default();
            sums.resize(sums.len().max(more.len()), 0);
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = sum.saturating_add(*more);
            }
        }
    }

    /// What this build has names for.
    pub fn known(&self) -> Counters {
        let count = |name: &str, at: usize| self.0.get(name).and_then(|counts| counts.get(at)).copied().unwrap_or(0);
        let traffic = |name: &str| Traffic { frames: count(name, 0), bytes: count(name, 1) };
        Counters {
            to_network: traffic("to_network"),
            to_guest: traffic("to_guest"),
            dhcp: array::from_fn(|at| count("dhcp", at)),
            arp_replies: count("arp_replies", 0),
            dropped: array::from_fn(|at| count("dropped", at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use binding_common::{DhcpMessage, Reason};

    use super::*;

    fn layout(fields: &[(&str, usize)]) -> Layout {
        Layout::from(fields)
    }

    fn octets(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn counts(fields: &[(&str, &[u64])]) -> Counts {
        Counts(fields.iter().map(|(name, counts)| ((*name).to_owned(), counts.to_vec())).collect())
    }

    #[test]
    fn every_counter_of_this_build_is_read_back_from_its_place() {
        let mut written = Counters::ZERO;
        written.to_network = Traffic { frames: 1, bytes: 2 };
        written.to_guest = Traffic { frames: 3, bytes: 4 };
        written.dhcp = array::from_fn(|at| 100 + u64::try_from(at).unwrap());
        written.arp_replies = 5;
        written.dropped = array::from_fn(|at| 200 + u64::try_from(at).unwrap());
        let Counters { to_network, to_guest, dhcp, arp_replies, dropped } = written;
        let mut words = vec![to_network.frames, to_network.bytes, to_guest.frames, to_guest.bytes];
        words.extend(dhcp);
        words.push(arp_replies);
        words.extend(dropped);
        assert_eq!(Layout::of_this_build().size(), size_of::<Counters>());
        assert_eq!(Layout::of_this_build().read(&octets(&words)).known(), written);
    }

    #[test]
    fn the_counts_of_all_cpus_are_added() {
        let read = layout(&[("a", 1), ("b", 2)]).read(&octets(&[1, 2, 3, 10, 20, 30]));
        assert_eq!(read, counts(&[("a", &[11]), ("b", &[22, 33])]));
    }

    #[test]
    fn a_layout_with_fewer_or_more_places_is_read_by_its_names() {
        let fewer = layout(&[("dropped", 2), ("dhcp", 1)]).read(&octets(&[7, 8, 9])).known();
        assert_eq!((fewer.dropped[0], fewer.dropped[1], fewer.dropped[2]), (7, 8, 0));
        assert_eq!(fewer.dhcp[DhcpMessage::Discover as usize], 9);
        assert_eq!(fewer.to_network, Traffic::default());
        let mut words = vec![0; 100];
        words[Reason::PodStack as usize] = 6;
        words[99] = 5;
        let more = layout(&[("dropped", 100)]).read(&octets(&words));
        assert_eq!(more.known().dropped[Reason::PodStack as usize], 6);
        assert_eq!(more.0["dropped"][99], 5, "what this build has no name for is handed on");
    }

    #[test]
    fn counts_of_several_layouts_add_up_and_none_is_lost() {
        let mut sum = counts(&[("dropped", &[1, 2])]);
        sum.add(&counts(&[("dropped", &[10, 20, 30]), ("later", &[5])]));
        sum.add(&counts(&[("dropped", &[100])]));
        assert_eq!(sum, counts(&[("dropped", &[111, 22, 30]), ("later", &[5])]));
    }

    #[test]
    fn a_layout_beyond_all_memory_has_no_size() {
        assert_eq!(layout(&[("a", usize::MAX), ("b", 2)]).size(), 0);
        assert_eq!(layout(&[("a", usize::MAX)]).size(), 0);
        assert_eq!(layout(&[]).read(&[1, 2, 3]), Counts::default());
    }
}
