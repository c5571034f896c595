//! Busybox's client. USR1 makes it renew, USR2 release; it has no command to rebind.

use std::collections::BTreeMap;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    ClientOptions, DhcpClient, Jail, LeaseSeen, Program,
    lease::{all, first},
};

pub(super) struct Udhcpc;

impl Program for Udhcpc {
    fn script(&self) -> &'static str {
        "/etc/udhcpc/default.script"
    }

    fn private_folders(&self) -> &'static [&'static str] {
        &["/run"]
    }

    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let script = jail.wrapper().display().to_string();
        let mut line: Vec<String> = ["udhcpc", "-f", "-t", "10", "-T", "1", "-s", &script].map(str::to_owned).to_vec();
        // By default it asks neither for the MTU nor for routes.
        line.extend(["-O", "mtu", "-O", "staticroutes", "-O", "search"].map(str::to_owned));
        line.extend(options.arguments.iter().cloned());
        line.extend(["-i", nic].map(str::to_owned));
        Ok(line)
    }

    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen {
        LeaseSeen {
            address: first(told, "ip"),
            router: first(told, "router"),
            domain: first(told, "domain"),
            search: all(told, "search"),
            mtu: first(told, "mtu"),
            server_id: first(told, "serverid"),
            lease_seconds: first(told, "lease"),
            hostname: first(told, "hostname"),
            classless: told.get("staticroutes").cloned(),
            ..LeaseSeen::default()
        }
    }

    fn renew(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.process.signal(Signal::SIGUSR1)
    }

    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        // Asked to renew, it falls back to broadcast when the unicast cannot even be sent: from an address that is gone.
        let nic = crate::guest::GUEST_NIC;
        client.namespace.ip(&["-4", "addr", "flush", "dev", nic])?;
        client.process.signal(Signal::SIGUSR1)
    }

    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.process.signal(Signal::SIGUSR2)
    }
}
