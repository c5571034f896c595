//! `tapwire list -o openmetrics` is `OpenMetrics`, and tells what the programs counted.
//!
//! The parser here is strict and our own: it takes what the specification's ABNF takes and nothing else, as far as the
//! kinds of metrics that are printed go. Names and labels are compared with what is documented as a contract.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use lab::{Offloads, Pod, Scene, Tapwire, scene::ping};

type Labels = BTreeMap<String, String>;

/// A text that was read: kinds by family, and the value of each sample.
#[derive(Debug, Default)]
struct Parsed {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), u64>,
}

impl Parsed {
    fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("it does not end with EOF: {text}"));
        assert!(body.is_empty() || body.ends_with('\n'));
        let (mut parsed, mut family) = (Self::default(), String::new());
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match what {
                    "TYPE" => {
                        name.clone_into(&mut family);
                        let before = parsed.kinds.insert(family.clone(), value.to_owned());
                        assert_eq!(before, None, "{family} comes twice: families must not interleave");
                    }
                    "UNIT" => assert!(name == family && name.ends_with(&format!("_{value}")), "{line}"),
                    "HELP" => assert!(name == family && !value.is_empty(), "{line}"),
                    other => panic!("{other}: {line}"),
                }
            } else {
                let (name, labels, value) = sample(line);
                let kind = &parsed.kinds[&family];
                let suffix =
                    BTreeMap::from([("counter", "_total"), ("info", "_info"), ("stateset", ""), ("gauge", "")]);
                assert_eq!(name, format!("{family}{}", suffix[kind.as_str()]), "{line}");
                assert!(kind != "stateset" || (labels.contains_key(&family) && value < 2), "{line}");
                assert!(parsed.samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        parsed
    }

    /// The one sample of this name with these labels among its own.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let fits = |has: &Labels| labels.iter().all(|(key, value)| has.get(*key).is_some_and(|found| found == value));
        let mut found = self.samples.iter().filter(|((other, has), _)| other == name && fits(has));
        let (_, value) = found.next().unwrap_or_else(|| panic!("no {name} {labels:?} in {self:#?}"));
        assert!(found.next().is_none(), "more than one {name} {labels:?}");
        *value
    }

    /// The values of a label of a metric.
    fn values_of(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let samples = self.samples.keys().filter(|(other, _)| other == name);
        samples.filter_map(|(_, labels)| labels.get(label).map(String::as_str)).collect()
    }
}

/// `name{label="value",…} number`, each character accounted for.
fn sample(line: &str) -> (String, Labels, u64) {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = after;
            if let Some(after) = rest.strip_prefix("} ") {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("{line}"));
        }
    } else {
        rest = &rest[1..];
    }
    (name.to_owned(), labels, rest.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// A value up to its closing quote, without its escapes; what comes after.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next().unwrap() {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                other => panic!("\\{other} is no escape"),
            }),
            (_, c) => value.push(c),
        }
    }
}

fn metrics(tapwire: &Tapwire) -> Parsed {
    let output = tapwire.output(&["list", "-o", "openmetrics"]).unwrap();
    assert!(output.status.success());
    Parsed::read(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_counter_of_show_is_a_sample_and_every_name_is_documented() {
    lab::require_root!();
    let scene = Scene::new(Pod::new("metrics").unwrap(), &[], Offloads::Virtio).unwrap();
    let client = scene.guest.namespace.exec(&["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-s", "/bin/true"]);
    client.unwrap();
    let second = Pod::new("quiet").unwrap();
    scene.tapwire.attach(&second, "quiet", &["--dhcp", "off", "--hook", "clsact"]).unwrap();
    let (parsed, shown) = (metrics(&scene.tapwire), scene.tapwire.show(lab::BINDING).unwrap());
    let counters = &shown["counters"];
    let of = |name: &str, label: &str, value: &str| parsed.value(name, &[("binding", lab::BINDING), (label, value)]);
    for (direction, key) in [("to-network", "to_network"), ("to-guest", "to_guest")] {
        // A guest sends by itself, so the later look sees more or as much.
        assert!(of("tapwire_frames_total", "direction", direction) <= counters[key]["frames"].as_u64().unwrap());
        assert!(of("tapwire_bytes_total", "direction", direction) <= counters[key]["bytes"].as_u64().unwrap());
    }
    for (message, count) in counters["dhcp"].as_object().unwrap() {
        assert_eq!(of("tapwire_dhcp_messages_total", "type", message), count.as_u64().unwrap(), "{message}");
    }
    assert_eq!(of("tapwire_dhcp_messages_total", "type", "ack"), 1);
    let schema = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let reasons = schema["properties"]["counters"]["properties"]["dropped"]["properties"].as_object().unwrap();
    let told = parsed.values_of("tapwire_dropped_frames_total", "reason");
    assert_eq!(told, reasons.keys().map(String::as_str).collect(), "all of them, at zero too");
    assert_eq!(parsed.value("tapwire_binding_state", &[("binding", "quiet"), ("tapwire_binding_state", "ready")]), 1);
    assert_eq!(parsed.value("tapwire_binding_state", &[("binding", "quiet"), ("tapwire_binding_state", "gone")]), 0);
    let wire = [("binding", "quiet"), ("hook", "clsact"), ("address", ""), ("nic", "eth0"), ("mac_mode", "swap")];
    assert_eq!(parsed.value("tapwire_binding_info", &wire), 1);
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    for (name, labels) in parsed.samples.keys() {
        let row = documented.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not documented"));
        assert!(labels.keys().all(|label| row.contains(&format!("`{label}`"))), "{name}: {labels:?}");
    }
}

#[test]
fn frames_and_drops_are_counted_where_they_belong() {
    lab::require_root!();
    let pod = Pod::new("counted").unwrap();
    let gateway = "10.244.1.1";
    let scene = Scene::new(pod, &[], Offloads::Virtio).unwrap();
    scene.guest.namespace.ip(&["addr", "add", "10.244.1.5/24", "dev", "eth0"]).unwrap();
    let before = metrics(&scene.tapwire);
    ping(&scene.guest.namespace, gateway).unwrap();
    let after = metrics(&scene.tapwire);
    for direction in ["to-network", "to-guest"] {
        let labels = [("binding", lab::BINDING), ("direction", direction)];
        let grown = |name: &str| after.value(name, &labels) - before.value(name, &labels);
        assert!(grown("tapwire_frames_total") >= 3, "{direction}");
        assert!(grown("tapwire_bytes_total") >= 3 * 98, "{direction}");
    }
}

#[test]
fn a_binding_whose_counters_are_lost_has_no_samples_of_them() {
    lab::require_root!();
    let (pod, tapwire) = (Pod::new("lost").unwrap(), Tapwire::new().unwrap());
    tapwire.attach(&pod, "lost", &[]).unwrap();
    fs::remove_file(tapwire.pins().join("lost/counters")).unwrap();
    fs::write(tapwire.state().join("broken.json"), "{").unwrap();
    let output = tapwire.output(&["list", "-o", "openmetrics"]).unwrap();
    assert_eq!(output.status.code(), Some(1), "one journal cannot be read");
    let parsed = Parsed::read(&String::from_utf8(output.stdout).unwrap());
    assert!(!parsed.samples.keys().any(|(name, _)| name.ends_with("_total")), "zeros would look like a reset");
    assert_eq!(parsed.value("tapwire_unreadable_journals", &[]), 1);
    assert_eq!(parsed.values_of("tapwire_binding_state", "binding"), BTreeSet::from(["lost"]));
    fs::remove_file(tapwire.state().join("broken.json")).unwrap();
}
