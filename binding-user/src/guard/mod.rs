//! The guard of a binding: which of its rules hold, and what the operator allows beside.
//!
//! What the rules are, `binding_common::guard` says. Here the operator's words become the constants of the programs, with
//! what the pod tells: its IPv6 addresses, and the link-local ones of its routers.

mod names;
pub mod policy;

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use binding_common::guard::{Exceptions, Full, MAX_ETHER_TYPES, MAX_MACS, MAX_OTHERS, MAX_PREFIXES, Rule, Rules};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::names::{EtherType, Mac, RuleName};
use crate::{
    error::{Error, Result},
    facts::{Facts, Scope},
    netlink::Netlink,
    netns::Netns,
    peer::HostSide,
};

/// One word of `--guard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardWord {
    /// All rules.
    On,
    /// No rule.
    Off,
    /// Not this one.
    Without(Rule),
}

impl FromStr for GuardWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => match text.strip_prefix('-').and_then(names::rule) {
                Some(rule) => Ok(Self::Without(rule)),
                None => Err(format!("not \"on\", \"off\" or a rule to leave out: {}", names::all("-"))),
            },
        }
    }
}

/// `--allow-vlan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vlans {
    /// None.
    #[default]
    None,
    /// Any.
    All,
    /// These.
    Ids(BTreeSet<u16>),
}

/// What the operator asks of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardRequest {
    /// No rule holds.
    pub off: bool,
    /// These do not.
    pub without: BTreeSet<RuleName>,
    /// What may be sent beside the guest's own.
    #[serde(flatten)]
    pub allowed: Allowed,
}

/// What the guest may send beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowed {
    /// Addresses, as sources of IPv4 and IPv6, in ARP and in neighbour discovery.
    pub addresses: Vec<IpNet>,
    /// MACs, as sources, in ARP and in neighbour discovery. The MAC fix-up leaves them alone.
    pub macs: Vec<Mac>,
    /// VLANs, as the outer tag.
    pub vlans: Vlans,
    /// LLDP.
    pub lldp: bool,
    /// Protocols.
    pub ether_types: Vec<EtherType>,
}

impl Allowed {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        words.extend(self.macs.iter().map(|mac| mac.0.to_string()));
        match &self.vlans {
            Vlans::None => {}
            Vlans::All => words.push("every VLAN".to_owned()),
            Vlans::Ids(ids) => words.extend(ids.iter().map(|id| format!("VLAN {id}"))),
        }
        words.extend(self.lldp.then(|| "LLDP".to_owned()));
        words.extend(self.ether_types.iter().map(|kind| format!("EtherType {kind}")));
        f.write_str(&words.join(", "))
    }
}

impl GuardRequest {
    /// From the words of `--guard`.
    pub fn new(words: &[GuardWord], allowed: Allowed) -> Result<Self> {
        let mut request = Self { allowed, ..Self::default() };
        for word in words {
            match word {
                GuardWord::Without(rule) => {
                    request.without.insert(RuleName(*rule));
                }
                _ if words.len() > 1 => {
                    return Err(Error::new("use --guard", "\"on\" or \"off\" stands beside other words")
                        .with_hint("--guard on, --guard off, or --guard with the rules to leave out"));
                }
                GuardWord::On => {}
                GuardWord::Off => request.off = true,
            }
        }
        // Where it does not fit, nothing else needs to be known.
        request.exceptions(&[], &[])?;
        Ok(request)
    }

    /// The table of exceptions, with the pod's own addresses and those of others.
    fn exceptions(&self, own: &[Ipv6Addr], others: &[Ipv6Addr]) -> Result<Exceptions> {
        let Allowed { addresses, macs, vlans, lldp, ether_types } = &self.allowed;
        let mut table = Exceptions::NONE;
        let full = |what: &str, most: usize| {
            let (what, why) = (format!("allow so many {what}"), format!("there is room for {most}"));
            move |Full| {
                Error::new(what.clone(), why.clone()).with_hint("name a prefix in place of its addresses, or fewer")
            }
        };
        let too_many = full("addresses of one family", MAX_PREFIXES);
        own.iter().try_for_each(|address| table.allow_ipv6(address.octets(), 128)).map_err(&too_many)?;
        for prefix in addresses {
            let length = u32::from(prefix.prefix_len());
            match prefix.network() {
                IpAddr::V4(network) => table.allow_ipv4(network.octets(), length),
                IpAddr::V6(network) => table.allow_ipv6(network.octets(), length),
            }
            .map_err(&too_many)?;
        }
        // More routers than there is room for cannot be told apart from the guest; the first ones are the default's.
        for other in others.iter().take(MAX_OTHERS) {
            table.forbid_link_local(other.octets()).map_err(full("routers", MAX_OTHERS))?;
        }
        macs.iter().try_for_each(|mac| table.allow_mac(mac.0)).map_err(full("MACs", MAX_MACS))?;
        let kinds = ether_types.iter().try_for_each(|kind| table.allow_ether_type(kind.0));
        kinds.map_err(full("EtherTypes", MAX_ETHER_TYPES))?;
        match vlans {
            Vlans::None => {}
            Vlans::All => (0..4096).for_each(|id| table.allow_vlan(id)),
            Vlans::Ids(ids) => ids.iter().for_each(|id| table.allow_vlan(*id)),
        }
        if *lldp {
            table.allow_lldp();
        }
        Ok(table)
    }
}

/// The guard of a binding, as it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The rules that do not hold, whoever wants it so.
    pub off: BTreeSet<RuleName>,
    /// The pod's IPv6 addresses.
    pub own: Vec<Ipv6Addr>,
    /// Link-local addresses of routers and of the host side, which the guest must not take.
    pub others: Vec<Ipv6Addr>,
}

impl Default for Guard {
    /// Off: a record that was written before there was a guard has none.
    fn default() -> Self {
        Self { off: Rule::ALL.iter().copied().map(RuleName).collect(), own: Vec::new(), others: Vec::new() }
    }
}

/// What the programs are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConstants {
    /// The rules that hold.
    pub rules: Rules,
    /// What passes all the same.
    pub exceptions: Exceptions,
}

impl GuardConstants {
    /// No rule holds.
    pub const OFF: Self = Self { rules: Rules::NONE, exceptions: Exceptions::NONE };
}

impl Guard {
    /// Decides it. `has_lease`: the guest's address is known, since it is given here.
    pub fn decide(request: &GuardRequest, facts: &Facts, has_lease: bool, host_side: Vec<Ipv6Addr>) -> Result<Self> {
        let mut off = request.without.clone();
        let rules = Rule::ALL.iter().copied();
        // All slaves of an ipvlan have one MAC, so a neighbour's frames seem to be the guest's.
        let cannot = |rule: &Rule| {
            request.off
                || (rule.needs_addresses() && !has_lease)
                || (*rule == Rule::Looped && facts.nic.kind == "ipvlan")
        };
        off.extend(rules.filter(cannot).map(RuleName));
        let own = facts.addresses.iter().filter(|address| address.scope == Scope::Global);
        let own: Vec<_> = own.filter_map(|address| ipv6(address.address.addr())).collect();
        request.exceptions(&own, &[])?;
        Ok(Self { off, own, others: others(facts, host_side) })
    }

    /// Whether any rule holds.
    pub fn is_on(&self) -> bool {
        self.off.len() < Rule::ALL.len()
    }

    /// What the operator should know of it.
    pub fn warnings(&self, request: &GuardRequest) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.is_on() && !request.allowed.is_nothing() {
            warnings.push("the guard is off: what was allowed beside has no effect".to_owned());
        } else if self.off.contains(&RuleName(Rule::SpoofedIpv4)) && !request.allowed.addresses.is_empty() {
            warnings.push("the guest's address is not known, so all pass: --allow-address has no effect".to_owned());
        }
        if self.others.len() > MAX_OTHERS {
            warnings.push(format!(
                "the pod has {} routers on its link; the guest is kept from the addresses of the first {MAX_OTHERS}",
                self.others.len()
            ));
        }
        warnings
    }

    /// What the programs are given.
    pub fn constants(&self, request: &GuardRequest) -> Result<GuardConstants> {
        let rules = Rule::ALL.iter().filter(|rule| !self.off.contains(&RuleName(**rule)));
        let exceptions = request.exceptions(&self.own, &self.others)?;
        Ok(GuardConstants { rules: rules.fold(Rules::NONE, |rules, rule| rules.with(*rule)), exceptions })
    }
}

fn ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// Link-local addresses that are somebody else's for certain: the gateways of the pod's routes, those of default routes
/// first; its permanent neighbours; the host side.
fn others(facts: &Facts, host_side: Vec<Ipv6Addr>) -> Vec<Ipv6Addr> {
    let mut routes: Vec<_> = facts.routes.iter().collect();
    routes.sort_by_key(|route| route.dst.prefix_len());
    let gateways = routes.iter().filter_map(|route| route.via);
    let neighbours = facts.neighbours.iter().map(|neighbour| neighbour.address);
    let mut others = Vec::new();
    for address in gateways.chain(neighbours).filter_map(ipv6).chain(host_side) {
        if address.is_unicast_link_local() && !others.contains(&address) {
            others.push(address);
        }
    }
    others
}

/// Link-local addresses of the host side, and of the bridge that it is a port of.
pub async fn of_host_side(host_side: &HostSide, node: &Netns) -> Result<Vec<Ipv6Addr>> {
    let HostSide::Seen { nic, .. } = host_side else { return Ok(Vec::new()) };
    let netlink = Netlink::open(node)?;
    let mut found = Vec::new();
    for ifindex in [Some(nic.ifindex), nic.master].into_iter().flatten() {
        let addresses = netlink.addresses(ifindex).await?;
        let addresses = addresses.iter().filter_map(crate::facts::Address::parse);
        found.extend(addresses.filter_map(|address| ipv6(address.address.addr())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<GuardRequest> {
        let words: Result<Vec<GuardWord>, String> = text.split(',').map(str::parse).collect();
        GuardRequest::new(&words.map_err(|why| Error::new("parse", why))?, Allowed::default())
    }

    #[test]
    fn words_of_the_guard() {
        assert_eq!(words("on").unwrap(), GuardRequest::default());
        assert!(words("off").unwrap().off);
        let without = words("-vlan,-llc,-vlan").unwrap().without;
        assert_eq!(without, [RuleName(Rule::Vlan), RuleName(Rule::Llc)].into());
        for text in ["", "vlan", "-", "-nonsense", "on,-vlan", "off,off", "on,off", "ON"] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_older_record_has_no_guard() {
        let guard = Guard::default();
        assert!(!guard.is_on());
        assert_eq!(guard.constants(&GuardRequest::default()).unwrap(), GuardConstants::OFF);
    }

    #[test]
    fn a_request_is_the_same_after_it_was_written_down() {
        let allowed = Allowed {
            addresses: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::7/128".parse().unwrap()],
            macs: vec![Mac("00:00:5e:00:01:07".parse().unwrap())],
            vlans: Vlans::Ids([7, 4094].into()),
            lldp: true,
            ether_types: vec![EtherType(0x88b5)],
        };
        let request = GuardRequest::new(&[GuardWord::Without(Rule::RogueRa)], allowed).unwrap();
        let text = serde_json::to_string(&request).unwrap();
        assert!(text.contains(r#""without":["rogue-ra"]"#) && text.contains(r#""ether_types":["0x88b5"]"#), "{text}");
        assert_eq!(serde_json::from_str::<GuardRequest>(&text).unwrap(), request);
        let shown = "10.0.0.0/8, 2001:db8::7/128, 00:00:5e:00:01:07, VLAN 7, VLAN 4094, LLDP, EtherType 0x88b5";
        assert_eq!(request.allowed.to_string(), shown);
    }

    #[test]
    fn more_than_there_is_room_for_is_refused() {
        let addresses = (0..17).map(|n| format!("10.0.{n}.0/24").parse().unwrap()).collect();
        let error = GuardRequest::new(&[], Allowed { addresses, ..Allowed::default() }).unwrap_err();
        assert!(error.to_string().contains("there is room for 16"), "{error}");
    }
}
