//! `NetworkManager` with its own client, n-dhcp4, as desktops and Red Hat's systems have it. It acts by the clock
//! alone, and never gives a lease back.
//!
//! It is unpacked and not installed: installed, it would begin to manage the NICs of the machine that tests.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{
    ClientOptions, DhcpClient, Jail, LeaseSeen, Needs, Program,
    lease::{Event, all, assignments, first},
};
use crate::{debs, guest::GUEST_NIC, netns::Namespace};

pub(super) struct NetworkManager;

/// Only the profile below; the NIC is its own even though it is a software device that was there before; and no
/// /etc/resolv.conf, which it would replace beside the mount that keeps the machine's one safe.
const CONFIG: &str = "[main]
plugins=keyfile
rc-manager=unmanaged
[keyfile]
path=@FOLDER@
[device-guest]
match-device=interface-name:eth0
managed=true
";
/// A tap is no Ethernet device to it; its DHCP is the same.
const PROFILE: &str = "[connection]
id=guest
uuid=@UUID@
type=tun
interface-name=eth0
[tun]
mode=2
vnet-hdr=true
[ipv4]
method=auto
[ipv6]
method=disabled
";
const UUID: &str = "5c1a1f02-4d2c-4c9c-9d3e-2f0a7b6f8e11";
const STATE: &str = "/var/lib/NetworkManager";
const DEVICES: &str = "/run/NetworkManager/devices";
const RESOLV_CONF: &str = "/run/NetworkManager/resolv.conf";

impl Program for NetworkManager {
    fn needs(&self) -> Needs {
        Needs { folders: &["/run", "/var/lib"], within: &["/var/lib/NetworkManager"], service: true }
    }

    fn remember(&self, _namespace: &Namespace, jail: &Jail, address: Ipv4Addr) -> Result<()> {
        let file = jail.inside(STATE).join(format!("internal-{UUID}-{GUEST_NIC}.lease"));
        fs::write(file, format!("ADDRESS={address}\n")).context("writing an old lease")
    }

    fn command(&self, jail: &Jail, _nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let folder = jail.path("profiles");
        fs::create_dir(&folder)?;
        let profile = folder.join("guest.nmconnection");
        fs::write(&profile, PROFILE.replace("@UUID@", UUID))?;
        // It takes no profile that others could read.
        fs::set_permissions(&profile, fs::Permissions::from_mode(0o600))?;
        let config = jail.path("NetworkManager.conf");
        fs::write(&config, CONFIG.replace("@FOLDER@", &folder.display().to_string()))?;
        let mut line = vec![program()?.display().to_string()];
        line.extend(["--debug", "--log-level=INFO", "--log-domains=DEFAULT,DHCP4:DEBUG"].map(str::to_owned));
        line.push(format!("--config={}", config.display()));
        line.push(format!("--config-dir={}", jail.path("none").display()));
        line.extend(options.arguments.iter().cloned());
        Ok(line)
    }

    fn events(&self, jail: &Jail) -> Result<Vec<Event>> {
        let told = told(jail);
        let (mut events, mut asked) = (Vec::new(), String::new());
        for line in jail.log()?.lines() {
            let Some((_, words)) = line.split_once("(eth0): event: ") else { continue };
            if let Some(sent) = words.strip_prefix("send ") {
                sent.clone_into(&mut asked);
            } else if let Some(rest) = words.strip_prefix("received ACK of ") {
                // It logs this before it writes what it was told.
                let is_written = told.get("ip_address").is_some_and(|address| rest.split(' ').next() == Some(address));
                let told = if is_written { told.clone() } else { BTreeMap::new() };
                events.push(Event { reason: asked.clone(), is_lease: true, told });
            } else {
                events.push(Event { reason: words.to_owned(), is_lease: false, told: BTreeMap::new() });
            }
        }
        Ok(events)
    }

    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen {
        LeaseSeen {
            address: first(told, "ip_address"),
            router: first(told, "routers"),
            dns: all(told, "applied_servers").iter().filter_map(|server| server.parse().ok()).collect(),
            domain: first(told, "domain_name"),
            search: all(told, "domain_search"),
            mtu: first(told, "interface_mtu"),
            server_id: first(told, "dhcp_server_identifier"),
            lease_seconds: first(told, "dhcp_lease_time"),
            hostname: first(told, "host_name"),
            classless: told.get("rfc3442_classless_static_routes").cloned(),
            ..LeaseSeen::default()
        }
    }

    fn renew(&self, _client: &DhcpClient<'_>) -> Result<()> {
        Ok(())
    }

    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        client.rebind_by_the_clock(|asked| asked.ends_with("to 255.255.255.255"))
    }
}

/// What it was told, as it keeps it for its next start, with the name servers that it has applied; nothing before that.
fn told(jail: &Jail) -> BTreeMap<String, String> {
    let files = fs::read_dir(jail.inside(DEVICES)).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let kept = texts.map(|text| assignments(&text)).find(|all| all.contains_key("dhcp4.ip_address"));
    let (Some(kept), Some(resolver)) = (kept, jail.read(RESOLV_CONF)) else { return BTreeMap::new() };
    let prefixed = kept.into_iter();
    let mut told: BTreeMap<_, _> =
        prefixed.filter_map(|(key, value)| Some((key.strip_prefix("dhcp4.")?.to_owned(), value))).collect();
    let servers: Vec<_> = resolver.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
    told.insert("applied_servers".to_owned(), servers.join(" "));
    told
}

fn program() -> Result<PathBuf> {
    debs::cached(
        "network-manager",
        |folder| {
            let program = folder.join("usr/sbin/NetworkManager");
            ensure!(program.is_file(), "no {}", program.display());
            Ok(program)
        },
        |folder| debs::download_and_unpack("network-manager", folder),
    )
    .context("getting NetworkManager")
}
