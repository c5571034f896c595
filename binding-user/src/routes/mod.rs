//! Which of the pod's routes a guest can be told, and what is to be said of the others.
//!
//! DHCP says a destination and a next hop, in one table, and nothing else. Whatever a route has beyond that is a warning,
//! and never silence. A pod whose only default route cannot be said leaves a guest without a network, so that is kept
//! ([`Chosen::lost_default`]) for whoever makes a lease.

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    facts::{Route, RouteKind, gateway_of_path},
    netlink::{
        raw::{RawMessage, u32_of},
        rtm::{self, Nexthops},
    },
    rules::{Action, Rule, Share},
};

/// `RTPROT_KERNEL`.
const PROTOCOL_KERNEL: u8 = 2;

/// The NIC whose routes are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Its name.
    pub nic: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
}

/// What was made of the routes.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Those that a guest can be told, in the kernel's order.
    pub routes: Vec<Route>,
    /// What is to be said of the others.
    pub warnings: Vec<String>,
    /// Why no IPv4 default route is among them, although the pod has one.
    pub lost_default: Option<String>,
}

/// Chooses among all routes of the namespace (`RTM_NEWROUTE`).
pub fn choose(messages: &[RawMessage], rules: &[Rule], of: Of<'_>) -> Chosen {
    let mut chosen = Chosen::default();
    for message in messages {
        let Some(route) = Route::parse(message) else { continue };
        if rtm::route_leaves_by(message, of.ifindex) {
            chosen.take(message, route, rules, of);
        } else {
            chosen.pass_by(message, &route, rules, of);
        }
    }
    chosen.keep_preferred();
    chosen.warn_of_rules(messages, rules, of);
    if chosen.routes.iter().any(is_ipv4_default) {
        chosen.lost_default = None;
    }
    chosen
}

impl Chosen {
    /// A route by the NIC.
    fn take(&mut self, message: &RawMessage, route: Route, rules: &[Rule], of: Of<'_>) {
        let dst = route.dst;
        let is_ipv4 = matches!(dst, IpNet::V4(_));
        let share = share_of_table(route.table, !is_ipv4, rules, of);
        let (tos, kind) = (rtm::route_tos(message), format!("{:?}", route.kind).to_lowercase());
        if route.table != rtm::RT_TABLE_MAIN {
            let selected = by_rule(share.1);
            self.lose(&route, share.0, format!("the route to {dst} is in table {}, not main{selected}", route.table));
        } else if is_ipv4 && tos != 0 {
            self.lose(&route, Share::Some, format!("the route to {dst} is for the type of service {tos:#04x} alone"));
        } else if is_ipv4 && route.kind != RouteKind::Unicast {
            self.lose(&route, Share::Some, format!("the route to {dst} is of the kind {kind}"));
        } else if message.attribute(rtm::ROUTE_HEADER, rtm::RTA_ENCAP).is_some() {
            self.lose(&route, Share::All, format!("the route to {dst} encapsulates"));
        } else if is_ipv4 && matches!(route.via, Some(IpAddr::V6(_))) {
            self.lose(&route, Share::All, format!("the route to {dst} has an IPv6 next hop"));
        } else if !route.multipath {
            self.routes.push(route);
        } else if let Some(route) = by_first_path(message, &route, of.ifindex).filter(|_| is_ipv4) {
            let via = route.via.map_or_else(|| "on the link".to_owned(), |via| format!("via {via}"));
            self.warnings.push(format!("the route to {dst} has several paths; the guest is told of one, {via}"));
            self.routes.push(route);
        } else {
            self.lose(&route, Share::All, format!("the route to {dst} has several paths"));
        }
    }

    /// A route that is not by the NIC, or does not say so.
    fn pass_by(&mut self, message: &RawMessage, route: &Route, rules: &[Rule], of: Of<'_>) {
        let Route { dst, table, .. } = *route;
        let is_of_the_pod = table == rtm::RT_TABLE_MAIN
            || share_of_table(table, matches!(dst, IpNet::V6(_)), rules, of).0 > Share::Nothing;
        let attribute = |kind| message.attribute(rtm::ROUTE_HEADER, kind);
        if route.protocol == PROTOCOL_KERNEL || !is_of_the_pod {
            return;
        }
        match route.kind {
            RouteKind::Throw => {
                self.lose(route, Share::Nothing, format!("the pod has a route that throws {dst} out of table {table}"));
            }
            kind if refuses(kind) => self.lose(route, Share::Nothing, format!("the pod refuses {dst} by a route")),
            _ => {
                let says_where = attribute(rtm::RTA_OIF).or(attribute(rtm::RTA_MULTIPATH)).is_some();
                if let Some(id) = attribute(rtm::RTA_NH_ID).and_then(u32_of).filter(|_| !says_where) {
                    let why = "of which the kernel tells neither NIC nor next hop (net.ipv4.nexthop_compat_mode is 0)";
                    self.lose(route, Share::All, format!("the route to {dst} uses the nexthop object {id}, {why}"));
                }
            }
        }
    }

    /// A route that the guest is not told of; `share` is how much of the pod's traffic follows it.
    fn lose(&mut self, route: &Route, share: Share, why: String) {
        self.warnings.push(format!("{why}; the guest is not told of it"));
        if share == Share::All && is_ipv4_default(route) {
            self.lost_default.get_or_insert(why);
        }
    }

    /// Of IPv4 routes to one destination, keeps the one that the kernel takes: of the lowest metric, and of these the
    /// first. DHCP knows no metrics, and clients differ in which they take of two.
    fn keep_preferred(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        // A pod may have a hundred thousand.
        let mut best: HashMap<IpNet, usize> = HashMap::new();
        for (at, route) in routes.iter().enumerate() {
            let kept = best.entry(route.dst).or_insert(at);
            if route.metric < routes[*kept].metric {
                *kept = at;
            }
        }
        for (at, route) in routes.iter().enumerate() {
            if matches!(route.dst, IpNet::V6(_)) || best.get(&route.dst) == Some(&at) {
                self.routes.push(route.clone());
                continue;
            }
            let Route { dst, metric, .. } = route;
            let via = route.via.map_or_else(String::new, |via| format!(" via {via}"));
            let why = format!("the route to {dst}{via} of metric {metric} has a better one beside it");
            self.lose(route, Share::Nothing, why);
        }
    }

    /// Rules that act on the pod's IPv4 traffic, and that no route above has told of.
    fn warn_of_rules(&mut self, messages: &[RawMessage], rules: &[Rule], of: Of<'_>) {
        for rule in rules.iter().filter(|rule| !rule.ipv6 && !rule.is_ordinary()) {
            if rule.share(of.nic, of.addresses) == Share::Nothing {
                continue;
            }
            let is_told = |table| messages.iter().any(|message| tells_of(message, table, of.ifindex));
            match rule.action {
                Action::Lookup(table) if !is_told(table) => self.warnings.push(format!(
                    "the rule of priority {} leads to table {table}, where no route is by {}; the guest is not told of it",
                    rule.priority, of.nic
                )),
                Action::Refuse => self.warnings.push(format!(
                    "the rule of priority {} refuses some of what the pod sends; the guest is not told of it",
                    rule.priority
                )),
                _ => {}
            }
        }
    }
}

/// How much of what the pod sends is looked up in a table, and the first rule that has the most part in it.
fn share_of_table<'a>(table: u32, ipv6: bool, rules: &'a [Rule], of: Of<'_>) -> (Share, Option<&'a Rule>) {
    let leads_there = rules.iter().filter(|rule| rule.ipv6 == ipv6 && rule.action == Action::Lookup(table));
    let shares = leads_there.map(|rule| (rule.share(of.nic, of.addresses), rule));
    // Of equals max_by_key gives the last.
    let most = shares.rev().filter(|(share, _)| *share > Share::Nothing).max_by_key(|(share, _)| *share);
    most.map_or((Share::Nothing, None), |(share, rule)| (share, Some(rule)))
}

fn by_rule(rule: Option<&Rule>) -> String {
    rule.map_or_else(String::new, |rule| format!(", and the rule of priority {} leads there", rule.priority))
}

/// The route by the first of its paths that is the NIC's and of use. One with an IPv6 next hop is of no use to DHCP.
fn by_first_path(message: &RawMessage, route: &Route, ifindex: u32) -> Option<Route> {
    let paths = message.attribute(rtm::ROUTE_HEADER, rtm::RTA_MULTIPATH)?;
    let alive = |flags: u8| u32::from(flags) & rtm::RTNH_F_DEAD == 0;
    Nexthops::new(paths)
        .filter(|path| path.ifindex == ifindex && alive(path.flags))
        .map(|path| Route { via: gateway_of_path(rtm::AF_INET, path.attributes), ..route.clone() })
        .find(|route| !matches!(route.via, Some(IpAddr::V6(_))))
}

/// Whether a route has told, or is told of, where a rule leads to its table.
fn tells_of(message: &RawMessage, table: u32, ifindex: u32) -> bool {
    let refuses = || Route::parse(message).is_some_and(|route| refuses(route.kind));
    rtm::route_table(message) == table
        && message.header::<1>() == [rtm::AF_INET]
        && (rtm::route_leaves_by(message, ifindex) || refuses())
}

/// Whether what a route of this kind leads to is not to be reached by its table.
fn refuses(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw)
}

fn is_ipv4_default(route: &Route) -> bool {
    matches!(route.dst, IpNet::V4(dst) if dst.prefix_len() == 0)
}

#[cfg(test)]
mod tests;
