//! The closing table: both bindings side by side.

use std::fmt::Write as _;

use super::measure::Figures;

/// The table as text.
pub(super) fn render(tapwire: &Figures, bridge: &Figures) -> String {
    let both = |value: fn(&Figures) -> String| (value(tapwire), value(bridge));
    let rows = [
        ("time to lease", both(|figures| format!("{:.2} s", figures.lease.as_secs_f64()))),
        ("ping rtt, guest to node", both(|figures| format!("{:.2} ms", figures.ping_to_network))),
        ("ping rtt, node to guest", both(|figures| format!("{:.2} ms", figures.ping_to_guest))),
        ("iperf3 to-network", both(|figures| format!("{:.0} Mbit/s", figures.to_network))),
        ("iperf3 to-guest", both(|figures| format!("{:.0} Mbit/s", figures.to_guest))),
        ("processes needed", both(|figures| figures.processes.to_string())),
        ("answers DHCP without them", both(|figures| if figures.answers_alone { "yes" } else { "no" }.to_owned())),
    ];
    let mut text = format!("{:26} {:>14} {:>16}\n", "", "tapwire", "bridge+dnsmasq");
    for (name, (ours, theirs)) in rows {
        let _ = writeln!(text, "{name:26} {ours:>14} {theirs:>16}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Figures, render};

    #[test]
    fn columns_line_up() {
        let text = render(&Figures::default(), &Figures { to_guest: 12345.0, ..Figures::default() });
        assert!(text.contains("iperf3 to-guest                  0 Mbit/s     12345 Mbit/s"), "{text}");
    }
}
