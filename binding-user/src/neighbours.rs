//! What the ARP responder tells the guest: the MACs of addresses that the network does not answer for.

use std::net::{IpAddr, Ipv4Addr};

use binding_common::{
    MacAddr,
    arp::{MAX_NEIGHBOURS, answers},
    dhcp::SERVER_MAC,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    facts::{Address, Facts},
    lease::Lease,
    netlink::Netlink,
    netns::Netns,
    peer::HostSide,
};

/// An address that is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseNeighbour {
    /// The address; `None` is every other one but the lease's own.
    pub address: Option<Ipv4Addr>,
    /// The MAC that it is said to have.
    #[serde(with = "crate::mac")]
    pub mac: MacAddr,
}

/// One place of the table is the server's.
const MAX_PERMANENT: usize = MAX_NEIGHBOURS as usize - 1;

/// The pod's permanent neighbours: the CNI wrote them down because nobody answers for them (AWS).
pub fn permanent(facts: &Facts, lease: Ipv4Addr) -> Vec<LeaseNeighbour> {
    told(facts, lease).take(MAX_PERMANENT).collect()
}

/// What is said of those for which there is no place in the table.
pub fn warning(facts: &Facts, lease: Ipv4Addr) -> Option<String> {
    let count = told(facts, lease).count();
    (count > MAX_PERMANENT)
        .then(|| format!("the pod has {count} permanent neighbours; the guest finds the first {MAX_PERMANENT} of them"))
}

fn told(facts: &Facts, lease: Ipv4Addr) -> impl Iterator<Item = LeaseNeighbour> {
    facts.neighbours.iter().filter_map(move |neighbour| match neighbour.address {
        IpAddr::V4(address) if address != lease && !neighbour.mac.is_group() && neighbour.mac != MacAddr::ZERO => {
            Some(LeaseNeighbour { address: Some(address), mac: neighbour.mac })
        }
        _ => None,
    })
}

/// The MAC of the gateway as far as the node knows it: what the pod's neighbour table says; or that of the host side where
/// it is the gateway itself; or that of the bridge which has the address and the host side for a port.
pub async fn find_gateway(
    netlink: &Netlink,
    nic: u32,
    host_side: &HostSide,
    node: &Netns,
    gateway: Ipv4Addr,
) -> Result<Option<MacAddr>> {
    if let Some(mac) = netlink.neighbour_mac(nic, gateway.into()).await? {
        return Ok(Some(mac));
    }
    let HostSide::Seen { nic: end, .. } = host_side else { return Ok(None) };
    let Some(bridge) = end.master else { return Ok(Some(end.mac)) };
    let netlink = Netlink::open(node)?;
    let addresses = netlink.addresses(bridge).await?;
    let is_gateway = addresses.iter().filter_map(Address::parse).any(|found| found.address.addr() == gateway);
    if !is_gateway {
        return Ok(None);
    }
    Ok(netlink.nic_by_index(bridge).await?.map(|bridge| bridge.mac))
}

/// Every other address, at the MAC of the gateway.
pub fn every_other(gateway: Option<Ipv4Addr>, mac: Option<MacAddr>) -> Result<LeaseNeighbour> {
    let what = "answer all ARP requests";
    let Some(gateway) = gateway else {
        return Err(Error::new(what, "the pod has no gateway").with_hint("leave out --arp-reply-all"));
    };
    let mac = mac.ok_or_else(|| {
        Error::new(what, format!("the MAC of the gateway {gateway} is not known"))
            .with_hint("ping the gateway from the pod before, so that its neighbour table has it")
    })?;
    Ok(LeaseNeighbour { address: None, mac })
}

/// What the programs are given: the table, and what they do for an address that it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArpTable {
    /// Addresses and their MACs.
    pub entries: Vec<(Ipv4Addr, MacAddr)>,
    /// The MAC of every other address.
    pub others: Option<MacAddr>,
    /// The MAC of the server, for a client whose address was lost.
    pub server: MacAddr,
}

impl ArpTable {
    /// Of a lease: its neighbours, and the server identifier where that is nobody's address.
    pub fn of(lease: &Lease, server: MacAddr) -> Self {
        let mut table = Self { server, ..Self::default() };
        for LeaseNeighbour { address, mac } in &lease.neighbours {
            match address {
                Some(address) => table.entries.push((*address, *mac)),
                None => table.others = Some(*mac),
            }
        }
        if lease.answers_for_server() {
            table.entries.push((lease.server_id, SERVER_MAC));
        }
        table
    }

    /// The MAC that is answered for addresses which the table lacks.
    pub fn gateway(&self) -> MacAddr {
        self.others.unwrap_or(self.server)
    }

    /// One of [`answers`].
    pub fn answers(&self) -> u32 {
        match (self.others, self.entries.as_slice()) {
            (Some(_), _) => answers::ALL,
            (None, []) => answers::NONE,
            (None, _) => answers::TABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::Neighbour,
        lab::{HOST_SIDE, Lab},
        lease::tests::{facts, lease},
        peer::find_host_side,
    };

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    #[test]
    fn a_lease_with_a_gateway_and_no_neighbour_has_nothing_to_answer() {
        let table = ArpTable::of(&lease("10.244.1.5/24", &[("0.0.0.0/0", "10.244.1.1"), ("10.244.1.0/24", "")]), MAC);
        assert_eq!((table.answers(), table.entries.len()), (answers::NONE, 0));
    }

    #[test]
    fn neighbours_beyond_the_table_are_told_of() {
        let mut facts = facts("10.244.1.5/24", &[]);
        let own = Ipv4Addr::new(10, 244, 1, 5);
        let neighbour = |n: u8| Neighbour { address: Ipv4Addr::new(10, 244, 1, n).into(), mac: MAC };
        // The pod's own address is not the guest's to ask for.
        facts.neighbours = (0..128).map(neighbour).collect();
        assert_eq!((permanent(&facts, own).len(), warning(&facts, own)), (127, None));
        facts.neighbours.push(neighbour(128));
        assert_eq!(permanent(&facts, own).len(), 127);
        assert!(warning(&facts, own).unwrap().starts_with("the pod has 128 permanent neighbours"));
    }

    #[tokio::test]
    async fn the_gateway_is_a_known_neighbour_or_the_host_side_or_its_bridge() {
        let Some(lab) = Lab::new() else { return };
        let (pod, node, netlink) = (lab.pod.open(), lab.node.open(), lab.netlink());
        let nic = netlink.nic("eth0").await.unwrap().unwrap();
        let gateway = Ipv4Addr::new(10, 244, 1, 1);
        let found = async || {
            let host_side = find_host_side(&nic, &pod, &node).await.unwrap();
            find_gateway(&netlink, nic.ifindex, &host_side, &node, gateway).await.unwrap()
        };
        let mac = async |name| Netlink::open(&node).unwrap().nic(name).await.unwrap().map(|nic| nic.mac);
        assert_eq!(found().await, mac(HOST_SIDE).await);
        lab.node.ip("link add br0 address 02:00:00:00:00:0b type bridge");
        lab.node.ip(&format!("link set {HOST_SIDE} master br0"));
        assert_eq!(found().await, None, "it is somewhere behind the bridge");
        lab.node.ip("addr add 10.244.1.1/24 dev br0");
        assert_eq!(found().await, Some(MacAddr([2, 0, 0, 0, 0, 0x0b])));
        lab.pod.ip("neigh replace 10.244.1.1 lladdr 02:00:00:00:00:0c dev eth0");
        assert_eq!(found().await, Some(MacAddr([2, 0, 0, 0, 0, 0x0c])));
    }

    #[test]
    fn the_stand_in_for_a_gateway_is_in_the_table() {
        let table = ArpTable::of(&lease("10.244.1.5/24", &[("10.244.1.0/24", "")]), MAC);
        assert_eq!(table.entries, [(Ipv4Addr::new(169, 254, 75, 10), SERVER_MAC)]);
        assert_eq!(table.answers(), answers::TABLE);
    }

    #[test]
    fn neighbours_come_before_the_mac_of_every_other_address() {
        let mut lease = lease("20.0.49.215/32", &[("0.0.0.0/0", "169.254.1.1"), ("169.254.1.1/32", "")]);
        let gateway = Ipv4Addr::new(169, 254, 1, 1);
        lease.neighbours = vec![
            LeaseNeighbour { address: Some(gateway), mac: MAC },
            LeaseNeighbour { address: None, mac: SERVER_MAC },
        ];
        let table = ArpTable::of(&lease, MAC);
        assert_eq!((table.entries.as_slice(), table.others), ([(gateway, MAC)].as_slice(), Some(SERVER_MAC)));
        assert_eq!(table.answers(), answers::ALL);
    }
}
