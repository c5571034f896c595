//! `cargo xtask demo`: what tapwire is for, shown on a real virtual machine and checked while it is shown.
//!
//! A pod as a CNI would leave it, first bound by tapwire, then by a kernel bridge with a DHCP server as `KubeVirt` does
//! it today; the same guest boots on both and the same things are measured. Every claim is checked, and the first that
//! does not hold ends the demo with an error. All traffic stays in namespaces that the demo makes and removes.

mod measure;
mod report;
mod table;
mod tapwire;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use lab::{BridgeBinding, Pod, Vm, VmConfig, fingerprint::difference, kernel::Kernel};

use self::{
    measure::{Figures, Machine},
    report::{Report, block, title},
    tapwire::{Binding, Tapwire},
};

/// Prefix of the demo's namespaces, apart from the tests' so that neither cleans up after the other.
const PREFIX: &str = "twd-";
const NIC: &str = "eth0";
const TAP: &str = "tap0";
/// Name of the demo's binding.
const NAME: &str = "demo";
/// How long booting takes on an emulated CPU; only for the progress bar.
const BOOT: Duration = Duration::from_secs(10);

/// Runs the demo with a built `tapwire`. An error means that something it claims did not hold.
pub(crate) fn run(tapwire: &Path) -> Result<()> {
    ensure!(lab::is_root(), "the demo makes network namespaces, which needs root");
    let report = Report::new();
    let tapwire = Tapwire::new(tapwire)?;
    clean(&report, &tapwire)?;
    report.long(
        "Debian's cloud kernel for the guest (kept in target/lab)",
        Duration::from_secs(3),
        Kernel::debian_cloud,
    )?;

    title("A pod's network, as a CNI would leave it");
    let pod = Pod::builder(NAME).prefix(PREFIX).build()?;
    report.step(&format!("node {}, pod {}, joined by a veth", pod.node.name(), pod.namespace.name()));
    block(&pod.namespace.ip(&["-br", "addr", "show", "dev", NIC])?);
    block(&pod.namespace.ip(&["route"])?);

    let with_tapwire = by_tapwire(&report, &tapwire, &pod).context("with tapwire").inspect_err(|_| {
        // While the namespaces are still there. There may be nothing to detach; the error to tell is the first one.
        let _ = tapwire.detach();
        let _ = tapwire::forget();
    })?;
    tapwire::forget()?;
    let with_bridge = by_bridge(&report, &pod).context("with the bridge")?;

    title("Side by side");
    println!("{}", table::render(&with_tapwire, &with_bridge));
    println!("Times and rates are those of one small guest on this machine, and no benchmark.");
    report.step("all of it held");
    Ok(())
}

/// Removes what a killed demo left: first the binding, because its pins name devices of the namespaces.
fn clean(report: &Report, tapwire: &Tapwire) -> Result<()> {
    let detached = tapwire.detach_leftover();
    let names = lab::netns::clean_leftovers(PREFIX).context("cleaning up after an earlier demo")?;
    if detached || !names.is_empty() {
        report.step(&format!("cleaned up after an earlier demo: {} namespaces", names.len()));
    }
    tapwire::forget()
}

fn by_tapwire(report: &Report, tapwire: &Tapwire, pod: &Pod) -> Result<Figures> {
    let before = (pod.fingerprint()?, pod.host_fingerprint()?, links(pod)?);
    let mac = pod.nic_mac()?;

    title("tapwire");
    report.step("tapwire discover: the lease that the guest would be given");
    block(&tapwire.discover(pod)?);
    let binding = tapwire.attach(pod)?;
    report.step(&format!("tapwire attach: state {}, {}", binding.state()?, binding.wire()?));
    report.step(&format!(
        "the pod NIC's MAC was {mac}, is {}; the guest gets {}",
        pod.nic_mac()?,
        binding.guest_mac()?
    ));

    let mut machine = boot(report, pod, &binding.guest_mac()?)?;
    let mut figures = machine.measure(report, pod)?;
    dhcp_without_processes(report, tapwire, &mut machine, &mut figures)?;
    another_lease(report, tapwire, &mut machine)?;
    drop(machine);

    tapwire.detach()?;
    let after = (pod.fingerprint()?, pod.host_fingerprint()?, links(pod)?);
    same("pod NIC", &before.0, &after.0)?;
    same("host side", &before.1, &after.1)?;
    ensure!(before.2 == after.2, "links before {:?}, after detach {:?}", before.2, after.2);
    report.step(&format!(
        "tapwire detach: pod NIC, host side and list of links are exactly as they were ({} lines compared)",
        before.0.lines().count() + before.1.lines().count()
    ));
    Ok(figures)
}

/// Names of all links, in the pod and on the node.
fn links(pod: &Pod) -> Result<[Vec<String>; 2]> {
    Ok([Pod::links(&pod.namespace)?, Pod::links(&pod.node)?])
}

fn same(what: &str, before: &str, after: &str) -> Result<()> {
    if before != after {
        bail!("detach did not give the {what} back as it was:\n{}", difference(before, after));
    }
    Ok(())
}

/// The heart of it: the guest renews while nothing of tapwire runs, and the counters in the kernel show who answered.
fn dhcp_without_processes(
    report: &Report,
    tapwire: &Tapwire,
    machine: &mut Machine,
    figures: &mut Figures,
) -> Result<()> {
    let before = tapwire.show()?;
    let running = tapwire.processes()?;
    ensure!(running.is_empty(), "tapwire is still running, as {running:?}");
    report.step("no tapwire process is running");
    machine.renew()?;
    let renewed = tapwire.show_until_counted(&before)?;
    report.step(&format!("the guest renewed its lease: {}", growth(&before, &renewed)?));
    figures.answers_alone = machine.asks_anew()?;
    ensure!(figures.answers_alone, "the guest got no answer to a new DHCPDISCOVER");
    let after = tapwire.show_until_counted(&renewed)?;
    report.step(&format!("a client that knows nothing got it too: {}", growth(&renewed, &after)?));
    ensure!(tapwire.processes()?.is_empty(), "tapwire was started while the guest renewed");
    figures.processes = 0;
    Ok(())
}

/// The running guest is told another address: it hears of it when it renews, by a NAK, and starts anew.
fn another_lease(report: &Report, tapwire: &Tapwire, machine: &mut Machine) -> Result<()> {
    let before = tapwire.show()?.dhcp("nak")?;
    let (address, dns) = ("10.244.1.77/24", "10.96.0.99");
    tapwire.lease_set(&["--address", address, "--dns", dns])?;
    let servers = machine.renew_to(address)?;
    ensure!(servers.trim() == dns, "the guest asks {servers:?} for names");
    let nak = tapwire.show()?.dhcp("nak")?;
    ensure!(nak > before, "the guest has the new address, and got no NAK for the old one");
    report.step(&format!("tapwire lease set: the guest renewed, naks {before} -> {nak}, and has {address}, DNS {dns}"));
    Ok(())
}

/// What the programs in the kernel counted between two looks.
fn growth(before: &Binding, after: &Binding) -> Result<String> {
    let (requests, acks) = (after.dhcp("request")?, after.dhcp("ack")?);
    Ok(format!("requests {} -> {requests}, acks {} -> {acks}", before.dhcp("request")?, before.dhcp("ack")?))
}

fn by_bridge(report: &Report, pod: &Pod) -> Result<Figures> {
    title("The same guest over a kernel bridge, with a DHCP server in user space");
    let before = pod.fingerprint()?;
    let mut bridge = BridgeBinding::with_dhcp(pod, TAP)?;
    report.step("bridge made, dnsmasq runs in the pod");
    let mut machine = boot(report, pod, &pod.mac)?;
    let mut figures = machine.measure(report, pod)?;
    let server = bridge.dhcp.as_mut().context("the bridge binding has no server")?;
    server.kill();
    report.step("dnsmasq killed");
    figures.answers_alone = machine.asks_anew()?;
    ensure!(!figures.answers_alone, "a killed dnsmasq answered: the comparison is void");
    report.step("the guest asks for a lease: no answer");
    figures.processes = 1;
    drop(machine);
    bridge.teardown(pod)?;
    same("pod NIC", &before, &pod.fingerprint()?)?;
    Ok(figures)
}

fn boot(report: &Report, pod: &Pod, mac: &str) -> Result<Machine> {
    let config = VmConfig::new(TAP, mac);
    let vm = report.long("booting a virtual machine on the tap", BOOT, || Vm::boot(&pod.namespace, &config))?;
    report.step(&format!("booted under {}, NIC {mac}", vm.accelerator()));
    Ok(Machine::new(vm))
}
