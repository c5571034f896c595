//! What is measured on a guest, the same for both bindings: lease, pings and throughput both ways.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lab::{Pod, Vm, cmd, wait::wait_until};

use super::report::{Report, block};

/// The node's end, and the guest's address, in the lab's default pod.
const NODE: &str = "10.244.1.1";
const GUEST: &str = "10.244.1.5";
/// Longest that any one command in the guest may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Runs of iperf3 each way, of which the median counts: an emulated CPU on a busy machine strays by half.
const IPERF_RUNS: u32 = 3;
/// Seconds of each run: enough to see the order of magnitude, and the demo stays short.
const IPERF_SECONDS: u32 = 2;

/// What one binding did.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// From the start of the guest's client to the configured address.
    pub(super) lease: Duration,
    /// Milliseconds, average.
    pub(super) ping_to_network: f64,
    /// Milliseconds, average.
    pub(super) ping_to_guest: f64,
    /// Mbit/s, as received.
    pub(super) to_network: f64,
    /// Mbit/s, as received.
    pub(super) to_guest: f64,
    /// Processes that have to live for the binding to work.
    pub(super) processes: u32,
    /// Whether the guest gets an answer when those are dead.
    pub(super) answers_alone: bool,
}

/// A booted guest with what the demo does in it.
#[derive(Debug)]
pub(super) struct Machine {
    vm: Vm,
}

impl Machine {
    pub(super) fn new(vm: Vm) -> Self {
        Self { vm }
    }

    /// Takes the lease, and measures; what is shown is what the guest says.
    pub(super) fn measure(&mut self, report: &Report, pod: &Pod) -> Result<Figures> {
        let lease = self.lease(report)?;
        let ping = format!("ping -q -c 20 -i 0.05 -W 5 {NODE}");
        let ping_to_network = average(&self.vm.run(&ping, DEADLINE)?).context("ping from the guest to the node")?;
        let line = ["busybox", "ping", "-q", "-c", "20", "-i", "0.05", "-W", "5", GUEST];
        let ping_to_guest = average(&pod.node.exec(&line)?).context("ping from the node to the guest")?;
        report.step(&format!("ping: {ping_to_network:.2} ms from the guest, {ping_to_guest:.2} ms to the guest"));
        let (to_network, to_guest) = self.throughput(report, pod)?;
        report.step(&format!("iperf3: {to_network:.0} Mbit/s to-network, {to_guest:.0} Mbit/s to-guest"));
        Ok(Figures { lease, ping_to_network, ping_to_guest, to_network, to_guest, ..Figures::default() })
    }

    fn lease(&mut self, report: &Report) -> Result<Duration> {
        self.vm.run("syslogd -O /run/messages", DEADLINE)?;
        let start = Instant::now();
        // It goes on in the background once it has the lease.
        let client = "udhcpc -i eth0 -n -t 10 -T 1 -O mtu -O search -p /run/udhcpc.pid";
        let said = self.vm.run(client, DEADLINE).context("the guest's DHCP client")?;
        let lease = start.elapsed();
        let addresses = self.vm.run("ip -4 addr show dev eth0", DEADLINE)?;
        ensure!(addresses.contains(&format!("inet {GUEST}/24")), "the guest has another address: {addresses}");
        report.step(&format!("the guest's own udhcpc took the lease in {:.2} s", lease.as_secs_f64()));
        block(said.lines().last().unwrap_or_default());
        block(addresses.lines().find(|line| line.contains("inet ")).unwrap_or_default().trim());
        block(&self.vm.run("ip -4 route; cat /etc/resolv.conf", DEADLINE)?);
        Ok(lease)
    }

    /// iperf3 with its server on the node.
    fn throughput(&mut self, report: &Report, pod: &Pod) -> Result<(f64, f64)> {
        let mut server = cmd::command(&["iperf3", "-s", "-B", NODE])?;
        let _server = pod.node.spawn(server.stdout(Stdio::null()).stderr(Stdio::null()))?;
        wait_until("iperf3's server", Duration::from_secs(5), || {
            Ok(pod.node.exec(&["ss", "-Hltn"])?.contains(":5201"))
        })?;
        let usual = Duration::from_secs(u64::from(IPERF_RUNS * (IPERF_SECONDS + 1)));
        let mut median = |what: &str, way: &str| -> Result<f64> {
            let line = format!("iperf3 -c {NODE} -t {IPERF_SECONDS} -J {way}");
            let mut one = || received(&self.vm.run(&line, DEADLINE)?);
            let runs = || (0..IPERF_RUNS).map(|_| one()).collect::<Result<Vec<_>>>();
            let mut rates = report.long(what, usual, runs)?;
            rates.sort_by(f64::total_cmp);
            rates.get(rates.len() / 2).copied().context("no run of iperf3")
        };
        Ok((median("iperf3 to-network", "")?, median("iperf3 to-guest", "-R")?))
    }

    /// Makes the guest's client renew its lease, by unicast to the server that gave it.
    pub(super) fn renew(&mut self) -> Result<()> {
        self.vm.run("kill -USR1 $(cat /run/udhcpc.pid)", DEADLINE).context("renewing")?;
        // Debian's script logs each call; only the guest can say that it liked the answer.
        wait_until("the guest to have its lease renewed", Duration::from_secs(15), || {
            Ok(self.vm.ask("grep -q 'renew: IP' /run/messages", DEADLINE)?.status == 0)
        })
    }

    /// Asks the server again until the guest has this address, and gives its DNS servers.
    pub(super) fn renew_to(&mut self, address: &str) -> Result<String> {
        self.vm.run("kill -USR1 $(cat /run/udhcpc.pid)", DEADLINE).context("renewing")?;
        wait_until(&format!("the guest to have {address}"), Duration::from_secs(15), || {
            Ok(self.vm.run("ip -4 -br addr show dev eth0", DEADLINE)?.contains(address))
        })?;
        self.vm.run(&format!("ping -q -c 3 -i 0.1 -W 5 {NODE}"), DEADLINE).context("ping from the new address")?;
        self.vm.run("sed -n 's/^nameserver //p' /etc/resolv.conf", DEADLINE)
    }

    /// Whether a client that knows nothing gets a lease now. Its script does nothing, so that the guest stays as it is.
    pub(super) fn asks_anew(&mut self) -> Result<bool> {
        let answer = self.vm.ask("udhcpc -i eth0 -n -q -t 3 -T 1 -s /usr/bin/true", DEADLINE)?;
        Ok(answer.status == 0)
    }
}

/// The average of a ping's closing line, `round-trip min/avg/max = 1.1/2.2/3.3 ms`. A lost answer is an error.
fn average(text: &str) -> Result<f64> {
    ensure!(text.contains(" 0% packet loss"), "answers were lost: {}", text.trim_end());
    let figures = text.lines().find_map(|line| line.split_once("= ")).context("ping shows no times")?.1;
    Ok(figures.split('/').nth(1).context("ping shows no average")?.parse()?)
}

/// Mbit/s as the receiving end counted them.
fn received(json: &str) -> Result<f64> {
    let report: serde_json::Value = serde_json::from_str(json).context("reading iperf3's report")?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    let bits = bits.with_context(|| format!("iperf3 measured nothing: {}", report["error"]))?;
    ensure!(bits > 0.0, "iperf3 moved nothing");
    Ok(bits / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{average, received};

    const PING: &str = "20 packets transmitted, 20 packets received, 0% packet loss\n\
                        round-trip min/avg/max = 0.2/0.4/0.9 ms\n";

    #[test]
    fn ping_average() {
        assert!((average(PING).unwrap() - 0.4).abs() < 1e-9);
        assert!(average(&PING.replace(" 0%", " 10%")).is_err());
    }

    #[test]
    fn iperf_report() {
        let json = r#"{"end":{"sum_received":{"bits_per_second":650000000.0}}}"#;
        assert!((received(json).unwrap() - 650.0).abs() < 1e-9);
        assert!(received(r#"{"error":"unable to connect"}"#).unwrap_err().to_string().contains("unable"));
    }
}
