//! resolv.conf(5): which DNS servers and search domains the guest is told.
//!
//! The file must be the pod's. The node's own would name servers that the pod's policy may not let the guest reach, so
//! where the pod has no file of its own that can be found there is no DNS in the lease, unless the operator names some.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    input::{self, Links},
    lease::values,
    netns::NetnsSpec,
    podfile,
};

/// Where `ip netns exec` takes a namespace's files in /etc from.
const NETNS_ETC: &str = "/etc/netns";

/// Warnings that are told of one file; it is the tenant's, and may hold anything.
const WARNINGS: usize = 8;
/// Characters of one of them.
const WARNING_LENGTH: usize = 160;

/// What a resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolv {
    /// The file that was read; `None` when there was none.
    pub path: Option<PathBuf>,
    /// IPv4 servers that a lease can name, in their order.
    pub nameservers: Vec<Ipv4Addr>,
    /// Servers that it cannot: IPv6, and loopback addresses, which in the guest would be the guest itself.
    pub unusable: Vec<IpAddr>,
    /// Search domains, in their order; of several lines the last counts.
    pub search: Vec<String>,
}

impl Resolv {
    /// Reads the text of a resolv.conf. It cannot fail: as in the resolver itself, what makes no sense is skipped, and
    /// told in the warnings, with the number of its line.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut resolv = Self::default();
        let mut warnings = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if let Err(why) = resolv.take_line(line) {
                warnings.push(format!("line {}: {why}", index + 1));
            }
        }
        (resolv, warnings)
    }

    fn take_line(&mut self, line: &str) -> std::result::Result<(), String> {
        // A comment is a whole line; the resolver wants the keyword in the first column, musl and systemd do not.
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(());
        }
        let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        match keyword {
            "nameserver" => self.take_server(rest.split_whitespace().next().unwrap_or_default()),
            "search" => self.take_search(rest.split_whitespace()),
            "domain" => self.take_search(rest.split_whitespace().take(1)),
            // How *this* resolver asks is not the guest's business.
            "options" | "sortlist" | "lookup" | "family" => Ok(()),
            _ => Err(format!("{keyword:?} is not a keyword of resolv.conf")),
        }
    }

    fn take_server(&mut self, text: &str) -> std::result::Result<(), String> {
        // A zone (fe80::1%eth0) is meaningful on this host only; the address is IPv6 and set aside anyway.
        let address = text.split('%').next().unwrap_or_default();
        let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is not an address"))?;
        let list_has = |list: &[Ipv4Addr], v4| list.contains(&v4);
        match address {
            IpAddr::V4(v4) if v4.is_unspecified() || v4.is_loopback() => {
                self.unusable.push(address);
                Err(format!("{v4} is this host itself; the guest is not told of it"))
            }
            IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => {
                Err(format!("{v4} is not one server's address"))
            }
            IpAddr::V4(v4) => {
                if !list_has(&self.nameservers, v4) {
                    self.nameservers.push(v4);
                }
                Ok(())
            }
            IpAddr::V6(v6) => {
                self.unusable.push(address);
                Err(format!("{v6} is IPv6, which DHCPv4 cannot tell"))
            }
        }
    }

    fn take_search<'a>(&mut self, domains: impl Iterator<Item = &'a str>) -> std::result::Result<(), String> {
        self.search.clear();
        let mut bad = Vec::new();
        for domain in domains {
            // "." alone means: search nothing but the name itself.
            if domain == "." {
                continue;
            }
            match values::domain(domain) {
                Ok(domain) if self.search.contains(&domain) => {}
                Ok(domain) => self.search.push(domain),
                Err(_) => bad.push(format!("{domain:?} is not a domain")),
            }
        }
        if bad.is_empty() { Ok(()) } else { Err(bad.join(", ")) }
    }

    /// Finds and reads the pod's file: the one that the operator named, else for a process that process's, for a named
    /// namespace `/etc/netns/NAME/resolv.conf`, else none. Never the node's own.
    pub fn find(netns: &NetnsSpec, named: Option<&Path>) -> Result<(Self, Vec<String>)> {
        if let (NetnsSpec::Pid(pid), None) = (netns, named) {
            let found = podfile::read(*pid, "etc/resolv.conf");
            let path = PathBuf::from(format!("/proc/{pid}/root/etc/resolv.conf"));
            return Ok(found.map_or_else(|| Self::parse(""), |bytes| Self::of_file(path, &bytes)));
        }
        let Some(path) = named.map(Path::to_owned).or_else(|| default_path(netns)) else {
            return Ok(Self::parse(""));
        };
        match input::read(&path, podfile::LIMIT, Links::Followed) {
            Ok(bytes) => Ok(Self::of_file(path, &bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(Self::parse("")),
            Err(error) => Err(Error::new(format!("read {}", path.display()), error)
                .with_hint("name another file with --resolv-conf, or the servers with --dns")),
        }
    }

    /// What a file says, with its path in every warning.
    fn of_file(path: PathBuf, bytes: &[u8]) -> (Self, Vec<String>) {
        let (mut resolv, warnings) = Self::parse(&String::from_utf8_lossy(bytes));
        let mut told: Vec<_> = warnings.iter().take(WARNINGS).map(|warning| shortened(&path, warning)).collect();
        if warnings.len() > WARNINGS {
            told.push(format!("{}: {} more lines make no sense", path.display(), warnings.len() - WARNINGS));
        }
        resolv.path = Some(path);
        (resolv, told)
    }
}

/// A warning with its file; a line of a file that is none may be endless.
fn shortened(path: &Path, warning: &str) -> String {
    let end = warning.char_indices().nth(WARNING_LENGTH).map(|(at, _)| at);
    let (text, more) = end.map_or((warning, ""), |at| (&warning[..at], "…"));
    format!("{}, {text}{more}", path.display())
}

fn default_path(netns: &NetnsSpec) -> Option<PathBuf> {
    match netns {
        NetnsSpec::Named(name) => Some([NETNS_ETC, name, "resolv.conf"].iter().collect()),
        NetnsSpec::Path(_) | NetnsSpec::Pid(_) | NetnsSpec::Current => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pods_file_is_read_whole() {
        let text = "# made by kubelet\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\n\
                    nameserver 10.96.0.10\n\toptions ndots:5\n; the end\n";
        let (resolv, warnings) = Resolv::parse(text);
        assert_eq!(resolv.nameservers, [Ipv4Addr::new(10, 96, 0, 10)]);
        assert_eq!(resolv.search, ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn the_last_of_search_and_domain_counts() {
        let (resolv, _) = Resolv::parse("search a.example b.example\ndomain c.example other\n");
        assert_eq!(resolv.search, ["c.example"]);
        let (resolv, _) = Resolv::parse("domain c.example\nsearch .\n");
        assert_eq!(resolv.search, [""; 0]);
    }

    #[test]
    fn domains_are_lowered_and_lose_the_dot_of_the_root_and_what_is_none_is_skipped() {
        let (resolv, warnings) = Resolv::parse("search SVC.Cluster.Local. svc.cluster.local foo,com -a.com local\n");
        assert_eq!(resolv.search, ["svc.cluster.local", "local"]);
        assert_eq!(warnings, ["line 1: \"foo,com\" is not a domain, \"-a.com\" is not a domain"]);
    }

    #[test]
    fn servers_that_dhcp_cannot_tell_are_set_aside_and_named() {
        let text = "nameserver 127.0.0.53\nnameserver fd00::10\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\n";
        let (resolv, warnings) = Resolv::parse(text);
        assert_eq!(resolv.nameservers, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(resolv.unusable.len(), 3);
        assert_eq!(warnings.len(), 3);
        assert!(warnings[1].starts_with("line 2: fd00::10 "), "{warnings:?}");
    }

    #[test]
    fn malformed_lines_are_skipped_and_told() {
        let text =
            "nameserver\nnameserver 10.0.0\nnameserver 10.0.0.1 trailing words\nnonsense\nsearch a..b ok.example\n";
        let (resolv, warnings) = Resolv::parse(text);
        assert_eq!(resolv.nameservers, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(resolv.search, ["ok.example"]);
        let lines: Vec<_> = warnings.iter().map(|warning| warning.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 1", "line 2", "line 4", "line 5"]);
    }

    #[test]
    fn a_server_named_twice_is_told_once() {
        let (resolv, _) = Resolv::parse("nameserver 10.0.0.1\nnameserver 10.0.0.1\n");
        assert_eq!(resolv.nameservers.len(), 1);
    }

    #[test]
    fn the_nodes_own_file_is_never_taken() {
        for spec in [NetnsSpec::Current, NetnsSpec::Path("/run/netns/x".into())] {
            assert_eq!(default_path(&spec), None);
        }
        let (of_this_process, _) = Resolv::find(&NetnsSpec::Pid(std::process::id()), None).unwrap();
        assert_eq!(of_this_process, Resolv::default(), "its root is the node's");
        assert_eq!(default_path(&NetnsSpec::Named("x".into())), Some("/etc/netns/x/resolv.conf".into()));
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Resolv::find(&NetnsSpec::Current, Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(error.hint().is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Resolv::parse(&text);
        }
    }
}
