//! Reads everything of a pod NIC that a lease may be made of. It changes nothing.

use std::path::Path;

use crate::{
    Error, Result,
    facts::{Address, Facts, Neighbour, NetnsFacts, Route, RouteKind},
    netlink::{Netlink, rtm},
    netns::{Netns, NetnsSpec},
    nic::Nic,
    resolv::Resolv,
};

/// `RTPROT_KERNEL`.
const PROTOCOL_KERNEL: u8 = 2;

/// Reads the pod NIC `nic` in `netns`, which was opened from `spec`. `resolv_conf` is the file that the operator named.
pub async fn discover(spec: &NetnsSpec, netns: &Netns, nic: &str, resolv_conf: Option<&Path>) -> Result<Facts> {
    let netlink = Netlink::open(netns)?;
    let nic = find_nic(&netlink, netns, nic).await?;
    let (resolv, mut warnings) = Resolv::find(spec, resolv_conf)?;
    let addresses = netlink.addresses(nic.ifindex).await?.iter().filter_map(Address::parse).collect();
    let routes = read_routes(&netlink, &nic, &mut warnings).await?;
    let neighbours = netlink.neighbours(nic.ifindex).await?.iter().filter_map(Neighbour::parse).collect();
    let netns = NetnsFacts { spec: spec.to_string(), path: netns.path().to_owned(), id: netns.id() };
    Ok(Facts { netns, nic, addresses, routes, neighbours, resolv, warnings })
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

/// The NIC's routes in the table `main`; what a guest cannot be told is a warning.
async fn read_routes(netlink: &Netlink, nic: &Nic, warnings: &mut Vec<String>) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for message in netlink.all_routes().await? {
        let Some(route) = Route::parse(&message) else { continue };
        let Route { dst, table, .. } = route;
        if !rtm::route_leaves_by(&message, nic.ifindex) {
            let is_refusal = matches!(route.kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit);
            if is_refusal && route.protocol != PROTOCOL_KERNEL && table == rtm::RT_TABLE_MAIN {
                warnings.push(format!("the pod refuses {dst} by a route; the guest is not told of it"));
            }
        } else if table != rtm::RT_TABLE_MAIN {
            warnings.push(format!("the route to {dst} is in table {table}, not main; the guest is not told of it"));
        } else if route.multipath {
            warnings.push(format!("the route to {dst} has several paths; the guest is not told of it"));
        } else {
            routes.push(route);
        }
    }
    Ok(routes)
}
