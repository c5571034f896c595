//! The floor: a tap in the node's namespace, with the node's address on it. There is no pod, and nothing to join.

use anyhow::Result;

use super::{Joined, Kind, Maker, Place, TAP, ends, quiet};
use crate::{netns::Namespace, pod::HOST_MAC};

pub(super) fn join(label: &str) -> Result<Joined> {
    let [guest, far] = ends()?;
    let node = Namespace::new(label)?;
    quiet(&node)?;
    node.ip(&["tuntap", "add", TAP, "mode", "tap", "vnet_hdr"])?;
    node.ip(&["link", "set", TAP, "address", HOST_MAC])?;
    node.ip(&["addr", "add", &format!("{}/24", far.address), "dev", TAP])?;
    node.ip(&["link", "set", TAP, "up"])?;
    Ok(Joined {
        kind: Kind::Floor,
        guest,
        prefix: 24,
        mtu: 1500,
        gateway: far,
        far,
        seen: guest,
        far_link: TAP.to_owned(),
        facts: "tap in the node's namespace, no pod".to_owned(),
        maker: Maker::Namespaces,
        place: Place::Node(node),
    })
}
