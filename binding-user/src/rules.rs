//! Routing rules (`ip rule`): which tables beside `main` the pod's own traffic is looked up in.
//!
//! DHCP knows one table. A route in another one is of no interest while no rule leads there, and may be the one that the
//! pod lives by where one does: AWS gives each further NIC of a pod a table of its own, and a rule `from ADDRESS lookup N`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    facts::ip,
    netlink::{
        raw::{RawMessage, text_of, u32_of},
        rtm,
    },
};

/// Attributes that leave a rule as wide as its source and NIC make it.
const PLAIN: [u16; 10] = [
    rtm::FRA_SRC,
    rtm::FRA_IIFNAME,
    rtm::FRA_OIFNAME,
    rtm::FRA_PRIORITY,
    rtm::FRA_TABLE,
    rtm::FRA_GOTO,
    rtm::FRA_FLOW,
    rtm::FRA_SUPPRESS_PREFIXLEN,
    rtm::FRA_PAD,
    rtm::FRA_PROTOCOL,
];

/// What a rule does (`FR_ACT_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Looks in a table.
    Lookup(u32),
    /// Refuses what it selects: blackhole, unreachable or prohibit.
    Refuse,
    /// Nothing by itself.
    Other,
}

/// How much of the traffic of an address a rule selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Nothing of it.
    Nothing,
    /// What has a mark, a destination, a port, or what else rules ask for.
    Some,
    /// All of it.
    All,
}

/// A routing rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It is for IPv6.
    pub ipv6: bool,
    /// Lower ones are asked first.
    pub priority: u32,
    /// What it does.
    pub action: Action,
    source: Option<IpNet>,
    iif: Option<String>,
    oif: Option<String>,
    /// It asks for more than the source and the NIC, or for their contrary.
    narrow: bool,
}

impl Rule {
    /// Reads `RTM_NEWRULE`; `None` where it makes no sense.
    pub fn parse(message: &RawMessage) -> Option<Self> {
        let [family, _, source_len, tos, table, _, _, action, f0, f1, f2, f3] =
            message.header::<{ rtm::RULE_HEADER }>();
        let attribute = |kind| message.attribute(rtm::RULE_HEADER, kind);
        let number = |kind| attribute(kind).and_then(u32_of);
        // Whatever else is there, of this kernel or the next, makes the rule select less.
        let asks_for_more = message.attributes(rtm::RULE_HEADER).any(|(kind, _)| !PLAIN.contains(&kind));
        // "No suppression" is told too, as -1.
        let suppresses = number(rtm::FRA_SUPPRESS_PREFIXLEN).is_some_and(|len| len != u32::MAX);
        let inverted = u32::from_ne_bytes([f0, f1, f2, f3]) & rtm::FIB_RULE_INVERT != 0;
        Some(Self {
            ipv6: match family {
                rtm::AF_INET => false,
                rtm::AF_INET6 => true,
                _ => return None,
            },
            priority: number(rtm::FRA_PRIORITY).unwrap_or(0),
            action: match action {
                // The table is that of the device that the NIC is a port of, and such a NIC is refused.
                _ if attribute(rtm::FRA_L3MDEV).is_some() => Action::Other,
                1 => Action::Lookup(number(rtm::FRA_TABLE).unwrap_or_else(|| table.into())),
                6..=8 => Action::Refuse,
                _ => Action::Other,
            },
            source: match attribute(rtm::FRA_SRC) {
                Some(_) if inverted => None,
                Some(source) => Some(IpNet::new(ip(family, source)?, source_len).ok()?),
                None => None,
            },
            iif: attribute(rtm::FRA_IIFNAME).map(text_of),
            oif: attribute(rtm::FRA_OIFNAME).map(text_of),
            narrow: tos != 0 || inverted || suppresses || asks_for_more,
        })
    }

    /// How much it selects of what the pod itself sends from one of these addresses by the NIC.
    pub fn share(&self, nic: &str, addresses: &[IpAddr]) -> Share {
        let foreign_source =
            self.source.is_some_and(|source| !addresses.iter().any(|address| source.contains(address)));
        // What the pod itself sends comes in by lo.
        let foreign_iif = self.iif.as_deref().is_some_and(|iif| iif != "lo");
        let foreign_oif = self.oif.as_deref().is_some_and(|oif| oif != nic);
        match (foreign_source || foreign_iif || foreign_oif, self.narrow) {
            (true, _) => Share::Nothing,
            (_, true) => Share::Some,
            _ => Share::All,
        }
    }

    /// Whether it is one of those that every namespace has, or leads where they lead.
    pub fn is_ordinary(&self) -> bool {
        matches!(
            self.action,
            Action::Lookup(rtm::RT_TABLE_LOCAL | rtm::RT_TABLE_MAIN | rtm::RT_TABLE_DEFAULT) | Action::Other
        )
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const OWN: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), IpAddr::V6(Ipv6Addr::LOCALHOST)];

    /// `from SOURCE lookup 77`, for IPv4.
    fn from(source: [u8; 4], source_len: u8, flags: u32) -> RawMessage {
        let mut header = [0; rtm::RULE_HEADER];
        header[..8].copy_from_slice(&[rtm::AF_INET, 0, source_len, 0, 77, 0, 0, 1]);
        header[8..].copy_from_slice(&flags.to_ne_bytes());
        RawMessage::new(rtm::RTM_NEWRULE, &header)
            .with(rtm::FRA_SRC, &source)
            .with(rtm::FRA_PRIORITY, &100_u32.to_ne_bytes())
            .with(rtm::FRA_SUPPRESS_PREFIXLEN, &u32::MAX.to_ne_bytes())
    }

    #[test]
    fn a_rule_selects_by_the_source_that_the_nic_has() {
        let own = Rule::parse(&from([10, 0, 0, 5], 32, 0)).unwrap();
        assert_eq!((own.priority, own.action, own.share("eth0", &OWN)), (100, Action::Lookup(77), Share::All));
        let other = Rule::parse(&from([10, 0, 0, 6], 32, 0)).unwrap();
        assert_eq!(other.share("eth0", &OWN), Share::Nothing);
        let of_the_net = Rule::parse(&from([10, 0, 0, 0], 24, 0)).unwrap();
        assert_eq!(of_the_net.share("eth0", &OWN), Share::All);
    }

    #[test]
    fn what_asks_for_more_selects_some() {
        let own = || from([10, 0, 0, 5], 32, 0);
        let marked = Rule::parse(&own().with(rtm::FRA_FWMARK, &7_u32.to_ne_bytes())).unwrap();
        assert_eq!(marked.share("eth0", &OWN), Share::Some);
        let not_from = Rule::parse(&from([10, 0, 0, 6], 32, rtm::FIB_RULE_INVERT)).unwrap();
        assert_eq!(not_from.share("eth0", &OWN), Share::Some);
        for (kind, nic, share) in [
            (rtm::FRA_IIFNAME, "net1", Share::Nothing),
            (rtm::FRA_IIFNAME, "lo", Share::All),
            (rtm::FRA_OIFNAME, "net1", Share::Nothing),
            (rtm::FRA_OIFNAME, "eth0", Share::All),
        ] {
            let rule = Rule::parse(&own().with(kind, &[nic.as_bytes(), b"\0"].concat())).unwrap();
            assert_eq!(rule.share("eth0", &OWN), share, "{kind} {nic}");
        }
    }

    #[test]
    fn a_table_beyond_eight_bits_is_in_the_attribute() {
        let rule = Rule::parse(&from([10, 0, 0, 5], 32, 0).with(rtm::FRA_TABLE, &1000_u32.to_ne_bytes())).unwrap();
        assert_eq!(rule.action, Action::Lookup(1000));
        assert!(!rule.is_ordinary());
    }
}
