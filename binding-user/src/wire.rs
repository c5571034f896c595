//! How the frames of a binding go: which hooks, by peer or by redirect, and which MAC the NIC keeps. Decided once, at
//! attach, and recorded with the reason.

use binding_common::{MacAddr, dhcp::SERVER_MAC};
use serde::{Deserialize, Serialize};

use crate::{
    datapath::{Hook, HookKind, hook::Direction},
    error::{Error, Result},
    guest_mac::GuestMac,
    nic::Nic,
    peer::HostSide,
    portal::{ToGuest, decide::before_portals},
};

/// `--mac-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MacMode {
    /// `swap` on a veth, `keep` on everything else.
    #[default]
    Auto,
    /// The guest gets the NIC's MAC, the NIC a random one and no address.
    Swap,
    /// The NIC stays as it is, and is silenced.
    Keep,
}

/// `--to-network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ToNetwork {
    /// `peer` where nothing that the host side does to frames would be skipped, `redirect` else.
    #[default]
    Auto,
    /// `bpf_redirect_peer`: straight to the host side's ingress.
    Peer,
    /// `bpf_redirect`: out of the pod NIC.
    Redirect,
}

/// `--hook`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HookChoice {
    /// TCX where the kernel has it, clsact else.
    #[default]
    Auto,
    /// TCX, or fail.
    Tcx,
    /// clsact.
    Clsact,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// How the programs are attached.
    pub hook: HookKind,
    /// `peer` or `redirect`.
    pub to_network: ToNetwork,
    /// Why.
    pub to_network_why: String,
    /// `portal` or `redirect`.
    #[serde(default = "before_portals")]
    pub to_guest: ToGuest,
    /// Why.
    #[serde(default)]
    pub to_guest_why: String,
    /// `swap` or `keep`.
    pub mac_mode: MacMode,
    /// The guest's MAC.
    #[serde(default)]
    pub guest_mac: GuestMac,
    /// Where the guest is told that its server is, should it ask from an address that it has lost: at the gateway's MAC, or
    /// where that is not known, at a stand-in's.
    #[serde(default = "stand_in", with = "crate::mac")]
    pub server_mac: MacAddr,
}

/// What a record says that was written before it was looked for.
fn stand_in() -> MacAddr {
    SERVER_MAC
}

impl MacMode {
    /// What `auto` means for this NIC.
    pub fn decide(self, nic: &Nic) -> Result<Self> {
        Ok(match self {
            Self::Swap if matches!(nic.kind.as_str(), "macvlan" | "ipvlan") => {
                return Err(Error::new(
                    format!("swap the MAC of {}", nic.name),
                    format!("a {} takes frames for its own MAC only, and the guest's would be lost", nic.kind),
                )
                .with_hint("--mac-mode keep"));
            }
            // Devices such as a macvlan or an SR-IOV function take frames for their own MAC only, and that must stay the
            // one that the network knows.
            Self::Auto if nic.kind == "veth" => Self::Swap,
            Self::Auto => Self::Keep,
            chosen => chosen,
        })
    }
}

impl ToNetwork {
    /// What `auto` means for this NIC, and why; `peer` by name is refused where it would drop every frame.
    pub fn decide(self, nic: &Nic, host_side: &HostSide) -> Result<(Self, String)> {
        let why_not = obstacle(host_side);
        match (self, why_not) {
            (Self::Redirect, _) => Ok((Self::Redirect, "asked for".to_owned())),
            (Self::Auto, Some(why)) => Ok((Self::Redirect, why)),
            (Self::Auto, None) => {
                Ok((Self::Peer, "the host side is up, in another namespace, and carries no program".to_owned()))
            }
            (Self::Peer, _) if nic.kind != "veth" || nic.link_netnsid.is_none() => Err(Error::new(
                format!("send frames to the peer of {}", nic.name),
                "it is not a veth with its other end in another namespace, and the kernel would drop every frame",
            )
            .with_hint("--to-network redirect")),
            (Self::Peer, _) => Ok((Self::Peer, "asked for".to_owned())),
        }
    }
}

/// What has come to the host side that frames sent by peer would skip, or that may not work with it.
pub fn skipped(host_side: &HostSide) -> Option<String> {
    match host_side {
        HostSide::Seen { nic, .. } if nic.up => obstacle(host_side),
        _ => None,
    }
}

/// Why frames must not jump to the host side, if there is a reason.
fn obstacle(host_side: &HostSide) -> Option<String> {
    match host_side {
        HostSide::NotVeth => Some("the pod NIC is not a veth".to_owned()),
        HostSide::SameNamespace => Some("the other end of the veth is in the same namespace".to_owned()),
        HostSide::NotFound { why } => {
            Some(format!("the host side was not found ({why}); --node-netns tells where it is"))
        }
        HostSide::Seen { nic, tc_programs, tcx_programs, xdp, .. } => {
            let name = &nic.name;
            if !nic.up {
                Some(format!("the host side {name} is down"))
            } else if *xdp {
                Some(format!("the host side {name} has an XDP program, which would be skipped"))
            } else if *tc_programs || *tcx_programs {
                Some(format!("the host side {name} carries a TC program that is not known to work with it"))
            } else {
                None
            }
        }
    }
}

/// The programs of a binding and their places in the pod's namespace.
pub fn hooks(nic: &str, tap: &str, mac_mode: MacMode) -> Vec<Hook> {
    let mut hooks = vec![
        Hook::new("tapwire_nic_in", nic, Direction::Ingress),
        Hook::new("tapwire_tap_in", tap, Direction::Ingress),
    ];
    if mac_mode == MacMode::Keep {
        hooks.push(Hook::new("tapwire_nic_out", nic, Direction::Egress));
    }
    hooks
}
