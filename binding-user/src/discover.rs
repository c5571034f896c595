//! Reads everything of a pod NIC that a lease may be made of. It changes nothing.

use std::path::Path;

use crate::{
    Error, Result,
    facts::{Address, Facts, Neighbour, NetnsFacts},
    netlink::Netlink,
    netns::{Netns, NetnsSpec},
    nic::Nic,
    resolv::Resolv,
    routes::{self, Chosen, Of},
    rules::Rule,
};

/// Reads the pod NIC `nic` in `netns`, which was opened from `spec`. `resolv_conf` is the file that the operator named.
pub async fn discover(spec: &NetnsSpec, netns: &Netns, nic: &str, resolv_conf: Option<&Path>) -> Result<Facts> {
    let netlink = Netlink::open(netns)?;
    let nic = find_nic(&netlink, netns, nic).await?;
    let (resolv, mut warnings) = Resolv::find(spec, resolv_conf)?;
    let addresses: Vec<_> = netlink.addresses(nic.ifindex).await?.iter().filter_map(Address::parse).collect();
    let chosen = choose_routes(&netlink, &nic, &addresses).await?;
    warnings.extend(chosen.warnings);
    let neighbours = netlink.neighbours(nic.ifindex).await?.iter().filter_map(Neighbour::parse).collect();
    let netns = NetnsFacts { spec: spec.to_string(), path: netns.path().to_owned(), id: netns.id() };
    let Chosen { routes, lost_default, .. } = chosen;
    Ok(Facts { netns, nic, addresses, routes, neighbours, resolv, warnings, lost_default })
}

async fn choose_routes(netlink: &Netlink, nic: &Nic, addresses: &[Address]) -> Result<Chosen> {
    let rules: Vec<_> = netlink.rules().await?.iter().filter_map(Rule::parse).collect();
    let addresses: Vec<_> = addresses.iter().map(|address| address.address.addr()).collect();
    let of = Of { nic: &nic.name, ifindex: nic.ifindex, addresses: &addresses };
    Ok(routes::choose(&netlink.all_routes().await?, &rules, of))
}

/// The NIC of that name, or an error that lists those which there are.
pub async fn find_nic(netlink: &Netlink, netns: &Netns, name: &str) -> Result<Nic> {
    if let Some(nic) = netlink.nic(name).await? {
        return Ok(nic);
    }
    let mut names: Vec<_> = netlink.nics().await?.into_iter().map(|nic| nic.name).collect();
    names.retain(|name| name != "lo");
    let error = Error::new(format!("find the NIC {name} in {}", netns.path().display()), "there is none of that name");
    Err(match names.as_slice() {
        [] => error.with_hint("the namespace has no NIC but lo: is it the pod's?"),
        _ => error.with_hint(format!("it has {}; name one with --nic", names.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr};

    use super::*;
    use crate::{
        facts::{AddressFlag, Scope},
        lab::Lab,
    };

    async fn facts(lab: &Lab) -> Facts {
        discover(&lab.pod.spec(), &lab.pod.open(), "eth0", None).await.unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_pod_like_those_of_aws_is_read() {
        let Some(lab) = Lab::new() else { return };
        for command in [
            "addr add 20.0.49.215/32 dev eth0",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1 dev eth0 mtu 9001 metric 5 src 20.0.49.215",
            "neigh add 169.254.1.1 lladdr 02:00:00:00:00:20 nud permanent dev eth0",
            "addr add fd00::215/128 dev eth0 noprefixroute",
            "-6 route add default via fe80::1 dev eth0",
        ] {
            lab.pod.ip(command);
        }
        let facts = facts(&lab).await;
        assert_eq!(facts.warnings, [""; 0]);
        let addresses: Vec<_> = facts.addresses.iter().map(|address| address.address.to_string()).collect();
        assert_eq!(addresses, ["20.0.49.215/32", "fd00::215/128", "fe80::ff:fe00:10/64"]);
        assert_eq!(facts.addresses[0].label.as_deref(), Some("eth0"));
        assert!(facts.addresses[1].has(AddressFlag::Noprefixroute) && facts.addresses[1].has(AddressFlag::Permanent));
        assert_eq!(facts.addresses[2].scope, Scope::Link);

        let default = &facts.routes[0];
        assert_eq!((default.dst.to_string().as_str(), default.via), ("0.0.0.0/0", Some(ip("169.254.1.1"))));
        assert_eq!((default.mtu, default.metric, default.prefsrc), (Some(9001), 5, Some(ip("20.0.49.215"))));
        let to_gateway = &facts.routes[1];
        assert_eq!((to_gateway.dst.to_string().as_str(), to_gateway.via), ("169.254.1.1/32", None));
        assert_eq!(to_gateway.scope, Scope::Link);
        let ipv6: Vec<_> = facts.routes[2..].iter().map(|route| route.dst.to_string()).collect();
        assert_eq!(ipv6, ["fe80::/64", "::/0"], "{:?}", facts.routes);
        assert_eq!(facts.neighbours.len(), 1);
        assert_eq!(facts.neighbours[0].mac.to_string(), "02:00:00:00:00:20");

        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    }

    #[tokio::test]
    async fn what_a_guest_cannot_be_told_is_a_warning() {
        let Some(lab) = Lab::new() else { return };
        for command in [
            "addr add 10.0.0.5/24 dev eth0",
            "route add 10.6.0.0/16 nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth0",
            "route add default via 10.0.0.1 table 100",
            "route add blackhole 10.7.0.0/16",
            "route add 10.8.0.0/16 via 10.0.0.1 onlink dev eth0",
            "-6 route add default via fd00::1 dev eth0 table 200 onlink",
        ] {
            lab.pod.ip(command);
        }
        let facts = facts(&lab).await;
        let warned = |text: &str| facts.warnings.iter().any(|warning| warning.contains(text));
        for text in [
            "10.6.0.0/16 has several paths",
            "0.0.0.0/0 is in table 100",
            "refuses 10.7.0.0/16",
            "::/0 is in table 200",
        ] {
            assert!(warned(text), "{text}: {:?}", facts.warnings);
        }
        assert_eq!(facts.warnings.len(), 4, "{:?}", facts.warnings);
        let onlink: Vec<_> =
            facts.routes.iter().filter(|route| route.onlink).map(|route| route.dst.to_string()).collect();
        assert_eq!(onlink, ["10.8.0.0/16"]);
    }

    #[tokio::test]
    async fn an_unknown_nic_is_an_error_that_names_the_known() {
        let Some(lab) = Lab::new() else { return };
        lab.pod.ip("link add br0 type bridge");
        let (spec, pod) = (lab.pod.spec(), lab.pod.open());
        let error = discover(&spec, &pod, "net1", None).await.unwrap_err();
        assert_eq!(error.hint(), Some("it has eth0, br0; name one with --nic"), "{error}");
    }

    #[tokio::test]
    async fn the_file_that_the_operator_names_is_read() {
        let Some(lab) = Lab::new() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, "nameserver 10.0.0.10\nnameserver ::1\n").unwrap();
        let facts = discover(&lab.pod.spec(), &lab.pod.open(), "eth0", Some(&path)).await.unwrap();
        assert_eq!(facts.resolv.nameservers.len(), 1);
        assert_eq!(facts.resolv.path.as_ref(), Some(&path));
        assert!(facts.warnings[0].contains("resolv.conf, line 2"), "{:?}", facts.warnings);
    }
}
