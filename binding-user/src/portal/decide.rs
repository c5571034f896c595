//! Whether frames to the guest go through a portal.
//!
//! The portal takes frames from the host side before they cross the veth, so whatever stands behind that point sees them
//! no more. It must never take a frame away from the node's own policy: `auto` takes it only where nothing is there that
//! would be passed over. By name it is the operator's word, unless there can be none.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    nic::Nic,
    peer::HostSide,
};

/// `--to-guest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ToGuest {
    /// `portal` where nothing of the node's would be passed over, `redirect` else.
    #[default]
    Auto,
    /// From the host side through a macvlan of the tap; what does not go that way goes by `redirect`.
    Portal,
    /// `bpf_redirect`, from the pod NIC to the tap.
    Redirect,
}

/// What is known where it is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) nic: &'a Nic,
    pub(crate) host_side: &'a HostSide,
    /// Programs of others on the pod NIC's ingress.
    pub(crate) foreign: &'a [String],
    /// A CNI on this node that has its policy in programs on host sides.
    pub(crate) cni: Option<&'static str>,
}

impl Ground<'_> {
    /// Why there can be no portal, if there is a reason.
    pub(crate) fn impossible(&self) -> Option<String> {
        match self.host_side {
            HostSide::NotVeth => Some("the pod NIC is not a veth".to_owned()),
            HostSide::SameNamespace => Some("the other end of the veth is in the same namespace".to_owned()),
            HostSide::NotFound { why } => {
                Some(format!("the host side was not found ({why}); --node-netns tells where it is"))
            }
            HostSide::Seen { nic, hook_qdisc: Some(qdisc), .. } if qdisc != "clsact" => {
                Some(format!("an {qdisc} qdisc is in the place of clsact on the host side {}", nic.name))
            }
            HostSide::Seen { nic, occupied: true, .. } => Some(format!(
                "another filter has priority 65535 at the egress of {}, which must be ours alone, to be the last",
                nic.name
            )),
            HostSide::Seen { .. } => None,
        }
    }

    /// What would be passed over, if there is something.
    pub(crate) fn passed_over(&self) -> Option<String> {
        let HostSide::Seen { nic: host, tc_programs, tcx_programs, xdp, root, .. } = self.host_side else {
            return None;
        };
        let name = &host.name;
        if let Some(root) = root.as_deref().filter(|root| *root != "noqueue") {
            Some(format!("the host side {name} has the qdisc {root}, which would be passed over"))
        } else if *tc_programs || *tcx_programs {
            Some(format!("the host side {name} carries a TC program that is not known to work with a portal"))
        } else if *xdp {
            Some(format!("the host side {name} has an XDP program"))
        } else if self.nic.xdp {
            Some(format!("the pod NIC {} has an XDP program, which would be passed over", self.nic.name))
        } else if let Some(foreign) = self.foreign.first() {
            Some(format!("the pod NIC {} carries {foreign}, which would be passed over", self.nic.name))
        } else {
            self.cni.map(|cni| format!("{cni} is on this node, and has its policy in programs on host sides"))
        }
    }
}

impl ToGuest {
    /// What `auto` means here, and why; `portal` by name is refused where there can be none. `checks`: whether the kernel
    /// has `bpf_check_mtu`, asked last.
    pub(crate) fn decide(self, ground: &Ground<'_>, checks: impl FnOnce() -> bool) -> Result<(Self, String)> {
        const UNNOTICED: &str =
            "this kernel has no bpf_check_mtu (5.12), so frames into a portal that is gone are lost";
        let passed_over = || ground.passed_over().or_else(|| (!checks()).then(|| UNNOTICED.to_owned()));
        match (self, ground.impossible()) {
            (Self::Redirect, _) => Ok((Self::Redirect, "asked for".to_owned())),
            (Self::Auto, Some(why)) => Ok((Self::Redirect, why)),
            (Self::Auto, None) => Ok(match passed_over() {
                Some(why) => (Self::Redirect, why),
                None => {
                    (Self::Portal, "nothing is on the host side or the pod NIC that would be passed over".to_owned())
                }
            }),
            (Self::Portal, Some(why)) => {
                Err(Error::new(format!("make a portal to the host side of {}", ground.nic.name), why)
                    .with_hint("--to-guest redirect"))
            }
            (Self::Portal, None) => Ok((
                Self::Portal,
                passed_over().map_or("asked for".to_owned(), |why| format!("asked for; auto would not take it: {why}")),
            )),
        }
    }
}

/// What a record says that was written before there were portals.
pub(crate) fn before_portals() -> ToGuest {
    ToGuest::Redirect
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(name: &str) -> Nic {
        let value = serde_json::json!({
            "name": name, "ifindex": 2, "kind": "veth", "mac": "02:00:00:00:00:01", "mtu": 1500, "up": true,
            "carrier": true, "running": true, "arp": true, "master": null, "link": 3, "link_netnsid": 0, "xdp": false,
            "netkit_l3": false, "queues": 1
        });
        serde_json::from_value(value).unwrap()
    }

    /// A host side with these things on it, and with these qdiscs: its root, and what is in the place of clsact.
    fn seen(has: &[&str], root: Option<&str>, hook: Option<&str>) -> HostSide {
        HostSide::Seen {
            nic: nic("veth1"),
            tc_programs: has.contains(&"tc"),
            tcx_programs: has.contains(&"tcx"),
            xdp: has.contains(&"xdp"),
            root: root.map(str::to_owned),
            hook_qdisc: hook.map(str::to_owned),
            occupied: has.contains(&"occupied"),
        }
    }

    fn carries(what: &str) -> HostSide {
        seen(&[what], Some("noqueue"), None)
    }

    #[test]
    fn auto_stays_away_from_whatever_would_be_passed_over_and_the_operators_word_says_so() {
        let (pod, xdp) = (nic("eth0"), Nic { xdp: true, ..nic("eth0") });
        let free = seen(&[], Some("noqueue"), None);
        let foreign = ["observer".to_owned()];
        let ground = |host_side| Ground { nic: &pod, host_side, foreign: &[], cni: None };
        let (tbf, tc) = (seen(&[], Some("tbf"), None), carries("tc"));
        let (tcx, host_xdp) = (carries("tcx"), carries("xdp"));
        let cases = [
            (ground(&tbf), "the qdisc tbf"),
            (ground(&tc), "carries a TC program"),
            (ground(&tcx), "carries a TC program"),
            (ground(&host_xdp), "the host side veth1 has an XDP program"),
            (Ground { nic: &xdp, ..ground(&free) }, "the pod NIC eth0 has an XDP program"),
            (Ground { foreign: &foreign, ..ground(&free) }, "carries observer"),
            (Ground { cni: Some("Cilium"), ..ground(&free) }, "Cilium is on this node"),
        ];
        for (ground, why) in cases {
            let (taken, said) = ToGuest::Auto.decide(&ground, || true).unwrap();
            assert!(taken == ToGuest::Redirect && said.contains(why), "{why}: {said}");
            let (taken, said) = ToGuest::Portal.decide(&ground, || true).unwrap();
            assert!(taken == ToGuest::Portal && said.starts_with("asked for; auto would not"), "{why}: {said}");
        }
        let down = seen(&[], None, None);
        for host_side in [&free, &down] {
            assert_eq!(ToGuest::Auto.decide(&ground(host_side), || true).unwrap().0, ToGuest::Portal);
            assert_eq!(ToGuest::Auto.decide(&ground(host_side), || false).unwrap().0, ToGuest::Redirect);
            assert_eq!(ToGuest::Portal.decide(&ground(host_side), || true).unwrap().1, "asked for");
        }
    }

    #[test]
    fn where_there_can_be_none_it_is_refused_by_name() {
        let pod = nic("eth0");
        let cases = [
            HostSide::NotVeth,
            HostSide::SameNamespace,
            HostSide::NotFound { why: "gone".to_owned() },
            seen(&[], Some("noqueue"), Some("ingress")),
            carries("occupied"),
        ];
        for host_side in &cases {
            let ground = Ground { nic: &pod, host_side, foreign: &[], cni: None };
            assert_eq!(ToGuest::Auto.decide(&ground, || true).unwrap().0, ToGuest::Redirect);
            let error = ToGuest::Portal.decide(&ground, || true).unwrap_err();
            assert_eq!(error.hint(), Some("--to-guest redirect"), "{error}");
        }
    }
}
