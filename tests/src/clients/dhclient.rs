//! ISC's client. It renews by the clock alone, so a test that wants a renewal gives it short times at the start.

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    ClientOptions, DhcpClient, Jail, LeaseSeen, Program,
    lease::{all, first},
};
use crate::wait::wait_until;

pub(super) struct Dhclient;

/// Debian's configuration, to which we only add.
const CONFIG: &str = "/etc/dhcp/dhclient.conf";

/// In its log, the end of the line for a request that was sent to all.
const BROADCAST: &str = "on eth0 to 255.255.255.255 port 67\nDHCPACK";

impl Program for Dhclient {
    fn script(&self) -> &'static str {
        "/sbin/dhclient-script"
    }

    fn private_folders(&self) -> &'static [&'static str] {
        &["/run", "/var/lib/dhcp"]
    }

    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let mut config = fs::read_to_string(CONFIG).with_context(|| format!("reading {CONFIG}"))?;
        if let Some((renew, rebind)) = options.times {
            writeln!(config, "\nsupersede dhcp-renewal-time {renew};\nsupersede dhcp-rebinding-time {rebind};")?;
        }
        fs::write(jail.path("dhclient.conf"), config)?;
        let config = jail.path("dhclient.conf").display().to_string();
        let script = jail.wrapper().display().to_string();
        let mut line: Vec<String> =
            ["dhclient", "-4", "-d", "-v", "-cf", &config, "-sf", &script].map(str::to_owned).to_vec();
        line.extend(options.arguments.iter().cloned());
        line.push(nic.to_owned());
        Ok(line)
    }

    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen {
        LeaseSeen {
            address: first(told, "new_ip_address"),
            router: first(told, "new_routers"),
            domain: first(told, "new_domain_name"),
            search: all(told, "new_domain_search").iter().map(|name| name.trim_end_matches('.').to_owned()).collect(),
            mtu: first(told, "new_interface_mtu"),
            server_id: first(told, "new_dhcp_server_identifier"),
            lease_seconds: first(told, "new_dhcp_lease_time"),
            hostname: first(told, "new_host_name"),
            classless: told.get("new_rfc3442_classless_static_routes").cloned(),
            ..LeaseSeen::default()
        }
    }

    fn renew(&self, client: &DhcpClient<'_>) -> Result<()> {
        ensure!(client.options.times.is_some(), "dhclient renews by the clock: start it with `times`");
        Ok(())
    }

    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        let (_, rebind) = client.options.times.context("dhclient rebinds by the clock: start it with `times`")?;
        // It broadcasts as soon as the unicast cannot even be sent, and still calls its script for a RENEW.
        let broadcasts = || Ok::<_, anyhow::Error>(client.log()?.matches(BROADCAST).count());
        let (before, leases) = (broadcasts()?, client.leases()?);
        client.without_unicast(|| {
            let deadline = Duration::from_secs(u64::from(rebind) + 20);
            wait_until("dhclient to rebind", deadline, || Ok(broadcasts()? > before && client.leases()? > leases))
        })
    }

    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        let config = client.jail.path("dhclient.conf").display().to_string();
        let script = client.jail.wrapper().display().to_string();
        let line = ["dhclient", "-4", "-r", "-v", "-cf", &config, "-sf", &script, crate::guest::GUEST_NIC];
        client.beside(&line).map(drop)
    }
}
