//! A network interface as netlink tells of it.
//!
//! Read from the message's bytes, not from the output of `ip` (which need not be installed, and whose text changes) and
//! not by a typed parser (which fails as a whole at one attribute that it does not know).

use binding_common::MacAddr;
use serde::{Deserialize, Serialize};

use crate::netlink::{
    raw::{Attributes, RawMessage, i32_of, text_of, u32_of},
    rtm::{LINK_HEADER, RTM_NEWLINK},
};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_NETKIT_MODE: u16 = 5;
const NETKIT_L3: u32 = 1;

const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 1 << 7;
const IFF_LOWER_UP: u32 = 1 << 16;

/// What [`Nic::kind`] is for a device that has no `IFLA_INFO_KIND`: a physical one, or a virtual function.
pub const DEVICE: &str = "device";

/// A network interface.
#[expect(clippy::struct_excessive_bools, reason = "the kernel's flags are independent of each other")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its number, unique in its namespace while it lives.
    pub ifindex: u32,
    /// `IFLA_INFO_KIND` (`veth`, `macvlan`, `tun`, `netkit`, …), or [`DEVICE`].
    pub kind: String,
    /// Zero for a device without Ethernet header.
    #[serde(with = "crate::mac")]
    pub mac: MacAddr,
    /// In bytes of what the Ethernet header carries.
    pub mtu: u32,
    /// `IFF_UP`: it is switched on.
    pub up: bool,
    /// `IFF_LOWER_UP`: there is a carrier.
    pub carrier: bool,
    /// `IFLA_OPERSTATE` is up or unknown: the stack uses it. It follows `up` and `carrier` a moment later.
    pub running: bool,
    /// `IFF_NOARP` is not set.
    pub arp: bool,
    /// The ifindex of the bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// `IFLA_LINK`: of a veth its other end, of a macvlan its lower device; an ifindex in `link_netnsid`, if that is set.
    pub link: Option<u32>,
    /// `IFLA_LINK_NETNSID`: the namespace of `link` when it is another one.
    pub link_netnsid: Option<i32>,
    /// An XDP program is attached, of whatever mode.
    pub xdp: bool,
    /// It is a netkit in L3 mode: no Ethernet header, nothing to join to a tap.
    pub netkit_l3: bool,
    /// Number of transmit queues.
    pub queues: u32,
}

/// A NIC and what is particular to its kind.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) nic: Nic,
    /// The value of `IFLA_INFO_DATA`.
    pub(crate) data: Vec<u8>,
}

impl Link {
    /// Reads `RTM_NEWLINK`; `None` for any other message.
    pub(crate) fn parse(message: &RawMessage) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let header = message.header::<LINK_HEADER>();
        let mut nic = Nic::new(u32_of(&header[4..])?, u32_of(&header[8..])?);
        let mut data = Vec::new();
        for (kind, value) in message.attributes(LINK_HEADER) {
            match kind {
                IFLA_ADDRESS => nic.mac = value.try_into().map_or(MacAddr::ZERO, MacAddr),
                IFLA_IFNAME => nic.name = text_of(value),
                IFLA_MTU => nic.mtu = u32_of(value)?,
                // Zero means that there was one and it cannot be seen.
                IFLA_LINK => nic.link = u32_of(value).filter(|index| *index != 0),
                IFLA_MASTER => nic.master = u32_of(value),
                // IF_OPER_UNKNOWN and IF_OPER_UP; see netif_oper_up().
                IFLA_OPERSTATE => nic.running = matches!(value, [0 | 6]),
                IFLA_LINKINFO => data = nic.read_info(value),
                IFLA_NUM_TX_QUEUES => nic.queues = u32_of(value)?,
                IFLA_LINK_NETNSID => nic.link_netnsid = i32_of(value).filter(|id| *id >= 0),
                IFLA_XDP => {
                    nic.xdp = Attributes::new(value).any(|(kind, value)| kind == IFLA_XDP_ATTACHED && value != [0]);
                }
                _ => {}
            }
        }
        Some(Self { nic, data })
    }
}

impl Nic {
    /// What the fixed header tells, and what holds for the rest unless an attribute says otherwise.
    fn new(ifindex: u32, flags: u32) -> Self {
        Self {
            name: String::new(),
            ifindex,
            kind: DEVICE.to_owned(),
            mac: MacAddr::ZERO,
            mtu: 0,
            up: flags & IFF_UP != 0,
            carrier: flags & IFF_LOWER_UP != 0,
            running: false,
            arp: flags & IFF_NOARP == 0,
            master: None,
            link: None,
            link_netnsid: None,
            xdp: false,
            netkit_l3: false,
            queues: 1,
        }
    }

    /// Reads `IFLA_LINKINFO` and gives back `IFLA_INFO_DATA`.
    fn read_info(&mut self, info: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        for (kind, value) in Attributes::new(info) {
            match kind {
                IFLA_INFO_KIND => self.kind = text_of(value),
                IFLA_INFO_DATA => data = value.to_vec(),
                _ => {}
            }
        }
        self.netkit_l3 = self.kind == "netkit"
            && Attributes::new(&data).any(|(kind, value)| kind == IFLA_NETKIT_MODE && u32_of(value) == Some(NETKIT_L3));
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> RawMessage {
        let mut header = [0; LINK_HEADER];
        header[4] = 3;
        header[8..12].copy_from_slice(&(IFF_UP | IFF_NOARP).to_ne_bytes());
        RawMessage::new(RTM_NEWLINK, &header)
            .with(IFLA_IFNAME, b"eth0\0")
            .with(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1])
            .with(IFLA_MTU, &1450_u32.to_ne_bytes())
    }

    #[test]
    fn an_l3_netkit_is_known_by_its_mode() {
        for (mode, l3) in [(0_u32, false), (1, true)] {
            let data = RawMessage::new(0, &[]).with(IFLA_NETKIT_MODE, &mode.to_ne_bytes()).payload;
            let info = RawMessage::new(0, &[]).with(IFLA_INFO_KIND, b"netkit\0").with(IFLA_INFO_DATA, &data).payload;
            let nic = Link::parse(&message().with(IFLA_LINKINFO, &info)).unwrap().nic;
            assert_eq!((nic.kind.as_str(), nic.netkit_l3), ("netkit", l3));
        }
    }

    #[test]
    fn a_device_of_no_kind_is_a_device() {
        let nic = Link::parse(&message()).unwrap().nic;
        assert_eq!((nic.kind.as_str(), nic.ifindex, nic.mtu), (DEVICE, 3, 1450));
        assert!(nic.up && !nic.arp && !nic.xdp);
        assert_eq!(nic.mac, MacAddr([2, 0, 0, 0, 0, 1]));
    }
}
