//! Gives a NIC back what the snapshot says.
//!
//! The order matters. The link goes down first, which empties its routes and neighbours, so that there is one starting
//! point whatever happened before. It comes up before anything is added, for the kernel accepts no route by a link that
//! is down. Then the kernel adds things of its own (a link-local address, a route to each prefix), some of which the CNI
//! may have deleted, as ptp and Azure do: so the end is a comparison with the snapshot, and what is too much goes.

use std::time::Duration;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use tokio::time::{Instant, sleep};

use super::{Snapshot, drop_addresses, normal};
use crate::{
    Error, Result,
    netlink::{Netlink, describe, raw::RawMessage, rtm},
    netns::Netns,
    nic::Nic,
    sysctl::{self, ACCEPT_DAD, DISABLE_IPV6},
};

/// How long to wait for the kernel's own workers. They take microseconds; a second may pass on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// Makes a message comparable.
type Comparable = fn(&RawMessage) -> RawMessage;

/// Everything that the journal may have to delete or add again.
struct Found {
    addresses: Vec<RawMessage>,
    routes: Vec<RawMessage>,
    neighbours: Vec<RawMessage>,
}

impl Snapshot {
    /// Gives the NIC back its MAC, flags, addresses, routes and neighbours, from whatever half-way state it is in. It does
    /// all that it can, and reports every failure and every difference that is left. Where nothing differs, nothing is
    /// touched. The runtime must have its timer enabled.
    pub async fn restore(&self, netlink: &Netlink, netns: &Netns) -> Result<()> {
        let nic = self.identify(netlink).await?;
        if self.differences(netlink, netns).await?.is_empty() {
            return Ok(());
        }
        let mut errors = Vec::new();
        self.restore_link(netlink, netns, &nic, &mut errors).await;
        self.restore_addresses(netlink, &mut errors).await;
        if let Some(value) = self.accept_dad {
            errors.extend(sysctl::write_ipv6(netns, &nic.name, ACCEPT_DAD, value).err());
        }
        // Once before the routes are added, so that none of the kernel's stands in the way of one of ours.
        errors.extend(self.delete_surplus(netlink).await.err());
        self.restore_routes(netlink, &mut errors).await;
        for message in &self.neighbours {
            let flags = NLM_F_CREATE | NLM_F_REPLACE;
            errors.extend(netlink.add(&normal::neighbour(message), flags).await.err());
        }
        errors.extend(self.delete_surplus(netlink).await.err());
        match self.differences(netlink, netns).await {
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => {
                errors.push(Error::new(format!("give {} back what it had", nic.name), differences.join(", ")));
            }
            Err(error) => errors.push(error),
        }
        Error::join(errors)
    }

    /// Down, MAC, flags, sysctls, up.
    async fn restore_link(&self, netlink: &Netlink, netns: &Netns, nic: &Nic, errors: &mut Vec<Error>) {
        errors.extend(netlink.set_down(self.ifindex).await.err());
        if nic.mac != self.mac {
            errors.extend(netlink.set_mac(self.ifindex, self.mac).await.err());
        }
        errors.extend(netlink.set_arp(self.ifindex, self.arp).await.err());
        // Left-overs of an interrupted attempt: the kernel keeps IPv4 addresses over a link that goes down, and they have
        // to come back in their order.
        errors.extend(drop_addresses(netlink, self.ifindex).await.err());
        if self.accept_dad.is_some() {
            // The addresses were this pod's all the time; a second of detection would be a second without IPv6.
            errors.extend(sysctl::write_ipv6(netns, &nic.name, ACCEPT_DAD, 0).err());
        }
        if let Some(value) = self.disable_ipv6 {
            errors.extend(sysctl::write_ipv6(netns, &nic.name, DISABLE_IPV6, value).err());
        }
        if self.up {
            errors.extend(netlink.set_up(self.ifindex).await.err());
            errors.extend(self.wait_for_link(netlink).await.err());
        }
    }

    /// Waits until the stack knows that the link is up: only then does the kernel add its link-local address, and it
    /// would otherwise do so after we looked for what is too much. A link without a carrier has nothing to wait for.
    async fn wait_for_link(&self, netlink: &Netlink) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match netlink.nic_by_index(self.ifindex).await? {
                Some(nic) if nic.carrier && !nic.running => sleep(POLL).await,
                _ => break,
            }
        }
        // Without an answer in time the rest goes on: most of it does not depend on this.
        Ok(())
    }

    async fn restore_addresses(&self, netlink: &Netlink, errors: &mut Vec<Error>) {
        let family = |wanted: u8| self.addresses.iter().filter(move |message| message.header::<1>() == [wanted]);
        // The kernel appends IPv4 addresses, and puts an IPv6 one before those of its scope.
        let in_order = family(rtm::AF_INET).chain(family(rtm::AF_INET6).rev());
        for message in in_order {
            let message = normal::address_to_send(message);
            errors.extend(netlink.add(&message, NLM_F_CREATE | NLM_F_REPLACE).await.err());
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match netlink.addresses(self.ifindex).await {
                Ok(found) if found.iter().any(|address| rtm::address_flags(address) & rtm::IFA_F_TENTATIVE != 0) => {
                    sleep(POLL).await;
                }
                // A link without carrier keeps them tentative; that is no failure.
                _ => break,
            }
        }
    }

    /// Adds what is missing: routes without a gateway first. A gateway may itself be reached by another route that comes
    /// later, so what fails is tried again as long as anything succeeds.
    async fn restore_routes(&self, netlink: &Netlink, errors: &mut Vec<Error>) {
        let mut missing = match netlink.routes(self.ifindex).await {
            Ok(found) => normal::surplus(&self.routes, &found, normal::route_to_compare),
            Err(error) => return errors.push(error),
        };
        missing.sort_by_key(|route| normal::has_gateway(route));
        loop {
            let before = missing.len();
            let (mut failed, mut failures) = (Vec::new(), Vec::new());
            for route in missing {
                let message = normal::route_to_send(route);
                if let Err(error) = netlink.add(&message, NLM_F_CREATE | NLM_F_APPEND).await {
                    failed.push(route);
                    failures.push(error);
                }
            }
            if failed.is_empty() || failed.len() == before {
                return errors.append(&mut failures);
            }
            missing = failed;
        }
    }

    async fn found(&self, netlink: &Netlink) -> Result<Found> {
        Ok(Found {
            addresses: netlink.addresses(self.ifindex).await?,
            routes: netlink.routes(self.ifindex).await?,
            neighbours: netlink.neighbours(self.ifindex).await?,
        })
    }

    /// Deletes what the NIC has and the snapshot has not. Addresses first: some routes go with them.
    async fn delete_surplus(&self, netlink: &Netlink) -> Result<()> {
        let mut errors = Vec::new();
        let addresses = netlink.addresses(self.ifindex).await?;
        for message in normal::surplus(&addresses, &self.addresses, normal::address_to_compare) {
            errors.extend(netlink.delete(message).await.err());
        }
        let Found { routes, neighbours, .. } = self.found(netlink).await?;
        for message in normal::surplus(&routes, &self.routes, normal::route_to_compare) {
            errors.extend(netlink.delete(&normal::route_to_send(message)).await.err());
        }
        for message in normal::surplus(&neighbours, &self.neighbours, normal::neighbour) {
            errors.extend(netlink.delete(&normal::neighbour(message)).await.err());
        }
        Error::join(errors)
    }

    /// How the NIC differs from the snapshot, each difference in words; empty when it has everything back.
    pub async fn differences(&self, netlink: &Netlink, netns: &Netns) -> Result<Vec<String>> {
        let nic = self.identify(netlink).await?;
        let mut differences = Vec::new();
        let mut differ = |differs: bool, text: String| {
            if differs {
                differences.push(text);
            }
        };
        differ(nic.mac != self.mac, format!("the MAC is {}, was {}", nic.mac, self.mac));
        differ(nic.up != self.up, format!("the link is {}", if nic.up { "up" } else { "down" }));
        differ(nic.arp != self.arp, format!("ARP is {}", if nic.arp { "on" } else { "off" }));
        for (name, was) in [(DISABLE_IPV6, self.disable_ipv6), (ACCEPT_DAD, self.accept_dad)] {
            let is = sysctl::read_ipv6(netns, &nic.name, name)?;
            differ(is != was, format!("{name} is {}", is.map_or_else(|| "absent".to_owned(), |is| is.to_string())));
        }
        let Found { addresses, routes, neighbours } = self.found(netlink).await?;
        let lists: [(_, _, Comparable); 3] = [
            (addresses, &self.addresses, normal::address_to_compare),
            (routes, &self.routes, normal::route_to_compare),
            (neighbours, &self.neighbours, normal::neighbour),
        ];
        for (found, wanted, comparable) in lists {
            for message in normal::surplus(wanted, &found, comparable) {
                differ(true, format!("{} is missing", describe(message)));
            }
            for message in normal::surplus(&found, wanted, comparable) {
                differ(true, format!("{} is new", describe(message)));
            }
        }
        Ok(differences)
    }
}
