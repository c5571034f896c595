//! Rtnetlink in one network namespace.
//!
//! A netlink socket belongs to the namespace of the thread that opened it, for good; who uses it later does not matter.
//! So the socket is opened on a thread that entered the namespace, and the verbs work from any task.
//!
//! Two sockets are held: rtnetlink's, which writes links, and one for messages as bytes ([`raw`]), which reads everything
//! and writes what the journal remembers. Both keep the namespace alive; dropping the [`Netlink`] closes them.

use std::{net::IpAddr, os::fd::AsRawFd as _};

use binding_common::MacAddr;
use nix::errno::Errno;
use rtnetlink::{LinkMessageBuilder, LinkUnspec, proto::ConnectionHandle, sys::protocols::NETLINK_ROUTE};
use tokio::task::JoinHandle;

mod make;
pub mod raw;
pub(crate) mod rtm;
pub mod tc;
#[cfg(test)]
mod tests;

use raw::{NlError, RawMessage, i32_of};

use crate::{
    Context as _, Error, Result,
    facts::{Address, Neighbour, Route},
    netns::Netns,
    nic::{Link, Nic},
};

/// An open connection to the kernel's rtnetlink in one namespace.
#[derive(Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    raw: ConnectionHandle<RawMessage>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Netlink {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Netlink {
    /// Opens the connection in `netns`. The caller must be inside a tokio runtime, which drives the connection.
    pub fn open(netns: &Netns) -> Result<Self> {
        let what = || format!("open rtnetlink in {}", netns.path().display());
        let runtime = tokio::runtime::Handle::try_current().context(what)?;
        let ((typed, handle), (mut bytes, raw)) = netns.run(|| {
            // The sockets register with the reactor of the runtime that this thread has entered.
            let _entered = runtime.enter();
            let (typed, handle, _) = rtnetlink::new_connection().context(what)?;
            let (bytes, raw, _) = rtnetlink::proto::new_connection::<RawMessage>(NETLINK_ROUTE).context(what)?;
            Ok(((typed, handle), (bytes, raw)))
        })?;
        bytes.set_forward_ack(true);
        bytes.set_forward_done(true);
        Ok(Self { handle, raw, tasks: [runtime.spawn(typed), runtime.spawn(bytes)] })
    }

    /// Sends one message that changes something, with these `NLM_F_…` besides `NLM_F_REQUEST` and `NLM_F_ACK`.
    pub async fn change(&self, message: RawMessage, flags: u16) -> Result<(), NlError> {
        raw::change(&self.raw, message, flags).await
    }

    /// Asks one question that has one answer.
    pub async fn ask(&self, message: RawMessage) -> Result<RawMessage, NlError> {
        let mut answers = raw::request(&self.raw, message, 0).await?;
        answers.pop().ok_or(NlError::Broken("the kernel gave no answer"))
    }

    /// Asks for everything of a sort.
    pub async fn dump(&self, message: RawMessage) -> Result<Vec<RawMessage>, NlError> {
        raw::dump(&self.raw, message).await
    }

    /// All links of the namespace.
    pub async fn nics(&self) -> Result<Vec<Nic>> {
        let links = self.dump(rtm::get_link(0, None)).await.context(|| "list the links")?;
        Ok(links.iter().filter_map(Link::parse).map(|link| link.nic).collect())
    }

    /// The link of that name, or `None`.
    pub async fn nic(&self, name: &str) -> Result<Option<Nic>> {
        Ok(self.link(name).await?.map(|link| link.nic))
    }

    /// The link of that index, or `None`.
    pub async fn nic_by_index(&self, ifindex: u32) -> Result<Option<Nic>> {
        let found = self.get_link(rtm::get_link(ifindex, None), &format!("of index {ifindex}")).await?;
        Ok(found.map(|link| link.nic))
    }

    /// The link of that name with what is particular to its kind.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<Link>> {
        // The kernel says ERANGE or EINVAL to a name that no link can have (15 bytes).
        if name.is_empty() || name.len() > 15 {
            return Ok(None);
        }
        self.get_link(rtm::get_link(0, Some(name)), name).await
    }

    async fn get_link(&self, question: RawMessage, object: &str) -> Result<Option<Link>> {
        match self.ask(question).await {
            Ok(answer) => Ok(Link::parse(&answer)),
            Err(NlError::Kernel(Errno::ENODEV)) => Ok(None),
            Err(error) => Err(Error::new(format!("look up the link {object}"), error)),
        }
    }

    /// Sets the link up.
    pub async fn set_up(&self, ifindex: u32) -> Result<()> {
        self.set(ifindex, "set up", LinkMessageBuilder::up).await
    }

    /// Sets the link down.
    pub async fn set_down(&self, ifindex: u32) -> Result<()> {
        self.set(ifindex, "set down", LinkMessageBuilder::down).await
    }

    /// Gives the link another MAC.
    pub async fn set_mac(&self, ifindex: u32, mac: MacAddr) -> Result<()> {
        self.set(ifindex, &format!("set the MAC {mac} of"), |link| link.address(mac.0.to_vec())).await
    }

    /// Sets the link's MTU, in bytes of what the Ethernet header carries.
    pub async fn set_mtu(&self, ifindex: u32, mtu: u32) -> Result<()> {
        self.set(ifindex, &format!("set the MTU {mtu} of"), |link| link.mtu(mtu)).await
    }

    /// Gives the link another name; it must be down, on kernels before 6.2.
    pub async fn set_name(&self, ifindex: u32, name: &str) -> Result<()> {
        self.set(ifindex, &format!("give the name {name} to"), |link| link.name(name.to_owned())).await
    }

    /// Sets or clears ARP on the link (the flag that the kernel has is `IFF_NOARP`).
    pub async fn set_arp(&self, ifindex: u32, on: bool) -> Result<()> {
        self.set(ifindex, if on { "turn ARP on for" } else { "turn ARP off for" }, |link| link.arp(on)).await
    }

    /// Deletes the link. One that is gone already is fine.
    pub async fn delete_link(&self, ifindex: u32) -> Result<()> {
        match self.handle.link().del(ifindex).execute().await.map_err(NlError::from) {
            Err(NlError::Kernel(Errno::ENODEV)) | Ok(()) => Ok(()),
            Err(error) => Err(Error::new(format!("delete the link of index {ifindex}"), error)),
        }
    }

    async fn set(
        &self,
        ifindex: u32,
        verb: &str,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<()> {
        let message = change(LinkUnspec::new_with_index(ifindex)).build();
        let done = self.handle.link().set(message).execute().await.map_err(NlError::from);
        done.context(|| format!("{verb} the link of index {ifindex}"))
    }

    /// Addresses of both families of one link, in the kernel's order, as `RTM_NEWADDR` messages.
    pub async fn addresses(&self, ifindex: u32) -> Result<Vec<RawMessage>> {
        let all = self.dump(rtm::get_addresses()).await.context(|| "list the addresses")?;
        Ok(all.into_iter().filter(|message| rtm::address_ifindex(message) == ifindex).collect())
    }

    /// Routes of both families and of all tables but `local` which leave by that link, alone or as one of several, in
    /// the kernel's order, as `RTM_NEWROUTE` messages.
    pub async fn routes(&self, ifindex: u32) -> Result<Vec<RawMessage>> {
        let all = self.all_routes().await?;
        Ok(all.into_iter().filter(|message| rtm::route_leaves_by(message, ifindex)).collect())
    }

    /// Routes of both families and of all tables but `local`, as `RTM_NEWROUTE` messages.
    pub async fn all_routes(&self) -> Result<Vec<RawMessage>> {
        let mut routes = self.dump_families(rtm::get_routes, "list the routes").await?;
        routes.retain(|message| rtm::route_table(message) != rtm::RT_TABLE_LOCAL && !rtm::route_is_cloned(message));
        Ok(routes)
    }

    /// Routing rules of both families, in the order in which they are asked, as `RTM_NEWRULE` messages; none where the
    /// kernel has but one table.
    pub async fn rules(&self) -> Result<Vec<RawMessage>> {
        self.dump_families(rtm::get_rules, "list the routing rules").await
    }

    /// Asks for everything of a sort, of each family that the kernel has.
    async fn dump_families(&self, question: fn(u8) -> RawMessage, what: &str) -> Result<Vec<RawMessage>> {
        let mut all = Vec::new();
        for family in [rtm::AF_INET, rtm::AF_INET6] {
            match self.dump(question(family)).await {
                Ok(found) => all.extend(found),
                // It is compiled out.
                Err(NlError::Kernel(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT)) => {}
                Err(error) => return Err(Error::new(what, error)),
            }
        }
        Ok(all)
    }

    /// Permanent neighbours of both families of one link, as `RTM_NEWNEIGH` messages.
    pub async fn neighbours(&self, ifindex: u32) -> Result<Vec<RawMessage>> {
        let mut neighbours = Vec::new();
        for family in [rtm::AF_INET, rtm::AF_INET6] {
            let all = self.dump(rtm::get_neighbours(family)).await.context(|| "list the neighbours")?;
            neighbours.extend(
                all.into_iter().filter(|message| {
                    message.header::<1>()[0] == family && rtm::is_permanent_neighbour(message, ifindex)
                }),
            );
        }
        Ok(neighbours)
    }

    /// The MAC of a neighbour by one link, whether it is permanent or was asked for; `None` when none is known.
    pub async fn neighbour_mac(&self, ifindex: u32, address: IpAddr) -> Result<Option<MacAddr>> {
        let all = self.dump(rtm::get_neighbours(rtm::AF_INET)).await.context(|| "list the neighbours")?;
        let of_link = all.iter().filter(|message| rtm::neighbour_ifindex(message) == ifindex);
        let found = of_link.filter_map(Neighbour::parse).find(|neighbour| neighbour.address == address);
        Ok(found.map(|neighbour| neighbour.mac).filter(|mac| *mac != MacAddr::ZERO))
    }

    /// Adds an address, a route or a neighbour (an `RTM_NEW…` message), with these `NLM_F_…`. One that is there already
    /// is fine.
    pub async fn add(&self, message: &RawMessage, flags: u16) -> Result<()> {
        match self.change(message.clone(), flags).await {
            Ok(()) | Err(NlError::Kernel(Errno::EEXIST)) => Ok(()),
            Err(error) => Err(Error::new(format!("add {}", describe(message)), error)),
        }
    }

    /// Deletes an address, a route or a neighbour, given by the `RTM_NEW…` message that tells of it. One that is gone
    /// already is fine: the kernel takes secondary addresses along with the first, and routes along with their address.
    pub async fn delete(&self, message: &RawMessage) -> Result<()> {
        // In rtnetlink every RTM_DEL… is the number after its RTM_NEW….
        let kind = message.kind | 1;
        match self.change(RawMessage { kind, payload: message.payload.clone() }, 0).await {
            Ok(()) | Err(NlError::Kernel(Errno::EADDRNOTAVAIL | Errno::ESRCH | Errno::ENOENT)) => Ok(()),
            Err(error) => Err(Error::new(format!("delete {}", describe(message)), error)),
        }
    }

    /// The id that this namespace has for `other` (`RTM_GETNSID`), as in `IFLA_LINK_NETNSID`; `None` when it has none.
    pub async fn nsid(&self, other: &Netns) -> Result<Option<i32>> {
        use std::os::fd::AsFd as _;
        let fd = other.as_fd().as_raw_fd();
        let what = || format!("ask for the id of the namespace {}", other.path().display());
        let answer = self.ask(rtm::get_nsid(fd)).await.context(what)?;
        let id = answer.attribute(rtm::NSID_HEADER, rtm::NETNSA_NSID).and_then(i32_of);
        Ok(id.filter(|id| *id >= 0))
    }
}

/// An address, a route or a neighbour, for an error.
pub(crate) fn describe(message: &RawMessage) -> String {
    let text = match message.kind {
        rtm::RTM_NEWADDR => Address::parse(message).map(|address| format!("the address {}", address.address)),
        rtm::RTM_NEWROUTE => Route::parse(message).map(|route| {
            let via = route.via.map_or_else(String::new, |via| format!(" via {via}"));
            let table =
                if route.table == rtm::RT_TABLE_MAIN { String::new() } else { format!(" table {}", route.table) };
            format!("the route {}{via}{table}", route.dst)
        }),
        rtm::RTM_NEWNEIGH => Neighbour::parse(message).map(|neighbour| format!("the neighbour {}", neighbour.address)),
        _ => None,
    };
    text.unwrap_or_else(|| format!("what message {} tells of", message.kind))
}
