//! What `discover` prints: the facts, and the lease that follows from them.

use serde::Serialize;

use crate::{
    cli::Discover,
    dhcp::Replies,
    discover::discover,
    error::Result,
    facts::Facts,
    lease::{self, Lease},
    netlink::Netlink,
    netns::Netns,
    nic::Nic,
    snapshot::Snapshot,
    wire::MacMode,
};

/// The lease and the NIC facts that attach would use.
#[derive(Clone, Debug, Serialize)]
pub struct Discovery {
    /// Version of this layout.
    pub version: u32,
    /// What the guest would be told; `null` when the NIC has no IPv4 address.
    pub lease: Option<Lease>,
    /// What it was made of.
    #[serde(flatten)]
    pub facts: Facts,
}

impl Discovery {
    /// Looks, and changes nothing.
    pub async fn make(arguments: &Discover) -> Result<Self> {
        let netns = Netns::open(&arguments.netns)?;
        let resolv_conf = arguments.lease.resolv_conf.as_deref();
        let mut facts = discover(&arguments.netns, &netns, &arguments.nic, resolv_conf).await?;
        let lease = Lease::from_facts(&facts, &arguments.lease.options()?.for_pod(&arguments.netns))?;
        if let Some(lease) = &lease {
            let warnings = lease::warnings(&facts, lease);
            facts.warnings.extend(warnings);
            facts.warnings.extend(match Replies::new(lease) {
                Ok(replies) => replies.warnings(),
                Err(error) => vec![format!("attach would refuse this: {error}")],
            });
        }
        facts.warnings.extend(refused_by_attach(&netns, &facts.nic).await?);
        Ok(Self { version: 1, lease, facts })
    }

    /// All of it, for people.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |label: &str, text: String| lines.push(format!("{label:<12}{text}"));
        let Facts { nic, addresses, routes, neighbours, warnings, .. } = &self.facts;
        line("pod NIC", format!("{} ({}), MAC {}, MTU {}", nic.name, nic.kind, nic.mac, nic.mtu));
        for address in addresses {
            line("address", address.address.to_string());
        }
        for route in routes {
            let via = route.via.map_or("on the link".to_owned(), |via| format!("via {via}"));
            line("route", format!("{} {via}", route.dst));
        }
        for neighbour in neighbours {
            line("neighbour", format!("{} at {}", neighbour.address, neighbour.mac));
        }
        match &self.lease {
            Some(lease) => lease.describe(&mut line),
            None => line("lease", "none: the NIC has no IPv4 address, so attach would make a pure wire".to_owned()),
        }
        for warning in warnings {
            line("warning", warning.clone());
        }
        lines.join("\n")
    }
}

/// What keeps attach from giving the NIC back at the end, which it refuses in the MAC mode that it takes by itself.
async fn refused_by_attach(netns: &Netns, nic: &Nic) -> Result<Option<String>> {
    if MacMode::Auto.decide(nic)? != MacMode::Swap {
        return Ok(None);
    }
    let refused = Snapshot::take(&Netlink::open(netns)?, netns, nic.ifindex).await.err();
    Ok(refused.map(|error| format!("attach would refuse without {}: {error}", error.hint().unwrap_or("a change"))))
}
