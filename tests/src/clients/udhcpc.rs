//! Busybox's client. USR1 makes it renew, USR2 release; it has no command to rebind.

use std::collections::BTreeMap;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    ClientOptions, DhcpClient, Jail, LeaseSeen, Needs, Program,
    lease::{Event, all, first},
    script,
};

pub(super) struct Udhcpc;

impl Program for Udhcpc {
    fn needs(&self) -> Needs {
        Needs { folders: &["/run"], ..Needs::default() }
    }

    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let script = script::wrapper(jail, "/etc/udhcpc/default.script")?;
        let mut line: Vec<String> = ["udhcpc", "-f", "-t", "10", "-T", "1", "-s", &script].map(str::to_owned).to_vec();
        // By default it asks neither for the MTU nor for routes.
        line.extend(["-O", "mtu", "-O", "staticroutes", "-O", "search"].map(str::to_owned));
        line.extend(options.arguments.iter().cloned());
        line.extend(["-i", nic].map(str::to_owned));
        Ok(line)
    }

    fn events(&self, jail: &Jail) -> Result<Vec<Event>> {
        script::events(jail)
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
        client.inmates.client.signal(Signal::SIGUSR1)
    }

    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        // Asked to renew, it falls back to broadcast when the unicast cannot even be sent: from an address that is gone.
        let nic = crate::guest::GUEST_NIC;
        client.namespace.ip(&["-4", "addr", "flush", "dev", nic])?;
        client.inmates.client.signal(Signal::SIGUSR1)
    }

    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.inmates.client.signal(Signal::SIGUSR2)
    }
}
