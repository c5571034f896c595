//! The node's policy: what a binding may relax of the guard at the most.
//!
//! Options of a binding may come from people who are not trusted with the node, by way of whoever calls `attach` for
//! them. The policy is the node's own word, in a file that only root can write; where there is none, whoever may call
//! `attach`, which is root, decides. It bounds what is asked for and turns nothing off by itself.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt as _, path::Path};

use binding_common::MacAddr;
use ipnet::IpNet;
use serde::Deserialize;

use super::{EtherType, GuardRequest, RuleName, Vlans};
use crate::{
    error::{Context as _, Error, Result},
    input::{self, Links},
};

/// Where it is, unless the command line says otherwise.
pub const PATH: &str = "/etc/tapwire/policy.toml";
/// Octets that a file may have.
const LIMIT: u64 = 64 * 1024;
/// Permissions that nobody but root may have: to write.
const WRITE_OTHERS: u32 = 0o022;

/// The policy. What is not named is not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    guard: Bounds,
}

/// What of the guard may be relaxed.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the file")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Bounds {
    /// `--guard off`.
    off: bool,
    /// A binding without a lease, where no rule knows the guest's address.
    pure_wire: bool,
    /// `--guard -RULE`.
    rules: Vec<RuleName>,
    /// `--allow-address`, and what lies within.
    addresses: Vec<IpNet>,
    /// `--allow-mac`.
    macs: Vec<MacPrefix>,
    /// `--allow-vlan` with these numbers.
    vlans: Vec<u16>,
    /// `--allow-vlan` with any.
    every_vlan: bool,
    /// `--allow-lldp`.
    lldp: bool,
    /// `--allow-ethertype`.
    ether_types: Vec<EtherType>,
}

/// A MAC, or all that begin with the same bits: `00:00:5e:00:01:00/40`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct MacPrefix {
    mac: MacAddr,
    length: u32,
}

impl MacPrefix {
    fn contains(self, mac: MacAddr) -> bool {
        (self.mac.to_number() ^ mac.to_number()) >> (48 - self.length) == 0
    }
}

impl TryFrom<String> for MacPrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (mac, length) = text.split_once('/').unwrap_or((&text, "48"));
        let mac = mac.parse().map_err(|error| format!("{text:?}: {error}"))?;
        match length.parse() {
            Ok(length @ 0..=48) => Ok(Self { mac, length }),
            _ => Err(format!("{text:?}: a prefix of a MAC has 0 to 48 bits")),
        }
    }
}

impl Policy {
    /// Reads the file; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let what = || format!("read the policy {}", path.display());
        let file = match input::open(path, Links::Followed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.context(what)?,
        };
        check_trusted(path, &file.metadata().context(what)?)?;
        let content = input::read_open(file, LIMIT).context(what)?;
        let text = String::from_utf8(content).context(what)?;
        toml::from_str(&text).map(Some).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(at).filter(|octet| *octet == b'\n').count() + 1;
            Error::new(format!("{}, line {line}", what()), error.message()).with_hint("docs/security.md has its keys")
        })
    }

    /// Refuses what it does not allow. `has_lease`: the guest's address is given here, and so known.
    pub fn check(&self, path: &Path, request: &GuardRequest, has_lease: bool) -> Result<()> {
        match self.first_excess(request, has_lease) {
            None => Ok(()),
            Some(excess) => Err(Error::new(
                format!("relax the guard by {excess}"),
                format!("the node's policy {} does not allow it", path.display()),
            )
            .with_hint("leave it out, or have the node's administrator allow it there")),
        }
    }

    fn first_excess(&self, request: &GuardRequest, has_lease: bool) -> Option<String> {
        let bounds = &self.guard;
        let allowed = &request.allowed;
        if request.off && !bounds.off {
            return Some("--guard off".to_owned());
        }
        if !has_lease && !bounds.pure_wire {
            return Some("a pure wire".to_owned());
        }
        if let Some(rule) = request.without.iter().find(|rule| !bounds.rules.contains(rule)) {
            return Some(format!("--guard -{}", rule.0.name()));
        }
        let is_within = |prefix: &&IpNet| bounds.addresses.iter().any(|bound| bound.contains(*prefix));
        if let Some(prefix) = allowed.addresses.iter().find(|prefix| !is_within(prefix)) {
            return Some(format!("--allow-address {prefix}"));
        }
        if let Some(mac) = allowed.macs.iter().find(|mac| !bounds.macs.iter().any(|bound| bound.contains(mac.0))) {
            return Some(format!("--allow-mac {}", mac.0));
        }
        match &allowed.vlans {
            Vlans::All if !bounds.every_vlan => return Some("--allow-vlan".to_owned()),
            Vlans::Ids(ids) if !bounds.every_vlan => {
                if let Some(id) = ids.iter().find(|id| !bounds.vlans.contains(id)) {
                    return Some(format!("--allow-vlan={id}"));
                }
            }
            _ => {}
        }
        if allowed.lldp && !bounds.lldp {
            return Some("--allow-lldp".to_owned());
        }
        let kind = allowed.ether_types.iter().find(|kind| !bounds.ether_types.contains(kind));
        kind.map(|kind| format!("--allow-ethertype {kind}"))
    }
}

/// Refuses a file that somebody else than root could have written: it would be theirs to say what is allowed.
fn check_trusted(path: &Path, metadata: &Metadata) -> Result<()> {
    let why = if metadata.uid() != 0 {
        "it is not root's"
    } else if metadata.mode() & WRITE_OTHERS != 0 {
        "others than root may write it"
    } else {
        return Ok(());
    };
    Err(Error::new(format!("trust the policy {}", path.display()), why)
        .with_hint(format!("chown root: {0} && chmod 644 {0}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::guard::{Allowed, GuardWord, Mac};

    const EVERYTHING: &str = r#"
        [guard]
        off = true
        pure-wire = true
        rules = ["vlan", "llc"]
        addresses = ["10.0.0.0/8", "2001:db8::/32"]
        macs = ["00:00:5e:00:01:00/40", "02:00:00:00:00:07"]
        vlans = [7]
        lldp = true
        ether-types = ["0x88b5"]
    "#;

    fn request() -> GuardRequest {
        let allowed = Allowed {
            addresses: vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::7/128".parse().unwrap()],
            macs: vec!["00:00:5e:00:01:33".parse::<Mac>().unwrap(), "02:00:00:00:00:07".parse().unwrap()],
            vlans: Vlans::Ids([7].into()),
            lldp: true,
            ether_types: vec![EtherType(0x88b5)],
        };
        let words: Vec<GuardWord> = ["-vlan", "-llc"].iter().map(|word| word.parse().unwrap()).collect();
        GuardRequest::new(&words, allowed).unwrap()
    }

    #[test]
    fn what_it_names_is_allowed_and_no_more() {
        let policy: Policy = toml::from_str(EVERYTHING).unwrap();
        assert_eq!(policy.first_excess(&request(), false), None);
        let excess = |change: fn(&mut GuardRequest)| {
            let mut request = request();
            change(&mut request);
            policy.first_excess(&request, true).unwrap()
        };
        assert_eq!(excess(|request| request.allowed.vlans = Vlans::All), "--allow-vlan");
        assert_eq!(excess(|request| request.allowed.vlans = Vlans::Ids([7, 8].into())), "--allow-vlan=8");
        assert_eq!(
            excess(|request| request.allowed.addresses.push("11.0.0.1/32".parse().unwrap())),
            "--allow-address 11.0.0.1/32"
        );
        assert_eq!(
            excess(|request| request.allowed.addresses.push("0.0.0.0/0".parse().unwrap())),
            "--allow-address 0.0.0.0/0"
        );
        assert_eq!(
            excess(|request| request.allowed.macs.push("00:00:5e:00:02:01".parse().unwrap())),
            "--allow-mac 00:00:5e:00:02:01"
        );
        assert_eq!(excess(|request| request.allowed.ether_types.push(EtherType(0x8847))), "--allow-ethertype 0x8847");
        assert_eq!(
            excess(|request| request.without = ["rogue-ra".to_owned().try_into().unwrap()].into()),
            "--guard -rogue-ra"
        );
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        let policy: Policy = toml::from_str("").unwrap();
        assert_eq!(policy.first_excess(&GuardRequest::default(), true), None);
        assert_eq!(policy.first_excess(&GuardRequest::default(), false).unwrap(), "a pure wire");
        let off = GuardRequest::new(&[GuardWord::Off], Allowed::default()).unwrap();
        assert_eq!(policy.first_excess(&off, true).unwrap(), "--guard off");
        let lldp = GuardRequest::new(&[], Allowed { lldp: true, ..Allowed::default() }).unwrap();
        assert_eq!(policy.first_excess(&lldp, true).unwrap(), "--allow-lldp");
    }

    #[test]
    fn only_a_file_of_root_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert_eq!(Policy::read(&path).unwrap(), None);
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root: policy");
            return;
        }
        fs::write(&path, EVERYTHING).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Policy::read(&path).unwrap().is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(Policy::read(&path).unwrap_err().to_string().contains("others than root may write it"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        nix::unistd::chown(&path, Some(65534.into()), None).unwrap();
        assert!(Policy::read(&path).unwrap_err().to_string().contains("it is not root's"));
        assert!(Policy::read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        for (text, line, why) in [
            ("[guard]\nrules = [\"nonsense\"]\n", 2, "there is no rule"),
            ("[guard]\n\nvlan = [1]\n", 3, "unknown field"),
            ("guard\n", 1, ""),
            ("[guard]\nmacs = [\"00:00:5e:00:01:00/49\"]\n", 2, "0 to 48 bits"),
        ] {
            fs::write(&path, text).unwrap();
            let Err(error) = Policy::read(&path) else { panic!("{text}") };
            let error = error.to_string();
            if nix::unistd::geteuid().is_root() {
                assert!(error.contains(&format!(", line {line}: ")) && error.contains(why), "{error}");
            }
        }
    }
}
