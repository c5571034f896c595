//! The command line.

mod guard;
mod lease;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    guard::GuardArgs,
    lease::{LeaseArgs, LeaseCommand, LeaseSet},
};
use crate::{
    guard::policy,
    guest_mac::GuestMac,
    netns::NetnsSpec,
    portal::ToGuest,
    request::{AttachRequest, DhcpMode, TapOwner},
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

    /// Where the CNI's configuration is.
    #[arg(long, global = true, hide = true, env = "TAPWIRE_CNI_CONF", default_value = "/etc/cni/net.d")]
    pub cni: PathBuf,
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

impl Command {
    /// Where the operator says that the node's namespace of a binding that exists is.
    pub fn node_netns(&self) -> Option<NetnsSpec> {
        match self {
            Self::Detach(existing) | Self::Show(existing) => existing.node_netns.clone(),
            Self::Upgrade(which) | Self::Repair(which) => which.node_netns.clone(),
            Self::Lease(LeaseCommand::Set(arguments)) => arguments.binding.node_netns.clone(),
            Self::List(output) => output.node_netns.clone(),
            // It makes a binding, or looks at none.
            Self::Attach(_) | Self::Discover(_) | Self::Check(_) => None,
        }
    }
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
#[derive(Clone, Debug, Args)]
pub struct ListOutput {
    /// The namespace of the host sides, if it cannot be found from here by itself.
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub node_netns: Option<NetnsSpec>,
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
    /// How frames reach the guest.
    #[arg(long, value_enum, default_value_t)]
    pub to_guest: ToGuest,
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
            to_guest: self.to_guest,
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
    /// The namespace of the host side, if it cannot be found from here by itself.
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub node_netns: Option<NetnsSpec>,
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
    /// The namespace of the host side, if it cannot be found from here by itself.
    #[arg(long, value_name = "NAME|PATH|pid:N|self")]
    pub node_netns: Option<NetnsSpec>,
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
