//! Finds what is not as the record says of a portal, and what has come that it would pass over.

use super::{HOST_OUT, Node, PortalRecord, ToGuest, cni, decide::Ground};
use crate::{
    datapath::{hook::is_ours, tcx},
    error::Result,
    inspect::{Fault, Scene},
    journal::Journal,
    netlink::Netlink,
    netns::Netns,
    nic::Nic,
    peer::{HostSide, find_host_side},
    sysctl::{self, DISABLE_IPV6},
};

/// Names of the programs of others on the ingress of the pod NIC.
pub(crate) async fn on_ingress(netlink: &Netlink, netns: &Netns, nic: &Nic) -> Result<Vec<String>> {
    let tc = netlink.tc(nic.ifindex).await?;
    let mut names = netns.run(|| tcx::names(&nic.name, aya::programs::TcAttachType::Ingress))?;
    names.extend(tc.ingress.iter().map(|filter| filter.name().to_owned()));
    names.retain(|name| !is_ours(name));
    Ok(names)
}

impl Scene<'_> {
    /// Looks at the portal of a binding whose pod NIC and tap are there; `host_side` is that NIC's.
    pub(crate) async fn look_at_portal(
        &self,
        [nic, tap]: [&Nic; 2],
        host_side: &HostSide,
        faults: &mut Vec<Fault>,
    ) -> Result<()> {
        let Some(record) = self.journal.portal.as_ref().filter(|portal| !portal.leaving) else { return Ok(()) };
        if let Some(why) = self.against(nic, host_side).await? {
            faults.push(Fault::Withdraw(why));
            return Ok(());
        }
        let node = match Node::of(self.environment, self.journal) {
            Ok(Some(node)) => node,
            Ok(None) => return Ok(()),
            Err(error) => {
                faults.push(Fault::NodeUnseen(error));
                return Ok(());
            }
        };
        self.look_at_device(&node, record, tap, faults).await?;
        let hook = self.journal.hooks.iter().find(|hook| hook.program == HOST_OUT);
        let host_side = node.host_side(self.journal, self.netns).await?;
        match (hook, host_side) {
            (Some(hook), Some(found)) if node.is_in_place(hook, &found).await? => {}
            (Some(hook), _) => faults.push(Fault::Missing(hook.clone())),
            (None, _) => {}
        }
        Ok(())
    }

    /// Why `auto` would not take the portal any more, or why there can be none.
    async fn against(&self, nic: &Nic, host_side: &HostSide) -> Result<Option<String>> {
        let foreign = match self.journal.request.to_guest {
            ToGuest::Auto => on_ingress(&self.netlink, self.netns, nic).await?,
            _ => Vec::new(),
        };
        let cni = cni::find(&self.environment.bpffs, &self.environment.cni);
        let ground = Ground { nic, host_side, foreign: &foreign, cni };
        Ok(match self.journal.request.to_guest {
            ToGuest::Auto => ground.impossible().or_else(|| ground.passed_over()),
            _ => ground.impossible(),
        })
    }

    async fn look_at_device(
        &self,
        node: &Node,
        record: &PortalRecord,
        tap: &Nic,
        faults: &mut Vec<Fault>,
    ) -> Result<()> {
        let name = &record.name;
        let Some(found) = node.portal(record).await? else {
            faults.push(Fault::PortalGone(format!("the portal {name} is gone")));
            return Ok(());
        };
        if record.ifindex != Some(found.ifindex) || found.link != self.journal.tap.ifindex {
            faults
                .push(Fault::PortalGone(format!("the portal {name} is another device than the one that was attached")));
            return Ok(());
        }
        let mut noise = Vec::new();
        if found.name != *name {
            noise.push(format!("is called {}", found.name));
        }
        if !found.up {
            noise.push("is down".to_owned());
        }
        if found.arp {
            noise.push("does ARP".to_owned());
        }
        if sysctl::read_ipv6(&node.netns, &found.name, DISABLE_IPV6)?.is_some_and(|value| value != 1) {
            noise.push("has IPv6 on".to_owned());
        }
        if sysctl::forwards(&node.netns, &found.name)? {
            noise.push("has forwarding on".to_owned());
        }
        // It follows the tap's downwards by itself; a tap that has not its own is a fault of the tap.
        if found.mtu != tap.mtu && tap.mtu == self.journal.tap.mtu {
            noise.push(format!("has the MTU {}, the tap {}", found.mtu, tap.mtu));
        }
        faults.extend(noise.into_iter().map(|what| Fault::PortalNoise(format!("the portal {name} {what}"))));
        for hook in self.journal.hooks.iter().filter(|hook| hook.device == *name && hook.is_in_node()) {
            if !node.is_in_place(hook, &found).await? {
                faults.push(Fault::Missing(hook.clone()));
            }
        }
        Ok(())
    }

    /// The host side of the pod NIC, where somebody wants to know of it.
    pub(crate) async fn host_side(&self, nic: &Nic) -> Result<Option<HostSide>> {
        let Journal { node, request, .. } = self.journal;
        let node = match (node, &request.node_netns) {
            (Some(node), _) => node.open(self.environment.node_netns.as_ref()),
            (None, Some(spec)) => Netns::open(spec),
            (None, None) => Netns::current(),
        };
        // A node's namespace that cannot be found now says nothing of the host side.
        match node {
            Ok(node) => find_host_side(nic, self.netns, &node).await.map(Some),
            Err(_) => Ok(None),
        }
    }
}
