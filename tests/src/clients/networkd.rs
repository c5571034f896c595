//! systemd's client, as servers have it. `networkctl` makes it renew; it rebinds by the clock alone.
//!
//! It tells of what it was told in a file, and of what it does in its log.

use std::{collections::BTreeMap, fs, net::Ipv4Addr};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    ClientOptions, DhcpClient, Jail, LeaseSeen, Needs, Program,
    lease::{Event, all, assignments, first},
};
use crate::{guest::GUEST_NIC, netns::Namespace};

pub(super) struct Networkd;

/// What it does not do by itself: to take the MTU and the search domains.
const NETWORK: &str = "[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
UseMTU=yes
UseDomains=yes
";
const LEASES: &str = "/run/systemd/netif/leases";

impl Program for Networkd {
    fn needs(&self) -> Needs {
        // It makes its own folder in the last one, and does not make that.
        Needs { folders: &["/run", "/etc/systemd/network"], within: &["/run/systemd"], service: true }
    }

    /// Told to keep what it finds, it asks for that: it was restarted, or an initramfs has left it the address.
    fn remember(&self, namespace: &Namespace, jail: &Jail, address: Ipv4Addr) -> Result<()> {
        let folder = jail.inside("/etc/systemd/network/eth0.network.d");
        fs::create_dir(&folder)?;
        fs::write(folder.join("keep.conf"), "[Network]\nKeepConfiguration=dhcp\n")?;
        let address = format!("{address}/24");
        let line = ["addr", "add", &address, "dev", GUEST_NIC, "valid_lft", "3600", "preferred_lft", "3600"];
        namespace.ip(&line).map(drop)
    }

    fn command(&self, jail: &Jail, _nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        fs::write(jail.inside("/etc/systemd/network/eth0.network"), NETWORK)?;
        let words = ["env", "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=debug", "/lib/systemd/systemd-networkd"];
        Ok([words.map(str::to_owned).to_vec(), options.arguments.clone()].concat())
    }

    fn events(&self, jail: &Jail) -> Result<Vec<Event>> {
        // The file bears the number of the NIC, and there is only one.
        let file = fs::read_dir(jail.inside(LEASES)).ok().and_then(|mut files| files.next()?.ok());
        let text = file.and_then(|file| fs::read_to_string(file.path()).ok()).unwrap_or_default();
        let told = assignments(&text);
        let (mut events, mut asked) = (Vec::new(), String::new());
        for line in jail.log()?.lines() {
            match line.split_once("DHCPv4 client: ").map(|(_, words)| words) {
                Some("ACK") => events.push(Event { reason: asked.clone(), is_lease: true, told: told.clone() }),
                Some("NAK") => events.push(Event { reason: "NAK".to_owned(), is_lease: false, told: told.clone() }),
                Some(words) if words.starts_with("REQUEST (") => words.clone_into(&mut asked),
                _ => {}
            }
        }
        Ok(events)
    }

    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen {
        LeaseSeen {
            address: first(told, "ADDRESS"),
            router: first(told, "ROUTER"),
            // It leaves resolv.conf to systemd-resolved.
            dns: all(told, "DNS").iter().filter_map(|server| server.parse().ok()).collect(),
            domain: first(told, "DOMAINNAME"),
            search: all(told, "DOMAIN_SEARCH_LIST"),
            mtu: first(told, "MTU"),
            server_id: first(told, "SERVER_ADDRESS"),
            lease_seconds: first(told, "LIFETIME"),
            hostname: first(told, "HOSTNAME"),
            classless: told.get("CLASSLESS_ROUTES").cloned(),
            ..LeaseSeen::default()
        }
    }

    fn renew(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.beside(&["networkctl", "renew", GUEST_NIC]).map(drop)
    }

    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.rebind_by_the_clock(|asked| asked == "REQUEST (rebinding)")
    }

    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.inmates.client.signal(Signal::SIGTERM)
    }
}
