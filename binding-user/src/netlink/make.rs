//! Links and addresses that are made: what a trial of `check` needs for a pod of its own.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd as _, AsRawFd as _},
};

use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth},
};

use super::Netlink;
use crate::{
    error::{Context as _, Error, Result},
    netns::Netns,
};

impl Netlink {
    /// Makes a veth here whose other end is in another namespace, in one request; gives the index of the end here.
    pub(crate) async fn add_veth(&self, name: &str, peer: &str, peer_netns: &Netns) -> Result<u32> {
        let what = || format!("make the veth {name}");
        let fd = peer_netns.as_fd().as_raw_fd();
        let other = LinkMessageBuilder::<LinkUnspec>::new().name(peer).setns_by_fd(fd).build();
        let message = LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(other))).build();
        self.handle.link().add(message).execute().await.context(what)?;
        let made = self.nic(name).await?;
        made.map(|nic| nic.ifindex).ok_or_else(|| Error::new(what(), "it vanished as soon as it was made"))
    }

    /// Adds an address.
    pub(crate) async fn add_address(&self, ifindex: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let added = self.handle.address().add(ifindex, IpAddr::V4(address), prefix).execute().await;
        added.context(|| format!("add the address {address}/{prefix}"))
    }
}
