//! The command line.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr as _,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::{IpNet, Ipv4Net};

use crate::{
    Error,
    change::LeaseChange,
    guard::{Allowed, EtherType, GuardRequest, GuardWord, Mac, Vlans, policy},
    guest_mac::GuestMac,
    lease::{LeaseOptions, LeaseRoute, PrivateOption, Setting, file, options::NONE, values},
    netns::NetnsSpec,
    request::{AttachRequest, DhcpMode, TapOwner},
    resolv::Resolv,
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

    /// The node's policy.
    #[arg(long, global = true, hide = true, env = "TAPWIRE_POLICY", default_value = policy::PATH)]
    pub policy: PathBuf,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the lease and the NIC facts that attach would use; change nothing.
    Discover(Box<Discover>),
    /// Make a binding: join the pod NIC to the tap, and answer the guest's DHCP.
    Attach(Box<Attach>),
    /// Remove a binding and give the pod NIC back what it had.
    Detach(Existing),
    /// List the bindings.
    List(ListOutput),
    /// Say what this host can do, and what is missing for attach; change nothing.
    Check(Check),
    /// Show a binding with its lease and counters.
    Show(Existing),
    /// Give bindings the programs of this tapwire, while they run. Roll back with the older tapwire's own `upgrade`.
    Upgrade(ExistingOrAll),
    /// Put right what drifted since attach, and say what was done.
    Repair(ExistingOrAll),
    /// Change what a running guest is told.
    #[command(subcommand)]
    Lease(LeaseCommand),
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

/// How `list` prints.
#[derive(Clone, Copy, Debug, Args)]
pub struct ListOutput {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ListFormat,
}

/// Forms of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// For programs; the layout is a contract.
    Json,
    /// For Prometheus and its like: all counters; the names are a contract.
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// What is checked.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// A pod's network namespace that shall be entered too: a name, a path, pid:N, or self.
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub netns: Option<NetnsSpec>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
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

/// What the guest is told otherwise than discovered. The word "none" in place of a value takes an option away.
#[derive(Debug, Args)]
pub struct LeaseArgs {
    /// MTU of the guest, and of a tap that attach makes; without it attach takes the pod NIC's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(mtus()))]
    pub mtu: Option<u32>,
    /// DNS servers, in place of the ones of resolv.conf, or "none".
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = or_none(values::server))]
    pub dns: Vec<Setting<Ipv4Addr>>,
    /// Search domains, in place of the ones of resolv.conf, or "none".
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', value_parser = or_none(values::domain))]
    pub search: Vec<Setting<String>>,
    /// Host name of the guest, or "none".
    #[arg(long, value_name = "NAME", value_parser = or_none(values::host_name))]
    pub hostname: Option<Setting<String>>,
    /// The pod's resolv.conf; without it attach finds it by the namespace.
    #[arg(long, value_name = "PATH")]
    pub resolv_conf: Option<PathBuf>,
    /// Lease time in seconds, or "infinite"; without it attach takes 86400.
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub lease_time: Option<u32>,
    /// NTP servers, or "none".
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = or_none(values::server))]
    pub ntp_servers: Vec<Setting<Ipv4Addr>>,
    /// TFTP server that the guest boots from (option 66; an address is also the "next server"), or "none".
    #[arg(long, value_name = "NAME|IP", value_parser = or_none(values::boot_server))]
    pub tftp_server_name: Option<Setting<String>>,
    /// File that the guest boots (option 67), or "none".
    #[arg(long, value_name = "NAME", value_parser = or_none(values::boot_file))]
    pub boot_file_name: Option<Setting<String>>,
    /// TFTP servers of IP phones and the like (option 150), or "none".
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = or_none(values::server))]
    pub tftp_servers: Vec<Setting<Ipv4Addr>>,
    /// An option of this site, 224 to 254, with its value as text, or "none".
    #[arg(long, value_name = "CODE=VALUE", value_parser = or_none(private_option))]
    pub private_option: Vec<Setting<PrivateOption>>,
    /// TOML file with these options; a flag goes before the same key of it.
    #[arg(long, value_name = "PATH")]
    pub lease_file: Option<PathBuf>,
}

impl LeaseArgs {
    /// The same, for the library: flags over the file.
    pub fn options(&self) -> crate::Result<LeaseOptions> {
        let flags = LeaseOptions {
            dns: list("dns", &self.dns, values::servers)?,
            search: list("search", &self.search, values::domains)?,
            hostname: self.hostname.clone().unwrap_or_default(),
            seconds: self.lease_time,
            mtu: self.mtu,
            ntp_servers: list("ntp-servers", &self.ntp_servers, values::servers)?,
            tftp_server_name: self.tftp_server_name.clone().unwrap_or_default(),
            boot_file_name: self.boot_file_name.clone().unwrap_or_default(),
            tftp_servers: list("tftp-servers", &self.tftp_servers, values::servers)?,
            private_options: list("private-option", &self.private_option, values::private_options)?,
        };
        match &self.lease_file {
            None => Ok(flags),
            Some(path) => Ok(flags.merged_over(&file::read(path)?)),
        }
    }
}

fn mtus() -> RangeInclusive<i64> {
    i64::from(*values::MTU.start())..=i64::from(*values::MTU.end())
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
    /// What the guest may send.
    #[command(flatten)]
    pub guard: GuardArgs,
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
    pub fn request(&self) -> crate::Result<AttachRequest> {
        Ok(AttachRequest {
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
            guard: self.guard.request()?,
            lease: self.lease.options()?,
            resolv_conf: self.lease.resolv_conf.clone(),
            tap_owner: self.tap_owner,
            queues: self.queues,
            force: self.force,
            mount_bpffs: self.mount_bpffs,
        })
    }
}

/// What the guest may send, and what it may send beside its own.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The rules on what the guest may send: all, none, or all but those named, by the names of their drops.
    #[arg(long, value_name = "on|off|-RULE", value_delimiter = ',', allow_hyphen_values = true, default_value = "on")]
    pub guard: Vec<GuardWord>,
    /// Addresses that the guest may use beside its own, as for keepalived.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = prefix)]
    pub allow_address: Vec<IpNet>,
    /// MACs that the guest may use beside its own (VRRP: 00:00:5e:00:01:VRID).
    #[arg(long, value_name = "MAC", value_delimiter = ',')]
    pub allow_mac: Vec<Mac>,
    /// VLANs that the guest may send to; without numbers all of them.
    #[arg(long, value_name = "ID", value_delimiter = ',', num_args = 0.., require_equals = true,
          value_parser = clap::value_parser!(u16).range(0..=4094))]
    pub allow_vlan: Option<Vec<u16>>,
    /// Let LLDP pass.
    #[arg(long)]
    pub allow_lldp: bool,
    /// Protocols that the guest may send beside IPv4, IPv6, ARP and RARP.
    #[arg(long, value_name = "0xTYPE", value_delimiter = ',')]
    pub allow_ethertype: Vec<EtherType>,
}

impl GuardArgs {
    /// The same, for the library.
    pub fn request(&self) -> crate::Result<GuardRequest> {
        let vlans = match self.allow_vlan.as_deref() {
            None => Vlans::None,
            Some([]) => Vlans::All,
            Some(ids) => Vlans::Ids(ids.iter().copied().collect()),
        };
        let allowed = Allowed {
            addresses: self.allow_address.clone(),
            macs: self.allow_mac.clone(),
            vlans,
            lldp: self.allow_lldp,
            ether_types: self.allow_ethertype.clone(),
        };
        GuardRequest::new(&self.guard, allowed)
    }
}

/// A prefix, or an address as the prefix of itself.
fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    prefix.map_err(|_| "not an address or a prefix such as 10.1.2.0/24".to_owned())
}

/// The verbs of a lease.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Change the lease of a binding, in one step; what is not named stays as it is.
    Set(Box<LeaseSet>),
}

/// What can be changed of a lease.
#[derive(Debug, Args)]
pub struct LeaseSet {
    /// Which binding.
    #[command(flatten)]
    pub binding: Existing,
    /// The guest's address with its prefix.
    #[arg(long, value_name = "IP/PREFIX", value_parser = values::address)]
    pub address: Option<Ipv4Net>,
    /// The guest's routes, in place of all it has: "DESTINATION via GATEWAY", DESTINATION for one on the link, or "none".
    #[arg(long, value_name = "ROUTE", value_delimiter = ',', value_parser = or_none(LeaseRoute::from_str))]
    pub route: Vec<Setting<LeaseRoute>>,
    /// The guest's MAC: the pod NIC's, the one that it shows next, or this one.
    #[arg(long, value_name = "nic|learn|MAC")]
    pub guest_mac: Option<GuestMac>,
    /// What the guest is told.
    #[command(flatten)]
    pub lease: LeaseArgs,
}

impl LeaseSet {
    /// The same, for the library, and what of resolv.conf is of no use.
    pub fn change(&self) -> crate::Result<(LeaseChange, Vec<String>)> {
        let (mut options, mut warnings) = (self.lease.options()?, Vec::new());
        if let Some(path) = &self.lease.resolv_conf {
            let (resolv, useless) = Resolv::find(&NetnsSpec::Current, Some(path))?;
            let (dns, search) = (Setting::list(resolv.nameservers), Setting::list(resolv.search));
            options = options.merged_over(&LeaseOptions { dns, search, ..LeaseOptions::default() });
            warnings = useless;
        }
        let routes = list("route", &self.route, Ok)?;
        Ok((LeaseChange { options, address: self.address, routes, guest_mac: self.guest_mac }, warnings))
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

/// A binding that exists, or all of them.
#[derive(Debug, Args)]
#[group(id = "bindings", required = true, multiple = false, args = ["name", "name_flag", "all"])]
pub struct ExistingOrAll {
    /// Name of the binding.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The same, as an option.
    #[arg(long = "name", value_name = "NAME", id = "name_flag")]
    name_flag: Option<String>,
    /// Every binding, one after the other.
    #[arg(long)]
    all: bool,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

impl ExistingOrAll {
    /// The name, in whichever way it was given; `None` for all.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or(self.name_flag.as_deref())
    }
}

/// A parser that also takes the word that takes an option away.
fn or_none<T: 'static>(
    parse: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Setting<T>, String> + Clone + Send + Sync {
    move |text| if text == NONE { Ok(Setting::Cleared) } else { parse(text).map(Setting::Given) }
}

fn private_option(text: &str) -> Result<PrivateOption, String> {
    let (code, value) = text.split_once('=').ok_or_else(|| "not CODE=VALUE".to_owned())?;
    values::private_option(code, value)
}

/// The values of a flag that makes a list, as one.
fn list<T: Clone>(
    flag: &str,
    given: &[Setting<T>],
    check: fn(Vec<T>) -> Result<Vec<T>, String>,
) -> crate::Result<Setting<Vec<T>>> {
    let wrong = |why: String| Error::new(format!("use --{flag}"), why);
    let mut items = Vec::new();
    for setting in given {
        match setting {
            Setting::Given(item) => items.push(item.clone()),
            _ if given.len() > 1 => {
                let why = format!("\"{NONE}\" stands beside other values");
                return Err(
                    wrong(why).with_hint(format!("--{flag} {NONE} takes the option away; leave it or them out"))
                );
            }
            _ => return Ok(Setting::Cleared),
        }
    }
    if items.is_empty() {
        return Ok(Setting::AsIs);
    }
    let hint = "give each value once, and no more than an option holds";
    check(items).map(Setting::Given).map_err(|why| wrong(why).with_hint(hint))
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
    fn one_binding_is_upgraded_or_all() {
        for wrong in [["upgrade"].as_slice(), &["upgrade", "a", "--all"], &["upgrade", "--name", "a", "--all"]] {
            assert!(Cli::try_parse_from([&["tapwire"], wrong].concat()).is_err(), "{wrong:?}");
        }
        for (right, name) in [(["upgrade", "a"].as_slice(), Some("a")), (&["upgrade", "--all"], None)] {
            let Command::Upgrade(which) = Cli::parse_from([&["tapwire"], right].concat()).command else { panic!() };
            assert_eq!(which.name(), name);
        }
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
}
