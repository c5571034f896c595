//! What the guest may send, on the command line.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;

use crate::guard::{Allowed, EtherType, GuardRequest, GuardWord, Mac, Vlans};

/// What the guest may send, and what it may send beside its own.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The rules on what the guest may send: all, none, or all but those named, by the names of their drops.
    #[arg(long, value_name = "on|off|-RULE", value_delimiter = ',', allow_hyphen_values = true, default_value = "on")]
    pub guard: Vec<GuardWord>,
    /// Addresses that the guest may use beside its own, as for keepalived.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = prefix)]
    pub allow_address: Vec<IpNet>,
    /// MACs that the guest may use beside its own (VRRP: 00:00:5e:00:01:VRID).
    #[arg(long, value_name = "MAC", value_delimiter = ',')]
    pub allow_mac: Vec<Mac>,
    /// VLANs that the guest may send to; without numbers all of them.
    #[arg(long, value_name = "ID", value_delimiter = ',', num_args = 0.., require_equals = true,
          value_parser = clap::value_parser!(u16).range(0..=4094))]
    pub allow_vlan: Option<Vec<u16>>,
    /// Let LLDP pass.
    #[arg(long)]
    pub allow_lldp: bool,
    /// Protocols that the guest may send beside IPv4, IPv6, ARP and RARP.
    #[arg(long, value_name = "0xTYPE", value_delimiter = ',')]
    pub allow_ethertype: Vec<EtherType>,
}

impl GuardArgs {
    /// The same, for the library.
    pub fn request(&self) -> crate::Result<GuardRequest> {
        let vlans = match self.allow_vlan.as_deref() {
            None => Vlans::None,
            Some([]) => Vlans::All,
            Some(ids) => Vlans::Ids(ids.iter().copied().collect()),
        };
        let allowed = Allowed {
            addresses: self.allow_address.clone(),
            macs: self.allow_mac.clone(),
            vlans,
            lldp: self.allow_lldp,
            ether_types: self.allow_ethertype.clone(),
        };
        GuardRequest::new(&self.guard, allowed)
    }
}

/// A prefix, or an address as the prefix of itself.
fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    prefix.map_err(|_| "not an address or a prefix such as 10.1.2.0/24".to_owned())
}
