//! Roy Marples' client, the default of new Debian and of Raspberry Pi OS. `-n` makes it renew or rebind at once.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

use super::{
    ClientOptions, DhcpClient, Jail, LeaseSeen, Needs, Program,
    lease::{Event, all, first},
    script,
};
use crate::guest::GUEST_NIC;

pub(super) struct Dhcpcd;

/// Debian's configuration, taken as it is.
const CONFIG: &str = "/etc/dhcpcd.conf";

impl Program for Dhcpcd {
    fn needs(&self) -> Needs {
        Needs { folders: &["/run", "/var/lib/dhcpcd"], ..Needs::default() }
    }

    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let config = fs::read_to_string(CONFIG).with_context(|| format!("reading {CONFIG}"))?;
        fs::write(jail.path("dhcpcd.conf"), config)?;
        let config = jail.path("dhcpcd.conf").display().to_string();
        let script = script::wrapper(jail, "/lib/dhcpcd/dhcpcd-run-hooks")?;
        let mut line: Vec<String> =
            ["dhcpcd", "-4", "-B", "-d", "-f", &config, "-c", &script].map(str::to_owned).to_vec();
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
            search: all(told, "new_domain_search"),
            mtu: first(told, "new_interface_mtu"),
            server_id: first(told, "new_dhcp_server_identifier"),
            lease_seconds: first(told, "new_dhcp_lease_time"),
            hostname: first(told, "new_host_name"),
            classless: told.get("new_classless_static_routes").cloned(),
            ..LeaseSeen::default()
        }
    }

    fn renew(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.beside(&["dhcpcd", "-4", "-N", GUEST_NIC]).map(drop)
    }

    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.beside(&["dhcpcd", "-4", "-n", GUEST_NIC]).map(drop)
    }

    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.beside(&["dhcpcd", "-4", "-k", GUEST_NIC]).map(drop)
    }
}
