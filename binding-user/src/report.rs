//! What `list` and `show` tell of a binding. The JSON is a contract (`docs/schema.json`): fields are added, never changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
};

use binding_common::{Counters, DhcpMessage, MacAddr, Reason, Traffic};
use serde::Serialize;

use crate::{
    binding::{Environment, State},
    datapath::{Build, HookKind, Pins},
    error::Result,
    guard::{Allowed, RuleName},
    guest_mac::GuestMac,
    journal::Journal,
    lease::{INFINITE_SECONDS, Lease},
    netlink::Netlink,
    netns::Netns,
    portal::ToGuest,
    tap,
    wire::{MacMode, ToNetwork},
};

mod metrics;

pub use metrics::open_metrics;

/// Everything about a binding.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub version: u32,
    /// Name of the binding.
    pub name: String,
    /// The pod's namespace.
    pub netns: PathBuf,
    /// `ready`, `degraded` or `gone`.
    pub state: State,
    /// Why it is not ready; empty when it is.
    pub reason: String,
    /// The pod NIC.
    pub nic: NicReport,
    /// The tap.
    pub tap: TapReport,
    /// What the guest is told; `null` for a pure wire.
    pub lease: Option<Lease>,
    /// How frames go.
    pub wire: WireReport,
    /// What the programs counted.
    pub counters: CountersReport,
    /// Which build of the programs is loaded; `null` for a binding from before that was written down.
    pub programs: Option<Build>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Whether the counters could be read; if not, they are zeros that mean nothing, and a warning says so.
    #[serde(skip)]
    pub counted: bool,
}

/// The pod NIC of a binding.
#[derive(Clone, Debug, Serialize)]
pub struct NicReport {
    name: String,
    ifindex: u32,
    kind: String,
    /// The MAC that the device has now.
    #[serde(with = "crate::mac")]
    mac: MacAddr,
    /// The MAC that it had, which is the guest's in `swap` mode.
    #[serde(with = "crate::mac")]
    original_mac: MacAddr,
    mtu: u32,
}

/// The tap of a binding.
#[derive(Clone, Debug, Serialize)]
pub struct TapReport {
    name: String,
    /// 0 when there is none yet.
    ifindex: u32,
    queues: u32,
    mtu: u32,
}

/// How the frames of a binding go.
#[derive(Clone, Debug, Serialize)]
pub struct WireReport {
    hook: HookKind,
    to_network: ToNetwork,
    to_network_why: String,
    to_guest: ToGuest,
    to_guest_why: String,
    /// Name of the portal in the node's namespace; `null` without one.
    portal: Option<String>,
    mac_mode: MacMode,
    /// `nic`, `learn`, or the MAC.
    guest_mac: GuestMac,
    guard: bool,
    /// Rules that do not hold.
    guard_off: BTreeSet<RuleName>,
    /// What passes all the same.
    guard_allowed: Allowed,
}

/// What the programs counted.
#[derive(Clone, Debug, Serialize)]
pub struct CountersReport {
    to_network: TrafficReport,
    to_guest: TrafficReport,
    dhcp: BTreeMap<&'static str, u64>,
    arp: ArpReport,
    /// By reason; reasons that never occurred are left out.
    dropped: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Serialize)]
struct TrafficReport {
    frames: u64,
    bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct ArpReport {
    replies: u64,
}

impl From<Traffic> for TrafficReport {
    fn from(Traffic { frames, bytes }: Traffic) -> Self {
        Self { frames, bytes }
    }
}

impl From<&Counters> for CountersReport {
    fn from(counters: &Counters) -> Self {
        let Counters { to_network, to_guest, dhcp, arp_replies, dropped } = counters;
        Self {
            to_network: (*to_network).into(),
            to_guest: (*to_guest).into(),
            dhcp: DhcpMessage::ALL.iter().map(|message| (message.name(), dhcp[*message as usize])).collect(),
            arp: ArpReport { replies: *arp_replies },
            dropped: Reason::ALL
                .iter()
                .map(|reason| (reason.name(), dropped[*reason as usize]))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

impl Report {
    /// Looks at a binding.
    pub async fn of(environment: &Environment, journal: &Journal) -> Self {
        let state = State::of(environment, journal).await;
        let state = state.unwrap_or_else(|error| State::Degraded(error.to_string()));
        let (mac, queues) = match state {
            State::Gone => (journal.nic.mac, 0),
            _ => current(journal).await.unwrap_or((journal.nic.mac, 0)),
        };
        let mut warnings = journal.warnings.clone();
        let pins = Pins::of(&environment.bpffs, &journal.name);
        let learned = match journal.wire.guest_mac {
            GuestMac::Learn => pins.learned(&journal.maps).ok().flatten(),
            _ => None,
        };
        let counted = counters(environment, journal, &pins);
        if let Err(error) = &counted {
            warnings.push(format!("the counters are not known: {error}"));
        }
        Self {
            version: 1,
            name: journal.name.clone(),
            netns: journal.netns_path.clone(),
            reason: state.reason().to_owned(),
            state,
            nic: NicReport {
                name: journal.nic.name.clone(),
                ifindex: journal.nic.ifindex,
                kind: journal.nic.kind.clone(),
                mac,
                original_mac: journal.nic.mac,
                mtu: journal.nic.mtu,
            },
            tap: TapReport {
                name: journal.tap.name.clone(),
                ifindex: journal.tap.ifindex.unwrap_or_default(),
                queues,
                mtu: journal.tap.mtu,
            },
            lease: journal.lease.clone().map(|lease| Lease { mac: learned.unwrap_or(lease.mac), ..lease }),
            wire: WireReport {
                guest_mac: journal.wire.guest_mac,
                hook: journal.wire.hook,
                to_network: journal.wire.to_network,
                to_network_why: journal.wire.to_network_why.clone(),
                to_guest: journal.wire.to_guest,
                to_guest_why: journal.wire.to_guest_why.clone(),
                portal: journal.portal.as_ref().map(|portal| portal.name.clone()),
                mac_mode: journal.wire.mac_mode,
                guard: journal.guard.is_on(),
                guard_off: journal.guard.off.clone(),
                guard_allowed: journal.request.guard.allowed.clone(),
            },
            counted: counted.is_ok(),
            counters: CountersReport::from(&counted.unwrap_or(Counters::ZERO)),
            programs: journal.programs.clone(),
            warnings,
        }
    }

    /// All of it, for people.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |label: &str, text: String| lines.push(format!("{label:<12}{text}"));
        let Self { nic, tap, wire, counters, .. } = self;
        line("binding", format!("{} in {}", self.name, self.netns.display()));
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        line("state", format!("{}{why}", self.state.word()));
        line(
            "pod NIC",
            format!("{} ({}), MAC {}, originally {}, MTU {}", nic.name, nic.kind, nic.mac, nic.original_mac, nic.mtu),
        );
        line("tap", format!("{}, MTU {}", tap.name, tap.mtu));
        match &self.lease {
            Some(lease) => lease.describe(&mut line),
            None => line("lease", "none: a pure wire".to_owned()),
        }
        let text = serde_name(&wire.to_network);
        line("to-network", format!("{text} ({})", wire.to_network_why));
        let portal = wire.portal.as_ref().map_or(String::new(), |name| format!(" {name}"));
        line("to-guest", format!("{}{portal} ({})", serde_name(&wire.to_guest), wire.to_guest_why));
        line("MAC mode", format!("{}, on {}", serde_name(&wire.mac_mode), serde_name(&wire.hook)));
        if wire.guest_mac != GuestMac::Nic {
            line("guest MAC", wire.guest_mac.to_string());
        }
        line("guard", wire.describe_guard());
        let traffic = |traffic: &TrafficReport| format!("{} frames, {} bytes", traffic.frames, traffic.bytes);
        line("sent", format!("to-network {}; to-guest {}", traffic(&counters.to_network), traffic(&counters.to_guest)));
        line("DHCP", counts(&counters.dhcp));
        line("ARP", format!("replies {}", counters.arp.replies));
        line("dropped", counts(&counters.dropped));
        line("programs", self.programs.as_ref().map_or("of an unknown build".to_owned(), Build::to_string));
        for warning in &self.warnings {
            line("warning", warning.clone());
        }
        lines.join("\n")
    }
}

impl Lease {
    /// The lease, a line for each thing that the guest is told.
    pub fn describe(&self, line: &mut impl FnMut(&str, String)) {
        let seconds = match self.seconds {
            INFINITE_SECONDS => "ever".to_owned(),
            seconds => format!("{seconds} s"),
        };
        let gateway = self.gateway.map_or("no gateway".to_owned(), |gateway| format!("gateway {gateway}"));
        line("lease", format!("{} to {}, {gateway}, for {seconds}", self.address, self.mac));
        for route in &self.routes {
            let via = route.via.map_or("on the link".to_owned(), |via| format!("via {via}"));
            line("  route", format!("{} {via}", route.dst));
        }
        for neighbour in &self.neighbours {
            let address = neighbour.address.map_or("every other address".to_owned(), |address| address.to_string());
            line("  ARP", format!("{address} is at {}", neighbour.mac));
        }
        let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(" ") };
        line("  DNS", list(self.dns.iter().map(ToString::to_string).collect()));
        line("  search", list(self.search.clone()));
        let hostname = self.hostname.as_deref().unwrap_or("none");
        line("  others", format!("MTU {}, host name {hostname}, server {}", self.mtu, self.server_id));
        self.describe_rare(line);
    }

    /// What most leases have not, a line for each that is there. Values are the operator's: quoted, so that none looks
    /// like another line.
    fn describe_rare(&self, line: &mut impl FnMut(&str, String)) {
        let addresses = |list: &[Ipv4Addr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if !self.ntp_servers.is_empty() {
            line("  NTP", addresses(&self.ntp_servers));
        }
        if self.tftp_server_name.is_some() || self.boot_file_name.is_some() {
            let quoted = |name: &Option<String>| name.as_ref().map_or("none".to_owned(), |name| format!("{name:?}"));
            let (file, server) = (quoted(&self.boot_file_name), quoted(&self.tftp_server_name));
            line("  boot", format!("file {file}, TFTP server {server}"));
        }
        if !self.tftp_servers.is_empty() {
            line("  TFTP", addresses(&self.tftp_servers));
        }
        for private in &self.private_options {
            line("  option", format!("{} {:?}", private.option, private.value));
        }
    }
}

impl WireReport {
    fn describe_guard(&self) -> String {
        if !self.guard {
            return "off".to_owned();
        }
        let off: Vec<_> = self.guard_off.iter().map(|rule| rule.0.name()).collect();
        let without = if off.is_empty() { String::new() } else { format!(", without {}", off.join(", ")) };
        let allowed = self.guard_allowed.to_string();
        let allowed = if allowed.is_empty() { allowed } else { format!("; allowed: {allowed}") };
        format!("on{without}{allowed}")
    }
}

/// What the programs counted. An upgrade may have moved it to other maps since the record was read.
fn counters(environment: &Environment, journal: &Journal, pins: &Pins) -> Result<Counters> {
    journal.maps.counts(pins).or_else(|error| match environment.store.load(&journal.name) {
        Ok(Some(now)) if now.maps != journal.maps => now.maps.counts(pins),
        _ => Err(error),
    })
}

/// MAC and queues as the devices have them now.
async fn current(journal: &Journal) -> Result<(MacAddr, u32)> {
    let Some(netns) = Netns::find(&journal.netns, Some(&journal.netns_path))? else {
        return Ok((journal.nic.mac, 0));
    };
    let netlink = Netlink::open(&netns)?;
    let nic = netlink.nic_by_index(journal.nic.ifindex).await?;
    let tap = tap::find(&netlink, &journal.tap.name).await?;
    // A multi-queue tap has as many as the VM has opened; the kernel counts them for no other.
    let queues = tap.map_or(0, |tap| if tap.multi_queue { tap.open_queues.unwrap_or(0) } else { 1 });
    Ok((nic.map_or(journal.nic.mac, |nic| nic.mac), queues))
}

/// The name that a value has in JSON.
fn serde_name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
    let counted: Vec<_> = counts.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if counted.is_empty() { "none".to_owned() } else { counted.join(", ") }
}

/// A line for each binding, with a head, in columns; the last one only where some binding is not ready.
pub fn table(reports: &[Report]) -> String {
    let head =
        ["NAME", "STATE", "NIC", "TAP", "ADDRESS", "TO-NETWORK", "TO-GUEST", "DROPPED", "REASON"].map(str::to_owned);
    let columns = head.len() - usize::from(reports.iter().all(|report| report.reason.is_empty()));
    let rows = reports.iter().map(|report| {
        [
            report.name.clone(),
            report.state.word().to_owned(),
            report.nic.name.clone(),
            report.tap.name.clone(),
            report.lease.as_ref().map_or("-".to_owned(), |lease| lease.address.to_string()),
            report.counters.to_network.frames.to_string(),
            report.counters.to_guest.frames.to_string(),
            report.counters.dropped.values().sum::<u64>().to_string(),
            report.reason.clone(),
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_schema_and_every_drop_is_explained() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../../docs/schema.json")).unwrap();
        let counters = &schema["properties"]["counters"]["properties"];
        let explained = include_str!("../../docs/drops.md");
        for message in DhcpMessage::ALL {
            assert!(counters["dhcp"]["properties"][message.name()].is_object(), "{}", message.name());
        }
        for reason in Reason::ALL {
            assert!(counters["dropped"]["properties"][reason.name()].is_object(), "{}", reason.name());
            assert!(explained.contains(&format!("\n| `{}` |", reason.name())), "{}", reason.name());
        }
    }
}
