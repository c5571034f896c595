//! All bindings as `OpenMetrics` text, for Prometheus and its like. Names and labels are a contract (`docs/metrics.md`).
//!
//! Every reason and every message is there from the beginning, at zero: a series that begins with its first event hides
//! that event from `rate()`. A binding whose counters cannot be read has no samples of them: zeros would look like a reset.

use std::fmt::Write as _;

use binding_common::{DhcpMessage, Reason};

use super::{Report, TrafficReport, serde_name};
use crate::binding::State;

/// A metric family: what is said of it, and its samples.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: String,
}

impl Family {
    fn new(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self { name, kind, help, samples: String::new() }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let suffix = match self.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a string cannot fail.
        let _ = writeln!(self.samples, "{}{suffix}{labels} {value}", self.name);
    }

    fn text(&self) -> String {
        let Self { name, kind, help, samples } = self;
        let unit = if name.ends_with("_bytes") { format!("# UNIT {name} bytes\n") } else { String::new() };
        format!("# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n{samples}")
    }
}

/// The text, without the newline that ends its last line. `unreadable`: how many journals could not be read.
pub fn open_metrics(reports: &[Report], unreadable: usize) -> String {
    let mut families = of_traffic(reports);
    families.extend(of_bindings(reports));
    let help = "Journals that cannot be read; their bindings are not among the others.";
    let mut journals = Family::new("tapwire_unreadable_journals", "gauge", help);
    journals.sample(&[], u64::try_from(unreadable).unwrap_or(u64::MAX));
    families.push(journals);
    families.iter().map(Family::text).chain(["# EOF".to_owned()]).collect()
}

/// What the programs counted.
fn of_traffic(reports: &[Report]) -> Vec<Family> {
    let mut frames = Family::new("tapwire_frames", "counter", "Frames that were sent on. A GSO frame counts once.");
    let mut bytes = Family::new("tapwire_bytes", "counter", "Octets of those frames, Ethernet headers with them.");
    let mut dropped = Family::new("tapwire_dropped_frames", "counter", "Frames that were dropped, by reason.");
    let mut dhcp =
        Family::new("tapwire_dhcp_messages", "counter", "DHCP messages, received from the guest or sent to it.");
    let mut arp = Family::new("tapwire_arp_replies", "counter", "ARP requests of the guest that were answered.");
    for report in reports.iter().filter(|report| report.counted) {
        let (binding, counters) = (("binding", report.name.as_str()), &report.counters);
        let ways = [("to-network", &counters.to_network), ("to-guest", &counters.to_guest)];
        for (direction, TrafficReport { frames: count, bytes: octets }) in ways {
            frames.sample(&[binding, ("direction", direction)], *count);
            bytes.sample(&[binding, ("direction", direction)], *octets);
        }
        for reason in Reason::ALL.iter().map(|reason| reason.name()) {
            dropped.sample(&[binding, ("reason", reason)], counters.dropped.get(reason).copied().unwrap_or_default());
        }
        for message in DhcpMessage::ALL.iter().map(|message| message.name()) {
            dhcp.sample(&[binding, ("type", message)], counters.dhcp.get(message).copied().unwrap_or_default());
        }
        arp.sample(&[binding], counters.arp.replies);
    }
    vec![frames, bytes, dropped, dhcp, arp]
}

/// What the bindings are, and how they are.
fn of_bindings(reports: &[Report]) -> Vec<Family> {
    let mut info = Family::new("tapwire_binding", "info", "What a binding is.");
    let mut states = Family::new("tapwire_binding_state", "stateset", "The state of a binding.");
    for report in reports {
        let binding = ("binding", report.name.as_str());
        let address = report.lease.as_ref().map(|lease| lease.address.to_string()).unwrap_or_default();
        let mac = report.lease.as_ref().map_or(report.nic.original_mac, |lease| lease.mac).to_string();
        let (netns, wire) = (report.netns.to_string_lossy(), &report.wire);
        let [hook, way, back, mode] = [
            serde_name(&wire.hook),
            serde_name(&wire.to_network),
            serde_name(&wire.to_guest),
            serde_name(&wire.mac_mode),
        ];
        let labels = [
            binding,
            ("netns", &netns),
            ("nic", &report.nic.name),
            ("tap", &report.tap.name),
            ("address", &address),
            ("guest_mac", &mac),
            ("hook", &hook),
            ("to_network", &way),
            ("to_guest", &back),
            ("mac_mode", &mode),
        ];
        info.sample(&labels, 1);
        for word in State::WORDS {
            states.sample(&[binding, ("tapwire_binding_state", word)], u64::from(report.state.word() == word));
        }
    }
    vec![info, states]
}

/// A label's value, as `escaped-string` of the `OpenMetrics` specification 1.0.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_label() {
        assert_eq!(escaped("/run/a\"b\\c\nd"), "/run/a\\\"b\\\\c\\nd");
        let mut family = Family::new("x", "info", "help");
        family.sample(&[("a", "\"} 1\n# EOF")], 1);
        assert_eq!(family.samples, "x_info{a=\"\\\"} 1\\n# EOF\"} 1\n");
    }

    #[test]
    fn without_bindings_it_is_a_whole_text() {
        let text = open_metrics(&[], 2);
        assert!(text.starts_with("# TYPE tapwire_frames counter\n"), "{text}");
        assert!(text.ends_with("\ntapwire_unreadable_journals 2\n# EOF"), "{text}");
    }

    #[test]
    fn every_family_is_documented() {
        let documented = include_str!("../../../docs/metrics.md");
        let text = open_metrics(&[], 0);
        let names =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split_once(' '));
        for (name, kind) in names {
            let suffix = if kind == "counter" {
                "_total"
            } else if kind == "info" {
                "_info"
            } else {
                ""
            };
            assert!(documented.contains(&format!("\n| `{name}{suffix}` | {kind} |")), "{name}");
        }
    }

    #[test]
    fn every_state_of_the_schema_is_a_state_here() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../../../docs/schema.json")).unwrap();
        let states = schema["properties"]["state"]["enum"].as_array().unwrap();
        assert_eq!(states.iter().map(|state| state.as_str().unwrap()).collect::<Vec<_>>(), State::WORDS);
    }
}
