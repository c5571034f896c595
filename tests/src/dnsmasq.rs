//! A DHCP server in user space, with one lease for one MAC: what a bridge binding needs, and what tapwire does without.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{
    cmd::{self, Running},
    netns::Namespace,
    wait::wait_for,
};

/// The one lease that a [`Dnsmasq`] gives.
#[derive(Clone, Debug)]
pub struct DnsmasqConfig {
    /// Link to listen on.
    pub interface: String,
    /// Whether the link has an address in the lease's subnet; if not, the server is told that the subnet lies there.
    pub on_link: bool,
    /// The guest's MAC.
    pub mac: String,
    /// The lease's address.
    pub address: String,
    /// The lease's network mask.
    pub netmask: String,
    /// Seconds; dnsmasq gives no less than 120.
    pub lease_seconds: u32,
    /// Options as `--dhcp-option` takes them.
    pub options: Vec<String>,
}

impl DnsmasqConfig {
    /// The lease of the default [`Pod`](crate::Pod), with the options that tapwire gives.
    pub fn for_default_pod(interface: &str, mac: &str) -> Self {
        let options = [
            "option:router,10.244.1.1",
            "option:dns-server,10.96.0.10",
            "option:domain-name,default.svc.cluster.local",
            "option:domain-search,default.svc.cluster.local,svc.cluster.local,cluster.local",
            "option:mtu,1500",
            "option:classless-static-route,10.244.0.0/16,10.244.1.1,0.0.0.0/0,10.244.1.1",
        ];
        Self {
            interface: interface.to_owned(),
            on_link: true,
            mac: mac.to_owned(),
            address: "10.244.1.5".to_owned(),
            netmask: "255.255.255.0".to_owned(),
            lease_seconds: 3600,
            options: options.map(str::to_owned).to_vec(),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let Self { interface, on_link, mac, address, netmask, lease_seconds, options } = self;
        // Else it pings the address for three seconds before it offers it.
        let mut arguments = ["--log-dhcp", "--dhcp-authoritative", "--no-ping"].map(str::to_owned).to_vec();
        arguments.push(format!("--dhcp-range={address},static,{netmask},{lease_seconds}"));
        arguments.push(format!("--dhcp-host={mac},{address}"));
        if !on_link {
            arguments.push(format!("--shared-network={interface},{address}"));
        }
        arguments.extend(options.iter().map(|option| format!("--dhcp-option-force={option}")));
        arguments
    }
}

/// A running DHCP server; it ends with this value.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
}

impl Dnsmasq {
    /// Starts the server in a namespace and waits until it serves.
    pub fn start(namespace: &Namespace, config: &DnsmasqConfig) -> Result<Self> {
        let process = Process::start(namespace, &config.interface, &config.arguments(), "static leases only")?;
        Ok(Self { process })
    }

    /// What the server has said so far; it names every message and option.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }

    /// How many messages of a kind, `DHCPREQUEST` for example, came or went.
    pub fn count(&self, message: &str) -> Result<usize> {
        let needle = format!("{message}(");
        Ok(self.log()?.matches(&needle).count())
    }

    /// Kills the server with SIGKILL, to show what is left without it.
    pub fn kill(&mut self) {
        self.process.running.kill();
    }
}

/// A dnsmasq on one link, without DNS, that keeps to itself; whatever it serves, it says in its log.
#[derive(Debug)]
pub(crate) struct Process {
    running: Running,
    log: PathBuf,
    _folder: TempDir,
}

impl Process {
    /// Starts dnsmasq with more arguments, and waits until it says `serves`.
    pub(crate) fn start(namespace: &Namespace, interface: &str, more: &[String], serves: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for dnsmasq")?;
        let log = folder.path().join("log");
        let file = fs::File::create(&log).context("making dnsmasq's log")?;
        let mut arguments =
            ["dnsmasq", "--keep-in-foreground", "--user=root", "--conf-file=/dev/null", "--port=0", "--pid-file="]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--log-facility=-".to_owned(), "--except-interface=lo".to_owned()]);
        arguments.push(format!("--interface={interface}"));
        arguments.push(format!("--dhcp-leasefile={}", folder.path().join("leases").display()));
        arguments.extend_from_slice(more);
        let mut command = cmd::command(&arguments)?;
        command.stdout(Stdio::from(file.try_clone()?)).stderr(Stdio::from(file));
        let mut process = Self { running: namespace.spawn(&mut command)?, log, _folder: folder };
        wait_for("dnsmasq to serve", Duration::from_secs(5), || {
            if let Some(status) = process.running.ended()? {
                bail!("dnsmasq ended ({status}): {}", process.log()?);
            }
            Ok(process.log()?.contains(serves).then_some(()))
        })?;
        Ok(process)
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("reading dnsmasq's log")
    }
}
