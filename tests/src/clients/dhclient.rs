//! ISC's client. It renews by the clock alone, so a test that wants a renewal gives it short times at the start.

use std::{collections::BTreeMap, fmt::Write as _, fs, net::Ipv4Addr};

use anyhow::{Context as _, Result, ensure};

use super::{
    CLOCK, ClientOptions, DhcpClient, Jail, LeaseSeen, Needs, Program,
    lease::{Event, all, first},
    script,
};
use crate::{netns::Namespace, wait::wait_until};

pub(super) struct Dhclient;

/// Debian's configuration, to which we only add.
const CONFIG: &str = "/etc/dhcp/dhclient.conf";

/// In its log, the end of the line for a request that was sent to all.
const BROADCAST: &str = "on eth0 to 255.255.255.255 port 67\nDHCPACK";

/// What it would have written of a lease that is valid for years.
const OLD_LEASE: &str = "lease {
  interface \"eth0\";
  fixed-address @ADDRESS@;
  option subnet-mask 255.255.255.0;
  option routers 10.9.9.1;
  option dhcp-lease-time 4294967295;
  option dhcp-message-type 5;
  option dhcp-server-identifier 10.9.9.1;
  renew never;
  rebind never;
  expire never;
}
";

impl Program for Dhclient {
    fn needs(&self) -> Needs {
        Needs { folders: &["/run", "/var/lib/dhcp"], ..Needs::default() }
    }

    fn remember(&self, _namespace: &Namespace, jail: &Jail, address: Ipv4Addr) -> Result<()> {
        let text = OLD_LEASE.replace("@ADDRESS@", &address.to_string());
        fs::write(jail.inside("/var/lib/dhcp/dhclient.leases"), text).context("writing an old lease")
    }

    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let mut config = fs::read_to_string(CONFIG).with_context(|| format!("reading {CONFIG}"))?;
        if let Some((renew, rebind)) = options.times {
            writeln!(config, "\nsupersede dhcp-renewal-time {renew};\nsupersede dhcp-rebinding-time {rebind};")?;
        }
        fs::write(jail.path("dhclient.conf"), config)?;
        let config = jail.path("dhclient.conf").display().to_string();
        let script = script::wrapper(jail, "/sbin/dhclient-script")?;
        let mut line: Vec<String> =
            ["dhclient", "-4", "-d", "-v", "-cf", &config, "-sf", &script].map(str::to_owned).to_vec();
        line.extend(options.arguments.iter().cloned());
        line.push(nic.to_owned());
        Ok(line)
    }

    fn events(&self, jail: &Jail) -> Result<Vec<Event>> {
        script::events(jail)
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
        ensure!(client.options.times.is_some(), "dhclient rebinds by the clock: start it with `times`");
        // Where the unicast cannot even be sent it broadcasts at once, and still calls its script for a RENEW. It does
        // not stop a socket that is bound to the NIC: for those the kernel takes every address to be on the link.
        let route = format!("{}/32", client.server()?);
        client.namespace.ip(&["route", "add", "prohibit", &route])?;
        let broadcasts = || Ok::<_, anyhow::Error>(client.log()?.matches(BROADCAST).count());
        let (before, leases) = (broadcasts()?, client.leases()?);
        let result =
            wait_until("dhclient to rebind", CLOCK, || Ok(broadcasts()? > before && client.leases()? > leases));
        client.namespace.ip(&["route", "del", "prohibit", &route])?;
        result
    }

    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        let config = client.jail.path("dhclient.conf").display().to_string();
        let script = script::path(&client.jail);
        let line = ["dhclient", "-4", "-r", "-v", "-cf", &config, "-sf", &script, crate::guest::GUEST_NIC];
        client.beside(&line).map(drop)
    }
}
