//! The command line.

use std::{net::Ipv4Addr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    guest_mac::GuestMac,
    lease::LeaseOptions,
    netns::NetnsSpec,
    request::{AttachRequest, DhcpMode, TapOwner},
    resolv::is_domain,
    wire::{HookChoice, MacMode, ToNetwork},
};

/// Joins a pod's NIC to a virtual machine's tap with eBPF.
#[derive(Debug, Parser)]
#[command(name = "tapwire", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Where the journals are.
    #[arg(long, global = true, hide = true, env = "TAPWIRE_STATE_DIR", default_value = "/run/tapwire")]
    pub state_dir: PathBuf,

    /// Where the pins are, on a bpffs.
    #[arg(long, global = true, hide = true, env = "TAPWIRE_BPFFS", default_value = "/sys/fs/bpf/tapwire")]
    pub bpffs: PathBuf,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the lease and the NIC facts that attach would use; change nothing.
    Discover(Discover),
    /// Make a binding: join the pod NIC to the tap, and answer the guest's DHCP.
    Attach(Box<Attach>),
    /// Remove a binding and give the pod NIC back what it had.
    Detach(Existing),
    /// List the bindings.
    List(Output),
    /// Show a binding with its lease and counters.
    Show(Existing),
}

/// How a verb prints.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; the layout is a contract.
    Json,
}

/// Where the pod NIC is, and what the guest is told of it.
#[derive(Debug, Args)]
pub struct Discover {
    /// The pod's network namespace: a name, a path, pid:N, or self.
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub netns: NetnsSpec,
    /// The pod NIC.
    #[arg(long, default_value = "eth0", value_name = "NAME")]
    pub nic: String,
    /// What the guest is told.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// What the guest is told otherwise than discovered.
#[derive(Debug, Args)]
pub struct LeaseArgs {
    /// MTU of the guest, and of a tap that attach makes [default: the pod NIC's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(68..=65535))]
    pub mtu: Option<u32>,
    /// DNS servers, in place of the ones of resolv.conf.
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = parse_server)]
    pub dns: Vec<Ipv4Addr>,
    /// Search domains, in place of the ones of resolv.conf.
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', value_parser = parse_domain)]
    pub search: Vec<String>,
    /// Host name of the guest.
    #[arg(long, value_name = "NAME", value_parser = parse_domain)]
    pub hostname: Option<String>,
    /// The pod's resolv.conf [default: found by the namespace].
    #[arg(long, value_name = "PATH")]
    pub resolv_conf: Option<PathBuf>,
    /// Lease time in seconds, or "infinite" [default: 86400].
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub lease_time: Option<u32>,
}

impl LeaseArgs {
    /// The same, for the library.
    pub fn options(&self) -> LeaseOptions {
        LeaseOptions {
            dns: self.dns.clone(),
            search: self.search.clone(),
            hostname: self.hostname.clone(),
            seconds: self.lease_time,
            mtu: self.mtu,
        }
    }
}

/// Everything that attach can be told.
#[derive(Debug, Args)]
pub struct Attach {
    /// The pod's network namespace: a name, a path, pid:N, or self.
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub netns: NetnsSpec,
    /// The namespace of the host side [default: the caller's].
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub node_netns: Option<NetnsSpec>,
    /// The pod NIC.
    #[arg(long, default_value = "eth0", value_name = "NAME")]
    pub nic: String,
    /// The tap; made if it is missing.
    #[arg(long, default_value = "tap0", value_name = "NAME")]
    pub tap: String,
    /// Name of the binding [default: NAMESPACE-NIC].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Whether the guest takes the pod NIC's MAC, or the NIC keeps it and is silenced.
    #[arg(long, value_enum, default_value_t)]
    pub mac_mode: MacMode,
    /// The guest's MAC: the pod NIC's, the one that it shows first, or this one. The network sees the pod NIC's always.
    #[arg(long, default_value_t, value_name = "nic|learn|MAC")]
    pub guest_mac: GuestMac,
    /// How frames of the guest leave the pod.
    #[arg(long, value_enum, default_value_t)]
    pub to_network: ToNetwork,
    /// By which interface of the kernel the programs are attached.
    #[arg(long, value_enum, default_value_t)]
    pub hook: HookChoice,
    /// Whether the guest's DHCP is answered here; auto: if the pod NIC has an IPv4 address.
    #[arg(long, value_enum, default_value_t)]
    pub dhcp: DhcpMode,
    /// Answer every ARP request of the guest with the gateway's MAC.
    #[arg(long)]
    pub arp_reply_all: bool,
    /// Owner of a tap that attach makes.
    #[arg(long, value_name = "UID[:GID]")]
    pub tap_owner: Option<TapOwner>,
    /// Queues of a tap that attach makes; more than 1 sets its multi-queue flag.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub queues: Option<u16>,
    /// What the guest is told.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// Mount a bpffs if there is none, also in a mount namespace that may not last.
    #[arg(long)]
    pub mount_bpffs: bool,
    /// Attach also where this may cut off the machine itself.
    #[arg(long)]
    pub force: bool,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

impl Attach {
    /// The same, for the library.
    pub fn request(&self) -> AttachRequest {
        AttachRequest {
            netns: self.netns.clone(),
            node_netns: self.node_netns.clone(),
            nic: self.nic.clone(),
            tap: self.tap.clone(),
            name: self.name.clone(),
            mac_mode: self.mac_mode,
            guest_mac: self.guest_mac,
            to_network: self.to_network,
            hook: self.hook,
            dhcp: self.dhcp,
            arp_reply_all: self.arp_reply_all,
            lease: self.lease.options(),
            resolv_conf: self.lease.resolv_conf.clone(),
            tap_owner: self.tap_owner,
            queues: self.queues,
            force: self.force,
            mount_bpffs: self.mount_bpffs,
        }
    }
}

/// A binding that exists.
#[derive(Debug, Args)]
#[group(id = "binding", required = true, multiple = false, args = ["name", "name_flag"])]
pub struct Existing {
    /// Name of the binding.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The same, as an option.
    #[arg(long = "name", value_name = "NAME", id = "name_flag")]
    name_flag: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

impl Existing {
    /// The name, in whichever way it was given.
    pub fn name(&self) -> &str {
        self.name.as_deref().or(self.name_flag.as_deref()).unwrap_or_default()
    }
}

/// A DNS server that a guest can ask: its own loopback is not ours to name.
fn parse_server(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "not an IPv4 address".to_owned())?;
    if address.is_unspecified() || address.is_loopback() || address.is_broadcast() || address.is_multicast() {
        return Err("not the address of a host that the guest can reach".to_owned());
    }
    Ok(address)
}

/// A name for option 12, 15 or 119. Scripts of DHCP clients take it into their hands, so it must be one.
fn parse_domain(text: &str) -> Result<String, String> {
    if is_domain(text) { Ok(text.to_owned()) } else { Err("not a name of letters, digits, dashes and dots".to_owned()) }
}

fn parse_seconds(text: &str) -> Result<u32, String> {
    if text == "infinite" {
        return Ok(crate::lease::INFINITE_SECONDS);
    }
    match text.parse() {
        // Clients take no shorter lease seriously, and 0 for the end of it.
        Ok(seconds) if seconds >= 30 => Ok(seconds),
        Ok(_) => Err("a lease lasts at least 30 seconds".to_owned()),
        Err(_) => Err("not a number of seconds, nor \"infinite\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_repeat_or_take_commas() {
        let cli =
            Cli::parse_from(["tapwire", "attach", "--netns", "a", "--dns", "10.0.0.1,10.0.0.2", "--dns", "10.0.0.3"]);
        let Command::Attach(attach) = cli.command else { panic!("not attach") };
        assert_eq!(attach.lease.dns.len(), 3);
    }

    #[test]
    fn a_binding_is_named_once() {
        assert!(Cli::try_parse_from(["tapwire", "show"]).is_err());
        assert!(Cli::try_parse_from(["tapwire", "show", "a", "--name", "a"]).is_err());
        for arguments in [["tapwire", "show", "a"].as_slice(), &["tapwire", "show", "--name", "a"]] {
            let Command::Show(existing) = Cli::parse_from(arguments).command else { panic!("not show") };
            assert_eq!(existing.name(), "a");
        }
    }

    #[test]
    fn a_lease_time_is_a_number_of_seconds_or_infinite() {
        assert_eq!(parse_seconds("infinite"), Ok(u32::MAX));
        assert_eq!(parse_seconds("3600"), Ok(3600));
        assert!(parse_seconds("0").is_err());
        assert!(parse_seconds("1h").is_err());
    }
}
