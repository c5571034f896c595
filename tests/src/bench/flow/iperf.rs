//! iperf3, and what its reports say.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{bed::Bed, cpu};
use crate::bench::sample::Direction;

/// What one run of iperf3 moved, as the receiving ends counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moved {
    /// Octets of data.
    pub bytes: f64,
    /// 10⁶ bits a second.
    pub megabits: f64,
    /// Datagrams a second; 0 of TCP.
    pub datagrams: f64,
    /// Busy seconds of all CPUs meanwhile.
    pub cpu: f64,
}

/// What iperf3 is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// TCP in so many connections.
    Tcp(u32),
    /// Datagrams with so many octets of data, as fast as it can.
    Udp(u32),
}

/// In a quick run a fixed amount is moved, since iperf3 knows no shorter time than a second.
const QUICK_TCP: &str = "400M";

/// Runs iperf3 in the guest, against the server at the far end.
pub fn run(bed: &Bed, load: Load, direction: Direction, quick: bool) -> Result<Moved> {
    let far = bed.joined().far.address.to_string();
    let line = line(&far, load, direction, quick);
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let before = cpu::busy()?;
    let text = bed.guest().exec(&words)?;
    let cpu = cpu::busy()? - before;
    Ok(Moved { cpu, ..moved(&text, load)? })
}

/// The command line of a client.
pub fn line(server: &str, load: Load, direction: Direction, quick: bool) -> Vec<String> {
    // Whatever happens, a client that waits for nothing must end.
    let mut words =
        ["timeout", "20", "iperf3", "-J", "--connect-timeout", "3000", "-c", server].map(str::to_owned).to_vec();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
    match load {
        Load::Tcp(connections) => {
            add(&["-P", &connections.to_string()]);
            add(if quick { &["-n", QUICK_TCP] } else { &["-t", "1"] });
        }
        Load::Udp(size) => add(&["-u", "-b", "0", "-l", &size.to_string(), "-t", "1"]),
    }
    match direction {
        Direction::ToGuest => add(&["-R"]),
        Direction::Both => add(&["--bidir"]),
        Direction::ToNetwork | Direction::None => {}
    }
    words
}

/// What a report says.
pub fn moved(json: &str, load: Load) -> Result<Moved> {
    let report: Value = serde_json::from_str(json).context("reading iperf3's report")?;
    let end = &report["end"];
    let mut all = Moved::default();
    let ways: &[&str] = match load {
        Load::Tcp(_) => &["sum_received", "sum_received_bidir_reverse"],
        Load::Udp(_) => &["sum"],
    };
    for way in ways {
        let number = |key: &str| end[way][key].as_f64();
        // The second is there only when both ends sent.
        let Some(bits) = number("bits_per_second") else { continue };
        let bytes = number("bytes").unwrap_or_default();
        let lost = if let Load::Udp(_) = load { datagrams(end, way, &mut all.datagrams)? } else { 0.0 };
        all.bytes += bytes * (1.0 - lost);
        all.megabits += bits * (1.0 - lost) / 1e6;
    }
    ensure!(all.megabits > 0.0, "iperf3 moved nothing: {}", report["error"]);
    Ok(all)
}

/// Adds the datagrams a second that arrived, and gives the part that did not.
fn datagrams(end: &Value, way: &str, rate: &mut f64) -> Result<f64> {
    let number = |key: &str| end[way][key].as_f64().with_context(|| format!("iperf3's report has no {key}"));
    let (sent, lost, seconds) = (number("packets")?, number("lost_packets")?, number("seconds")?);
    ensure!(sent > 0.0 && seconds > 0.0, "iperf3 sent no datagram");
    *rate += (sent - lost) / seconds;
    Ok(lost / sent)
}

#[cfg(test)]
mod tests {
    use super::{Load, moved};

    #[test]
    fn what_the_receivers_counted_both_ways_is_added() {
        let json = r#"{"end":{"sum_sent":{"bits_per_second":9e9,"bytes":9},
            "sum_received":{"bits_per_second":2e9,"bytes":5},
            "sum_received_bidir_reverse":{"bits_per_second":3e9,"bytes":6}}}"#;
        let moved = moved(json, Load::Tcp(1)).unwrap();
        assert!((moved.megabits - 5000.0).abs() < 1e-6 && (moved.bytes - 11.0).abs() < 1e-6, "{moved:?}");
    }

    #[test]
    fn datagrams_that_were_lost_do_not_count() {
        let json =
            r#"{"end":{"sum":{"bits_per_second":8e6,"bytes":1000,"packets":100,"lost_packets":25,"seconds":0.5}}}"#;
        let moved = moved(json, Load::Udp(10)).unwrap();
        assert!((moved.datagrams - 150.0).abs() < 1e-6 && (moved.megabits - 6.0).abs() < 1e-6, "{moved:?}");
    }

    #[test]
    fn a_run_that_failed_is_no_figure() {
        let error = moved(r#"{"error":"unable to connect"}"#, Load::Tcp(1)).unwrap_err();
        assert!(error.to_string().contains("unable to connect"), "{error}");
    }
}
