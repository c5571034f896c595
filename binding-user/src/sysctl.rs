//! Settings of one interface, in `/proc/sys/net/ipv6/conf/<interface>/`, and that of forwarding in `ipv4` too.
//!
//! What these files show depends on the network namespace of the *thread* that opens them, so every access goes through
//! [`Netns::run`]. The path is put together from segments: sysctl(8)'s dotted names cannot say `eth0.100`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Error, Result, netns::Netns};

/// `1` switches IPv6 off: the interface loses its addresses and takes no new ones.
pub const DISABLE_IPV6: &str = "disable_ipv6";
/// `0` makes new addresses valid at once, without duplicate address detection (if `all/accept_dad` is 0 too, as it is
/// unless someone changed it).
pub const ACCEPT_DAD: &str = "accept_dad";
/// `1` has the kernel forward what the interface receives.
const FORWARDING: &str = "forwarding";
const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// Reads a setting; `None` when the kernel does not have it (IPv6 is compiled out, or off by `ipv6.disable=1`).
pub fn read_ipv6(netns: &Netns, interface: &str, name: &str) -> Result<Option<i32>> {
    read(netns, &path("ipv6", interface, name)?)
}

/// Writes a setting if it is not so already; `false` when the kernel does not have it.
pub fn write_ipv6(netns: &Netns, interface: &str, name: &str, value: i32) -> Result<bool> {
    write(netns, &path("ipv6", interface, name)?, value)
}

/// Has the kernel forward nothing that the interface receives, of either family.
pub fn forbid_forwarding(netns: &Netns, interface: &str) -> Result<()> {
    for family in FAMILIES {
        write(netns, &path(family, interface, FORWARDING)?, 0)?;
    }
    Ok(())
}

/// Whether the kernel forwards what the interface receives, of either family.
pub fn forwards(netns: &Netns, interface: &str) -> Result<bool> {
    for family in FAMILIES {
        if read(netns, &path(family, interface, FORWARDING)?)?.is_some_and(|value| value != 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(netns: &Netns, path: &Path) -> Result<Option<i32>> {
    netns.run(|| match fs::read_to_string(path) {
        Ok(text) => match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Error::new(format!("read {}", path.display()), error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(format!("read {}", path.display()), error)),
    })
}

fn write(netns: &Netns, path: &Path, value: i32) -> Result<bool> {
    // Reading first matters where /proc/sys is mounted read-only and there is nothing to change.
    match read(netns, path)? {
        None => return Ok(false),
        Some(found) if found == value => return Ok(true),
        Some(_) => {}
    }
    netns.run(|| match fs::write(path, format!("{value}\n")) {
        Ok(()) => Ok(true),
        Err(error) => {
            let read_only = error.kind() == io::ErrorKind::ReadOnlyFilesystem;
            let error = Error::new(format!("write {value} to {}", path.display()), error);
            Err(if read_only {
                error.with_hint("run where /proc/sys is writable: a privileged container")
            } else {
                error
            })
        }
    })
}

fn path(family: &str, interface: &str, name: &str) -> Result<PathBuf> {
    // The kernel allows neither in an interface's name; here they would lead to another file.
    if interface.is_empty() || interface.contains('/') || matches!(interface, "." | "..") {
        return Err(Error::new(format!("find the settings of \"{interface}\""), "no interface can have this name"));
    }
    Ok(["/proc/sys/net", family, "conf", interface, name].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

    #[test]
    fn names_with_dots_are_one_segment_and_slashes_are_refused() {
        assert_eq!(
            path("ipv6", "eth0.100", DISABLE_IPV6).unwrap(),
            PathBuf::from("/proc/sys/net/ipv6/conf/eth0.100/disable_ipv6")
        );
        for name in ["", ".", "..", "../lo", "a/b"] {
            assert!(path("ipv6", name, DISABLE_IPV6).is_err(), "{name}");
        }
    }

    #[test]
    fn settings_are_those_of_the_namespace() {
        let Some(lab) = Lab::new() else { return };
        let (pod, node) = (lab.pod.open(), lab.node.open());
        lab.pod.ip("link set eth0 name eth0.100");
        assert_eq!(read_ipv6(&node, "eth0.100", DISABLE_IPV6).unwrap(), None);
        assert!(!write_ipv6(&node, "eth0.100", DISABLE_IPV6, 1).unwrap());
        assert!(write_ipv6(&pod, "eth0.100", DISABLE_IPV6, 1).unwrap());
        assert_eq!(read_ipv6(&pod, "eth0.100", DISABLE_IPV6).unwrap(), Some(1));
        assert!(write_ipv6(&pod, "eth0.100", DISABLE_IPV6, 1).unwrap());
    }
}
