//! What the operator asks of `attach`.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    guard::GuardRequest,
    guest_mac::GuestMac,
    lease::LeaseOptions,
    netns::NetnsSpec,
    portal::ToGuest,
    wire::{HookChoice, MacMode, ToNetwork},
};

/// `--dhcp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DhcpMode {
    /// On if the NIC has an IPv4 address.
    #[default]
    Auto,
    /// The guest's DHCP is answered here, and nowhere else.
    On,
    /// A pure wire: an outside server's frames pass both ways.
    Off,
}

/// Owner of a tap: a user and, if given, a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: Option<u32>,
}

impl std::str::FromStr for TapOwner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| match part.parse() {
            // The kernel's "nobody at all".
            Err(_) | Ok(u32::MAX) => Err(format!("{text:?} is not UID or UID:GID in numbers")),
            Ok(id) => Ok(id),
        };
        match text.split_once(':') {
            None => Ok(Self { uid: number(text)?, gid: None }),
            Some((uid, gid)) => Ok(Self { uid: number(uid)?, gid: Some(number(gid)?) }),
        }
    }
}

/// What the operator asks of `attach`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The pod's namespace.
    pub netns: NetnsSpec,
    /// The namespace of the host side; `None` is the caller's.
    pub node_netns: Option<NetnsSpec>,
    /// Name of the pod NIC.
    pub nic: String,
    /// Name of the tap.
    pub tap: String,
    /// Name of the binding; `None` is made of namespace and NIC.
    pub name: Option<String>,
    /// MAC mode.
    pub mac_mode: MacMode,
    /// The guest's MAC.
    #[serde(default)]
    pub guest_mac: GuestMac,
    /// Way to the network.
    pub to_network: ToNetwork,
    /// Way to the guest.
    #[serde(default)]
    pub to_guest: ToGuest,
    /// Kind of hook.
    pub hook: HookChoice,
    /// DHCP.
    pub dhcp: DhcpMode,
    /// Every ARP request of the guest is answered, with the gateway's MAC.
    #[serde(default)]
    pub arp_reply_all: bool,
    /// The guard.
    #[serde(default)]
    pub guard: GuardRequest,
    /// What the guest is told otherwise than discovered.
    pub lease: LeaseOptions,
    /// Where the pod's resolv.conf is.
    pub resolv_conf: Option<std::path::PathBuf>,
    /// Owner of a tap that is made.
    pub tap_owner: Option<TapOwner>,
    /// Queues of the tap; more than one sets the multi-queue flag.
    pub queues: Option<u16>,
    /// Do it in the machine's own namespace, too.
    #[serde(skip)]
    pub force: bool,
    /// Mount a bpffs where there is none.
    #[serde(skip)]
    pub mount_bpffs: bool,
}

impl AttachRequest {
    /// Whether both ask for the same binding, of a namespace that is the same. How the namespace was named, and what was
    /// permitted on the way, leaves no trace in a binding.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let Self { netns, force, mount_bpffs, .. } = other.clone();
        Self { netns, force, mount_bpffs, ..self.clone() } == *other
    }

    /// The name of the binding.
    pub fn binding_name(&self) -> Result<String> {
        let name = self.name.clone().unwrap_or_else(|| format!("{}-{}", self.netns.default_name(), self.nic));
        check_name(&name)?;
        Ok(name)
    }
}

/// A name must be fit for a file, on every file system.
pub fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=63).contains(&name.len()) && name.chars().all(fits) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::new(
        format!("name the binding {name:?}"),
        "a name is 1 to 63 letters, digits, dots, dashes, underscores",
    )
    .with_hint("give it a name with --name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for name in ["", ".", "..", "a/b", "-x", "ü", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["a", "pod-1.eth0", "A_b", &"x".repeat(63)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_owner_is_a_user_and_perhaps_a_group() {
        assert_eq!("107".parse(), Ok(TapOwner { uid: 107, gid: None }));
        assert_eq!("107:36".parse(), Ok(TapOwner { uid: 107, gid: Some(36) }));
        for text in ["", "qemu", "107:", ":36", "1:2:3", "4294967295", "-1"] {
            assert!(text.parse::<TapOwner>().is_err(), "{text}");
        }
    }
}
