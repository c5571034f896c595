//! What the operator wants the guest to be told otherwise than discovered.
//!
//! It comes from flags and from a lease file, is kept in the journal, and is applied to a lease: one that was just made
//! of the facts, or one that exists. So for each option three things can be said: leave it as it is, take it away, or
//! this value.

use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Lease, PrivateOption, values};
use crate::{
    error::{Error, Result},
    netns::NetnsSpec,
    podfile,
};

/// The word that takes an option away, in place of its value.
pub const NONE: &str = "none";

/// What is wanted of one option.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Record<T>", into = "Record<T>", bound(serialize = "T: Clone + Serialize"))]
pub enum Setting<T> {
    /// It stays as it is.
    #[default]
    AsIs,
    /// The guest is not told of it.
    Cleared,
    /// It has this value.
    Given(T),
}

/// How a journal has it: `null`, `false` or the value. Journals that know no `false` have the other two alike.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Record<T> {
    Cleared(bool),
    Given(T),
    AsIs,
}

impl<T> From<Record<T>> for Setting<T> {
    fn from(record: Record<T>) -> Self {
        match record {
            Record::Cleared(_) => Self::Cleared,
            Record::Given(value) => Self::Given(value),
            Record::AsIs => Self::AsIs,
        }
    }
}

impl<T> From<Setting<T>> for Record<T> {
    fn from(setting: Setting<T>) -> Self {
        match setting {
            Setting::Cleared => Self::Cleared(false),
            Setting::Given(value) => Self::Given(value),
            Setting::AsIs => Self::AsIs,
        }
    }
}

impl<T> Setting<Vec<T>> {
    /// This list, also where it is empty.
    pub fn list(list: Vec<T>) -> Self {
        if list.is_empty() { Self::Cleared } else { Self::Given(list) }
    }
}

impl<T: Clone> Setting<T> {
    /// What is said here, and where nothing is, what the older one said.
    #[must_use]
    pub fn merged_over(&self, older: &Self) -> Self {
        if matches!(self, Self::AsIs) { older.clone() } else { self.clone() }
    }

    /// Sets an option of a lease; none is its type's default.
    fn apply<V: Default + From<T>>(&self, option: &mut V) {
        match self {
            Self::AsIs => {}
            Self::Cleared => *option = V::default(),
            Self::Given(value) => *option = value.clone().into(),
        }
    }
}

/// What the operator wants otherwise than discovered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseOptions {
    /// DNS servers in place of the ones of resolv.conf.
    #[serde(deserialize_with = "list")]
    pub dns: Setting<Vec<Ipv4Addr>>,
    /// Search domains in place of the ones of resolv.conf.
    #[serde(deserialize_with = "list")]
    pub search: Setting<Vec<String>>,
    /// The guest's host name.
    pub hostname: Setting<String>,
    /// Lease time in seconds.
    pub seconds: Option<u32>,
    /// MTU in place of the NIC's.
    pub mtu: Option<u32>,
    /// NTP servers.
    pub ntp_servers: Setting<Vec<Ipv4Addr>>,
    /// Name or address of the TFTP server.
    pub tftp_server_name: Setting<String>,
    /// Name of the file to boot.
    pub boot_file_name: Setting<String>,
    /// Addresses of TFTP servers.
    pub tftp_servers: Setting<Vec<Ipv4Addr>>,
    /// Options of this site.
    pub private_options: Setting<Vec<PrivateOption>>,
}

/// A list of a journal. The first ones had an empty list for what was not given.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Setting<Vec<T>>, D::Error> {
    let setting = Setting::<Vec<T>>::deserialize(deserializer)?;
    Ok(if matches!(&setting, Setting::Given(list) if list.is_empty()) { Setting::AsIs } else { setting })
}

impl LeaseOptions {
    /// What is given here, and where nothing is, what was given before: flags over a file, a change over the last one.
    #[must_use]
    pub fn merged_over(&self, older: &Self) -> Self {
        Self {
            dns: self.dns.merged_over(&older.dns),
            search: self.search.merged_over(&older.search),
            hostname: self.hostname.merged_over(&older.hostname),
            seconds: self.seconds.or(older.seconds),
            mtu: self.mtu.or(older.mtu),
            ntp_servers: self.ntp_servers.merged_over(&older.ntp_servers),
            tftp_server_name: self.tftp_server_name.merged_over(&older.tftp_server_name),
            boot_file_name: self.boot_file_name.merged_over(&older.boot_file_name),
            tftp_servers: self.tftp_servers.merged_over(&older.tftp_servers),
            private_options: self.private_options.merged_over(&older.private_options),
        }
    }

    /// Sets on a lease what is given, and leaves the rest of it as it is.
    pub fn apply(&self, lease: &mut Lease) {
        self.dns.apply(&mut lease.dns);
        self.search.apply(&mut lease.search);
        self.hostname.apply(&mut lease.hostname);
        lease.seconds = self.seconds.unwrap_or(lease.seconds);
        lease.mtu = self.mtu.unwrap_or(lease.mtu);
        self.ntp_servers.apply(&mut lease.ntp_servers);
        self.tftp_server_name.apply(&mut lease.tftp_server_name);
        self.boot_file_name.apply(&mut lease.boot_file_name);
        self.tftp_servers.apply(&mut lease.tftp_servers);
        self.private_options.apply(&mut lease.private_options);
    }

    /// Whether anything is said that only a lease can tell; the MTU is also a tap's.
    pub fn tells_something(&self) -> bool {
        Self { mtu: None, ..self.clone() } != Self::default()
    }

    /// Refuses an MTU that the NIC does not carry, in octets.
    pub fn check_mtu(&self, nic: u32) -> Result<()> {
        match self.mtu {
            Some(mtu) if mtu > nic => {
                Err(Error::new("set the guest's MTU", format!("{mtu} is over the pod NIC's {nic}"))
                    .with_hint(format!("choose --mtu {nic} or less")))
            }
            _ => Ok(()),
        }
    }

    /// The same with the pod's host name, where the operator said nothing of it and the pod's can be told from the
    /// node's: the namespace of a network has no name of its own, the file of a process has.
    #[must_use]
    pub fn for_pod(&self, netns: &NetnsSpec) -> Self {
        let of_process = match netns {
            NetnsSpec::Pid(pid) if self.hostname == Setting::AsIs => podfile::read(*pid, "etc/hostname"),
            _ => None,
        };
        let first_line =
            |text: Vec<u8>| String::from_utf8(text).ok()?.lines().next().map(|line| line.trim().to_owned());
        let name = of_process.and_then(first_line).and_then(|name| values::host_name(&name).ok());
        let of_pod = Self { hostname: name.map_or(Setting::AsIs, Setting::Given), ..Self::default() };
        self.merged_over(&of_pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::lease;

    /// Options of which each says something.
    fn all() -> LeaseOptions {
        let address = Ipv4Addr::new(10, 0, 0, 9);
        LeaseOptions {
            dns: Setting::Given(vec![address]),
            search: Setting::Given(vec!["a.example".to_owned()]),
            hostname: Setting::Given("vm".to_owned()),
            seconds: Some(60),
            mtu: Some(1400),
            ntp_servers: Setting::Given(vec![address]),
            tftp_server_name: Setting::Given("boot.example".to_owned()),
            boot_file_name: Setting::Given("boot.ipxe".to_owned()),
            tftp_servers: Setting::Given(vec![address]),
            private_options: Setting::Given(vec![PrivateOption { option: 240, value: "x".to_owned() }]),
        }
    }

    fn cleared() -> LeaseOptions {
        LeaseOptions {
            dns: Setting::Cleared,
            search: Setting::Cleared,
            hostname: Setting::Cleared,
            ntp_servers: Setting::Cleared,
            tftp_server_name: Setting::Cleared,
            boot_file_name: Setting::Cleared,
            tftp_servers: Setting::Cleared,
            private_options: Setting::Cleared,
            ..LeaseOptions::default()
        }
    }

    #[test]
    fn what_is_not_given_stays_and_what_is_cleared_goes() {
        let plain = lease("10.244.1.5/24", &[]);
        let mut changed = plain.clone();
        all().apply(&mut changed);
        assert_eq!(changed.hostname.as_deref(), Some("vm"));
        assert_eq!((changed.seconds, changed.mtu), (60, 1400));
        let before = changed.clone();
        LeaseOptions::default().apply(&mut changed);
        assert_eq!(changed, before);
        cleared().apply(&mut changed);
        assert_eq!(changed, Lease { seconds: 60, mtu: 1400, ..plain });
    }

    #[test]
    fn the_newer_wins_option_by_option() {
        assert_eq!(all().merged_over(&cleared()), all());
        assert_eq!(LeaseOptions::default().merged_over(&all()), all());
        let both = cleared().merged_over(&all());
        assert_eq!(both, LeaseOptions { seconds: Some(60), mtu: Some(1400), ..cleared() });
    }

    #[test]
    fn a_journal_keeps_all_three_kinds_and_old_journals_are_read() {
        for options in [all(), cleared(), LeaseOptions::default()] {
            let text = serde_json::to_string(&options).unwrap();
            assert_eq!(serde_json::from_str::<LeaseOptions>(&text).unwrap(), options, "{text}");
        }
        let old = r#"{"dns": [], "search": ["a.example"], "hostname": null, "seconds": null, "mtu": 1400}"#;
        let expected = LeaseOptions { search: all().search, mtu: Some(1400), ..LeaseOptions::default() };
        assert_eq!(serde_json::from_str::<LeaseOptions>(old).unwrap(), expected);
    }

    #[test]
    fn a_host_name_that_was_cleared_is_not_looked_for_in_the_pod() {
        let of_pod = cleared().for_pod(&NetnsSpec::Pid(std::process::id()));
        assert_eq!(of_pod.hostname, Setting::Cleared);
    }
}
