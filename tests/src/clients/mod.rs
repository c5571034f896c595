//! Real DHCP clients, as Debian ships them, in a guest namespace.
//!
//! Each runs its own, unchanged script, so that what a test looks at is what a user's guest would have: addresses,
//! routes, MTU and resolv.conf as the script applied them. A wrapper around the script only notes the event and the
//! variables that the client passed. Parallel clients and the machine itself are kept apart by a mount and a host name
//! namespace of each client's own (see `jail`).

mod dhclient;
mod dhcpcd;
mod jail;
mod lease;
mod udhcpc;

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use anyhow::{Result, bail};

pub use self::lease::LeaseSeen;
use self::{jail::Jail, lease::Event};
use crate::{
    cmd::Running,
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
}

impl ClientKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Udhcpc, Self::Dhclient, Self::Dhcpcd];

    fn program(self) -> &'static dyn Program {
        match self {
            Self::Udhcpc => &udhcpc::Udhcpc,
            Self::Dhclient => &dhclient::Dhclient,
            Self::Dhcpcd => &dhcpcd::Dhcpcd,
        }
    }
}

/// What differs between the clients.
trait Program: Sync {
    /// The script that the client runs by default.
    fn script(&self) -> &'static str;
    /// Paths that the client writes to and that must be its own.
    fn private_folders(&self) -> &'static [&'static str];
    /// The command line, in the foreground; files of our own go in the jail's folder.
    fn command(&self, jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>>;
    /// What the script was told, in one form for all.
    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen;
    /// Makes a running client renew at once, by unicast.
    fn renew(&self, client: &DhcpClient<'_>) -> Result<()>;
    /// Makes a running client rebind, by broadcast.
    fn rebind(&self, client: &DhcpClient<'_>) -> Result<()>;
    /// Makes a running client give the lease back.
    fn release(&self, client: &DhcpClient<'_>) -> Result<()>;
}

/// What a test may want of a client beyond its defaults.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Further arguments, before the interface's name.
    pub arguments: Vec<String>,
    /// For dhclient, which renews only by the clock: seconds until it renews, and until it rebinds.
    pub times: Option<(u32, u32)>,
}

/// A DHCP client on the NIC of a guest namespace; it is killed when this is dropped, and keeps what it configured.
#[derive(Debug)]
pub struct DhcpClient<'a> {
    namespace: &'a Namespace,
    kind: ClientKind,
    jail: Jail,
    process: Running,
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
        let jail = Jail::new(program.script(), program.private_folders())?;
        let line = program.command(&jail, GUEST_NIC, &options)?;
        let process = jail.spawn(namespace, &line)?;
        Ok(Self { namespace, kind, jail, process, options })
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

    /// The events that the client's script was called for, in order: `bound`, `RENEW`, `REBOOT` and so on.
    pub fn events(&self) -> Result<Vec<String>> {
        Ok(self.jail.events()?.into_iter().map(|event| event.reason).collect())
    }

    /// What the client printed.
    pub fn log(&self) -> Result<String> {
        self.jail.log()
    }

    fn leases(&self) -> Result<usize> {
        Ok(self.jail.events()?.iter().filter(|event| event.is_lease()).count())
    }

    fn next_lease(&mut self, what: &str, before: usize, deadline: Duration) -> Result<LeaseSeen> {
        let what = format!("{what} of {:?}", self.kind);
        let found = wait_for(&what, deadline, || {
            let event = self.jail.events()?.into_iter().filter(Event::is_lease).nth(before);
            if event.is_none()
                && let Some(status) = self.process.ended()?
            {
                bail!("the client has ended ({status})");
            }
            Ok(event)
        });
        let event = match found {
            Ok(event) => event,
            Err(error) => bail!("{error:#}; events {:?}; the client said:\n{}", self.events()?, self.log()?),
        };
        let mut lease = self.kind.program().lease(&event.told);
        lease.reason = event.reason;
        lease.told = event.told;
        lease.look(self.namespace, GUEST_NIC, &self.jail)?;
        Ok(lease)
    }

    /// Runs a command as if beside the client: in its namespaces, with its folders.
    fn beside(&self, line: &[&str]) -> Result<String> {
        let pid = self.process.pid().to_string();
        let mut words = vec!["nsenter", "--target", &pid, "--mount", "--uts"];
        words.extend_from_slice(line);
        self.namespace.exec(&words)
    }

    /// Makes unicast to the lease's server fail while `work` runs, so that a client that would renew has to broadcast.
    fn without_unicast<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let server = self.server()?.to_string();
        // It does not stop a socket that is bound to the NIC: for those the kernel takes every address to be on the link.
        let route = format!("{server}/32");
        self.namespace.ip(&["route", "add", "prohibit", &route])?;
        let result = work();
        self.namespace.ip(&["route", "del", "prohibit", &route])?;
        result
    }

    fn server(&self) -> Result<Ipv4Addr> {
        let last = self.jail.events()?.into_iter().rfind(Event::is_lease);
        match last.and_then(|event| self.kind.program().lease(&event.told).server_id) {
            Some(server) => Ok(server),
            None => bail!("the client has no lease with a server id yet"),
        }
    }
}
