//! Links and addresses that are made: portals, and what a trial of `check` needs for a pod of its own.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd as _, AsRawFd as _},
};

use binding_common::MacAddr;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth},
};

use super::{
    Netlink,
    raw::{NlError, RawMessage, push_attribute},
    rtm::{self, LINK_HEADER, RTM_NEWLINK},
};
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

    /// Makes a macvlan of a link here, directly in another namespace, in one request: down, without ARP, in a mode that takes
    /// no frames (`source` with an empty list; drivers/net/macvlan.c).
    pub(crate) async fn add_portal(&self, name: &str, mac: MacAddr, lower: u32, netns: &Netns) -> Result<()> {
        let mut header = [0; LINK_HEADER];
        // The flags, and which of them are meant.
        header[8..12].copy_from_slice(&rtm::IFF_NOARP.to_ne_bytes());
        header[12..16].copy_from_slice(&rtm::IFF_NOARP.to_ne_bytes());
        let (mut data, mut info) = (Vec::new(), Vec::new());
        push_attribute(&mut data, rtm::IFLA_MACVLAN_MODE, &rtm::MACVLAN_MODE_SOURCE.to_ne_bytes());
        push_attribute(&mut info, rtm::IFLA_INFO_KIND, b"macvlan\0");
        push_attribute(&mut info, rtm::IFLA_INFO_DATA, &data);
        let message = RawMessage::new(RTM_NEWLINK, &header)
            .with(rtm::IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat())
            .with(rtm::IFLA_ADDRESS, &mac.0)
            .with(rtm::IFLA_LINK, &lower.to_ne_bytes())
            .with(rtm::IFLA_NET_NS_FD, &netns.as_fd().as_raw_fd().to_ne_bytes())
            .with(rtm::IFLA_LINKINFO, &info);
        match self.change(message, NLM_F_CREATE | NLM_F_EXCL).await {
            Err(NlError::Kernel(Errno::EOPNOTSUPP)) => {
                Err(Error::new(format!("make the portal {name}"), "this kernel makes no macvlan")
                    .with_hint("load the module macvlan"))
            }
            other => other.context(|| format!("make the portal {name}")),
        }
    }

    /// Adds an address.
    pub(crate) async fn add_address(&self, ifindex: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let added = self.handle.address().add(ifindex, IpAddr::V4(address), prefix).execute().await;
        added.context(|| format!("add the address {address}/{prefix}"))
    }
}
