//! `KubeVirt`'s masquerade binding: the guest is in a private network behind a bridge that routes, with NAT by nftables to
//! the pod's address. The rules are those of its `netpod/masquerade` for a guest without a list of ports.

use std::{fs, net::Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use super::{End, Joined, Kind, Maker, TAP, octets, quiet_pod};
use crate::{bridge::BRIDGE, cmd, pod::mac_of};

/// The second host of 10.0.2.0/24; the first is the bridge.
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
const PREFIX: u8 = 24;
/// The MAC of the bridge, `KubeVirt`'s for each.
const BRIDGE_MAC: &str = "02:00:00:00:00:00";
const GUEST_MAC: &str = "0a:58:0a:00:02:02";

/// As `nft list table nat` shows it in a pod of `KubeVirt`'s.
const RULES: &str = r#"
table ip nat {
    chain prerouting {
        type nat hook prerouting priority -100; policy accept;
        iifname "eth0" counter jump KUBEVIRT_PREINBOUND
    }
    chain input { type nat hook input priority 100; policy accept; }
    chain output {
        type nat hook output priority -100; policy accept;
        ip daddr 127.0.0.1 counter dnat to 10.0.2.2
    }
    chain postrouting {
        type nat hook postrouting priority 100; policy accept;
        ip saddr 10.0.2.2 counter masquerade
        oifname "k6t-eth0" counter jump KUBEVIRT_POSTINBOUND
    }
    chain KUBEVIRT_PREINBOUND { counter dnat to 10.0.2.2; }
    chain KUBEVIRT_POSTINBOUND { ip saddr 127.0.0.1 counter snat to 10.0.2.1; }
}
"#;

pub(super) fn missing() -> Option<String> {
    let Err(error) = cmd::run(&["nft", "--version"]) else { return None };
    Some(format!("no nft: {error:#}"))
}

pub(super) fn join(label: &str) -> Result<Joined> {
    let pod = quiet_pod(label)?;
    let inside = &pod.namespace;
    ensure!(pod.nic == "eth0", "the rules name eth0, the pod NIC is {}", pod.nic);
    inside.ip(&[
        "link",
        "add",
        BRIDGE,
        "address",
        BRIDGE_MAC,
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ])?;
    inside.ip(&["addr", "add", &format!("{GATEWAY}/{PREFIX}"), "dev", BRIDGE])?;
    inside.ip(&["tuntap", "add", TAP, "mode", "tap", "vnet_hdr"])?;
    inside.ip(&["link", "set", TAP, "master", BRIDGE])?;
    for link in [TAP, BRIDGE] {
        inside.ip(&["link", "set", link, "up"])?;
    }
    inside.set_sysctl("net/ipv4/ip_forward", "1")?;
    inside.set_sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    let rules = NamedTempFile::with_prefix("twt-nft-")?;
    fs::write(rules.path(), RULES)?;
    inside.exec(&["nft", "-f", rules.path().to_str().context("the path of a temporary file")?])?;
    // Who only sends frames answers no ARP.
    let bridge_mac = octets(&mac_of(inside, BRIDGE)?)?;
    inside.ip(&["neigh", "add", &GUEST.to_string(), "lladdr", GUEST_MAC, "dev", BRIDGE, "nud", "permanent"])?;
    let facts = format!("bridge with {GATEWAY}/{PREFIX}, nftables NAT to {GUEST}, connection tracking");
    let mut joined = Joined::in_pod(Kind::Masquerade, pod, Maker::Namespaces, facts)?;
    joined.guest = End { mac: octets(GUEST_MAC)?, address: GUEST };
    joined.prefix = PREFIX;
    joined.gateway = End { mac: bridge_mac, address: GATEWAY };
    Ok(joined)
}
