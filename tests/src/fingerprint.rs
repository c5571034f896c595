//! All of a NIC that `detach` has to give back, as text that is equal if and only if nothing differs.
//!
//! It asks iproute2 and /proc, not our own netlink code, which would not see what it forgot.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{netns::Namespace, wait::wait_for};

/// Sysctls whose value is a secret or a moment, not a setting.
const NOT_SETTINGS: [&str; 1] = ["stable_secret"];

/// The text for one NIC of a namespace. Waits until no address is tentative any more.
pub fn fingerprint(namespace: &Namespace, nic: &str) -> Result<String> {
    let addresses = wait_for(&format!("settled addresses on {nic}"), Duration::from_secs(8), || {
        let text = namespace.ip(&["addr", "show", "dev", nic])?;
        Ok((!text.contains("tentative")).then_some(text))
    })?;
    let mut all = String::new();
    section(&mut all, "link", &namespace.ip(&["-d", "link", "show", "dev", nic])?);
    section(&mut all, "addresses", &addresses);
    // The kernel lists routes of one prefix in the order they came back in, which changes nothing: sorted.
    section(&mut all, "ipv4 routes", &sorted(&namespace.ip(&["-4", "route", "show", "table", "all", "dev", nic])?));
    section(&mut all, "ipv6 routes", &sorted(&namespace.ip(&["-6", "route", "show", "table", "all", "dev", nic])?));
    let permanent = ["neigh", "show", "nud", "permanent", "dev", nic];
    section(&mut all, "neighbours", &sorted(&namespace.ip(&permanent)?));
    section(&mut all, "sysctls", &sysctls(namespace, nic)?);
    section(&mut all, "qdiscs", &namespace.exec(&["tc", "qdisc", "show", "dev", nic])?);
    for hook in ["ingress", "egress"] {
        // Without clsact `tc` answers with an error, which is the same as no filter.
        let filters = namespace.exec(&["tc", "filter", "show", "dev", nic, hook]).unwrap_or_default();
        section(&mut all, &format!("{hook} filters"), &filters);
    }
    Ok(all)
}

/// The lines that two fingerprints do not share, `-` before and `+` after: what to print when they differ.
pub fn difference(before: &str, after: &str) -> String {
    let mut text = String::new();
    for line in before.lines().filter(|line| !after.lines().any(|other| other == *line)) {
        let _ = writeln!(text, "- {line}");
    }
    for line in after.lines().filter(|line| !before.lines().any(|other| other == *line)) {
        let _ = writeln!(text, "+ {line}");
    }
    if text.is_empty() && before != after {
        text.push_str("the same lines in another order or number\n");
    }
    text
}

fn section(all: &mut String, title: &str, text: &str) {
    let _ = writeln!(all, "== {title}");
    for line in text.lines() {
        let _ = writeln!(all, "{}", without_moments(line));
    }
}

/// A line without what the clock changes: lifetimes that run down, and the ages of routes.
fn without_moments(line: &str) -> String {
    let mut words = Vec::new();
    let mut previous = "";
    for word in line.split(' ') {
        let runs = matches!(previous, "valid_lft" | "preferred_lft" | "expires") && word != "forever";
        words.push(if runs { "*" } else { word });
        previous = word;
    }
    words.join(" ").trim_end().to_owned()
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn sysctls(namespace: &Namespace, nic: &str) -> Result<String> {
    namespace.run(|| {
        let mut lines = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let folder = format!("/proc/sys/net/{family}/conf/{nic}");
            if !Path::new(&folder).exists() {
                continue;
            }
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if NOT_SETTINGS.contains(&name.as_str()) {
                    continue;
                }
                // Some cannot be read at all; they are no less the same afterwards.
                if let Ok(value) = fs::read_to_string(entry.path()) {
                    lines.push(format!("{family}.{name} = {}", value.trim_end()));
                }
            }
        }
        lines.sort_unstable();
        Ok(lines.join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::{difference, without_moments};

    #[test]
    fn lifetimes_do_not_count() {
        assert_eq!(without_moments("valid_lft 3599sec preferred_lft forever"), "valid_lft * preferred_lft forever");
    }

    #[test]
    fn a_difference_names_both_sides() {
        assert_eq!(difference("a\nb\n", "a\nc\n"), "- b\n+ c\n");
        assert_eq!(difference("a\n", "a\n"), "");
        assert!(difference("a\na\n", "a\n").contains("number"));
    }
}
