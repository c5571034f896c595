//! Real DHCP clients, as Debian ships them, in a guest namespace.
//!
//! Each runs unchanged, with its own script where it has one, so that what a test looks at is what a user's guest would
//! have: addresses, routes, MTU and resolv.conf as the client applied them. What a client was told is read where it
//! tells it: in the variables of its script, in its state files, in its log. Parallel clients and the machine itself are
//! kept apart by a mount and a host name namespace of each client's own (see `jail`). One file for each client.

mod dhclient;
mod dhcpcd;
mod ipconfig;
mod jail;
mod lease;
mod network_manager;
mod networkd;
mod script;
mod udhcpc;

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, bail};

pub use self::lease::LeaseSeen;
use self::{
    jail::{Inmates, Jail, Needs},
    lease::Event,
};
use crate::{
    guest::GUEST_NIC,
    netns::Namespace,
    wait::{wait_for, wait_until},
};

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Busybox's, of the package `udhcpc`.
    Udhcpc,
    /// ISC's, of the package `isc-dhcp-client`.
    Dhclient,
    /// Roy Marples', of the package `dhcpcd-base`.
    Dhcpcd,
    /// systemd's, of the package `systemd`.
    Networkd,
    /// `NetworkManager` with its own client, n-dhcp4; of the package `network-manager`.
    NetworkManager,
    /// The one of an initramfs, of the package `klibc-utils`: it takes a lease and ends.
    Ipconfig,
}

impl ClientKind {
    fn program(self) -> &'static dyn Program {
        match self {
            Self::Udhcpc => &udhcpc::Udhcpc,
            Self::Dhclient => &dhclient::Dhclient,
            Self::Dhcpcd => &dhcpcd::Dhcpcd,
            Self::Networkd => &networkd::Networkd,
            Self::NetworkManager => &network_manager::NetworkManager,
            Self::Ipconfig => &ipconfig::Ipconfig,
        }
    }
}

/// Longest wait for a client to rebind by the clock; with most it is minutes, so tests give them short leases.
const CLOCK: Duration = Duration::from_mins(1);

/// What differs between the clients.
trait Program: Sync {
    /// What it needs around it.
    fn needs(&self) -> Needs;
    /// Leaves it what it would have kept of an old lease with this address.
    fn remember(&self, _namespace: &Namespace, _jail: &Jail, _address: Ipv4Addr) -> Result<()> {
        bail!("this client keeps no lease that we could write")
    }
    /// The command line, in the foreground; files of our own go in the jail's folder.
    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>>;
    /// What it has told of itself so far, in order.
    fn events(&self, jail: &Jail) -> Result<Vec<Event>>;
    /// What it told of its lease, in one form for all.
    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen;
    /// Makes a running client renew by unicast; one that goes by the clock needs nothing.
    fn renew(&self, client: &DhcpClient<'_>) -> Result<()> {
        bail!("{:?} does not renew", client.kind)
    }
    /// Makes a running client rebind, by broadcast.
    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()> {
        bail!("{:?} does not rebind", client.kind)
    }
    /// Makes a running client give the lease back.
    fn release(&self, client: &DhcpClient<'_>) -> Result<()> {
        bail!("{:?} does not release", client.kind)
    }
}

/// What a test may want of a client beyond its defaults.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Further arguments, before the interface's name.
    pub arguments: Vec<String>,
    /// For dhclient, which renews only by the clock: seconds until it renews, and until it rebinds.
    pub times: Option<(u32, u32)>,
    /// The address of a lease that the client is to remember from before.
    pub remembers: Option<Ipv4Addr>,
}

/// A DHCP client on the NIC of a guest namespace; it is killed when this is dropped, and keeps what it configured.
#[derive(Debug)]
pub struct DhcpClient<'a> {
    namespace: &'a Namespace,
    kind: ClientKind,
    jail: Jail,
    inmates: Inmates,
    options: ClientOptions,
}

impl<'a> DhcpClient<'a> {
    /// Starts a client in a guest namespace.
    pub fn start(namespace: &'a Namespace, kind: ClientKind) -> Result<Self> {
        Self::start_with(namespace, kind, ClientOptions::default())
    }

    /// [`start`](Self::start) with options.
    pub fn start_with(namespace: &'a Namespace, kind: ClientKind, options: ClientOptions) -> Result<Self> {
        let program = kind.program();
        let jail = Jail::new(program.needs())?;
        if let Some(address) = options.remembers {
            program.remember(namespace, &jail, address)?;
        }
        let line = program.command(&jail, GUEST_NIC, &options)?;
        let inmates = jail.spawn(namespace, &line)?;
        Ok(Self { namespace, kind, jail, inmates, options })
    }

    /// Starts a client and waits for its lease: the common case.
    pub fn acquire_on(namespace: &'a Namespace, kind: ClientKind) -> Result<(Self, LeaseSeen)> {
        let mut client = Self::start(namespace, kind)?;
        let lease = client.acquire(Duration::from_secs(20))?;
        Ok((client, lease))
    }

    /// Waits for the lease, and for its address on the NIC.
    pub fn acquire(&mut self, deadline: Duration) -> Result<LeaseSeen> {
        self.next_lease("a lease", 0, deadline)
    }

    /// Renews by unicast, and gives the lease as confirmed.
    pub fn renew(&mut self, deadline: Duration) -> Result<LeaseSeen> {
        let before = self.leases()?;
        self.kind.program().renew(self)?;
        self.next_lease("a renewed lease", before, deadline)
    }

    /// Rebinds by broadcast, and gives the lease as confirmed.
    pub fn rebind(&mut self, deadline: Duration) -> Result<LeaseSeen> {
        let before = self.leases()?;
        self.kind.program().rebind(self)?;
        self.next_lease("a rebound lease", before, deadline)
    }

    /// Gives the lease back, and waits until the address is gone.
    pub fn release(&mut self, deadline: Duration) -> Result<()> {
        self.kind.program().release(self)?;
        wait_until("the address to go", deadline, || {
            Ok(!self.namespace.ip(&["-4", "-br", "addr", "show", "dev", GUEST_NIC])?.contains('.'))
        })
    }

    /// What happened to the client, in its own words and in order: `bound`, `RENEW`, `REBOOT` and so on.
    pub fn events(&self) -> Result<Vec<String>> {
        Ok(self.noted()?.into_iter().map(|event| event.reason).collect())
    }

    /// What the client printed.
    pub fn log(&self) -> Result<String> {
        self.jail.log()
    }

    fn noted(&self) -> Result<Vec<Event>> {
        self.kind.program().events(&self.jail)
    }

    fn leases(&self) -> Result<usize> {
        Ok(self.noted()?.iter().filter(|event| event.is_lease).count())
    }

    fn next_lease(&mut self, what: &str, before: usize, deadline: Duration) -> Result<LeaseSeen> {
        let what = format!("{what} of {:?}", self.kind);
        match wait_for(&what, deadline, || self.lease_in_use(before)) {
            Ok(mut lease) => {
                lease.look(self.namespace, GUEST_NIC, &self.jail)?;
                Ok(lease)
            }
            Err(error) => bail!("{error:#}; events {:?}; the client said:\n{}", self.events()?, self.log()?),
        }
    }

    /// The lease after the first `before` ones, once its address is on the NIC.
    fn lease_in_use(&mut self, before: usize) -> Result<Option<LeaseSeen>> {
        // Looked at first: a client that ends when it has its lease has told of it by then.
        let ended = self.inmates.client.ended()?;
        let Some(event) = self.noted()?.into_iter().filter(|event| event.is_lease).nth(before) else {
            return ended.map_or(Ok(None), |status| bail!("the client has ended ({status})"));
        };
        let mut lease = self.kind.program().lease(&event.told);
        lease.reason = event.reason;
        lease.told = event.told;
        Ok(lease.is_on(self.namespace, GUEST_NIC)?.then_some(lease))
    }

    /// Runs a command as if beside the client: in its namespaces, with its folders.
    fn beside(&self, line: &[&str]) -> Result<String> {
        let pid = self.inmates.client.pid().to_string();
        let mut words = vec!["nsenter", "--target", &pid, "--mount", "--uts"];
        words.extend_from_slice(line);
        self.namespace.exec(&words)
    }

    /// Waits until a client that acts by the clock alone has rebound; it notes a lease with what it had asked before.
    fn rebind_by_the_clock(&self, by_broadcast: impl Fn(&str) -> bool) -> Result<()> {
        let rebound = || -> Result<usize> {
            Ok(self.noted()?.iter().filter(|event| event.is_lease && by_broadcast(&event.reason)).count())
        };
        self.without_unicast(|| {
            let before = rebound()?;
            let rebinds = wait_until(&format!("{:?} to rebind", self.kind), CLOCK, || Ok(rebound()? > before));
            rebinds.with_context(|| self.log().unwrap_or_default())
        })
    }

    /// Loses what the client sends to its server by unicast while `work` runs, so that it has to broadcast.
    fn without_unicast<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let server = format!("{}/32", self.server()?);
        let matches = ["u32", "match", "ip", "dst", &server, "match", "ip", "dport", "67", "0xffff"];
        let filter = ["tc", "filter", "add", "dev", GUEST_NIC, "egress", "protocol", "ip"];
        self.namespace.exec(&["tc", "qdisc", "add", "dev", GUEST_NIC, "clsact"])?;
        // To where nobody takes it: not every kernel can plainly drop here.
        let lose = ["action", "mirred", "egress", "redirect", "dev", "lo"];
        self.namespace.exec(&[filter.as_slice(), &matches, &lose].concat())?;
        let result = work();
        self.namespace.exec(&["tc", "qdisc", "del", "dev", GUEST_NIC, "clsact"])?;
        result
    }

    fn server(&self) -> Result<Ipv4Addr> {
        let last = self.noted()?.into_iter().rfind(|event| event.is_lease);
        match last.and_then(|event| self.kind.program().lease(&event.told).server_id) {
            Some(server) => Ok(server),
            None => bail!("the client has no lease with a server id yet"),
        }
    }
}
