//! Pods whose routes say more than DHCP can.

use crate::{
    discover::discover,
    facts::Facts,
    lab::Lab,
    lease::{Lease, LeaseOptions, LeaseRoute},
};

/// The facts of a pod at 10.0.0.5/24, after these `ip` commands; a line that begins with `!` is any command.
async fn facts(commands: &[&str]) -> Option<Facts> {
    let lab = Lab::new()?;
    lab.pod.ip("addr add 10.0.0.5/24 dev eth0");
    for command in commands {
        match command.strip_prefix('!') {
            Some(command) => lab.pod.exec(command),
            None => lab.pod.ip(command),
        };
    }
    Some(discover(&lab.pod.spec(), &lab.pod.open(), "eth0", None).await.unwrap())
}

/// The IPv4 routes that a guest is told beside the connected one, and what it is warned of.
fn told(facts: &Facts) -> Vec<String> {
    let lease = Lease::from_facts(facts, &LeaseOptions::default()).unwrap().unwrap();
    let via = |route: &LeaseRoute| route.via.map_or_else(|| "link".to_owned(), |via| via.to_string());
    let routes = lease.routes.iter().filter(|route| route.dst.to_string() != "169.254.75.10/32");
    routes.map(|route| format!("{} {}", route.dst, via(route))).collect()
}

/// Each warning has its text, and there is no other.
fn assert_warned(facts: &Facts, texts: &[&str]) {
    let warnings = &facts.warnings;
    assert_eq!(warnings.len(), texts.len(), "{warnings:#?}");
    for text in texts {
        assert!(warnings.iter().any(|warning| warning.contains(text)), "{text}: {warnings:#?}");
    }
}

fn refusal(facts: &Facts) -> String {
    Lease::from_facts(facts, &LeaseOptions::default()).unwrap_err().to_string()
}

#[tokio::test]
async fn of_routes_to_one_destination_the_kernels_choice_is_told() {
    let Some(facts) = facts(&[
        "route add default via 10.0.0.9 metric 9",
        "route add default via 10.0.0.1 metric 5",
        "route append default via 10.0.0.2 metric 5",
        "route add 10.6.0.0/16 via 10.0.0.3",
        "route append 10.6.0.0/16 via 10.0.0.1",
    ])
    .await
    else {
        return;
    };
    assert_eq!(told(&facts), ["10.6.0.0/16 10.0.0.3", "0.0.0.0/0 10.0.0.1"]);
    assert_warned(
        &facts,
        &[
            "0.0.0.0/0 via 10.0.0.9 of metric 9 has a better one",
            "0.0.0.0/0 via 10.0.0.2 of metric 5 has a better one",
            "10.6.0.0/16 via 10.0.0.1 of metric 0 has a better one",
        ],
    );
}

#[tokio::test]
async fn a_route_for_a_type_of_service_or_with_a_header_of_its_own_is_not_told() {
    let Some(facts) = facts(&[
        "route add default via 10.0.0.1",
        "route add default tos 0x10 via 10.0.0.2",
        "route add 10.6.0.0/16 encap ip id 3 dst 10.0.0.7 via 10.0.0.1 dev eth0",
        "route add local 10.7.0.0/16 dev eth0 table main",
    ])
    .await
    else {
        return;
    };
    assert_eq!(told(&facts), ["0.0.0.0/0 10.0.0.1"]);
    assert_warned(
        &facts,
        &["0.0.0.0/0 is for the type of service 0x10", "10.6.0.0/16 encapsulates", "10.7.0.0/16 is of the kind local"],
    );
}

#[tokio::test]
async fn of_several_paths_the_first_by_the_nic_is_told() {
    let Some(facts) = facts(&[
        "link add net1 type veth peer name net2",
        "link set net1 up",
        "link set net2 up",
        "addr add 10.1.0.5/24 dev net1",
        "route add default nexthop via 10.1.0.1 dev net1 nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth0",
        "nexthop add id 7 via 10.0.0.3 dev eth0",
        "nexthop add id 8 via 10.0.0.4 dev eth0",
        "nexthop add id 9 group 7/8",
        "route add 10.6.0.0/16 nhid 9",
        "route add 10.7.0.0/16 nhid 8",
        "-4 route add 10.8.0.0/16 nexthop via inet6 fe80::1 dev eth0 nexthop via 10.0.0.6 dev eth0",
    ])
    .await
    else {
        return;
    };
    assert_eq!(
        told(&facts),
        ["10.6.0.0/16 10.0.0.3", "10.7.0.0/16 10.0.0.4", "10.8.0.0/16 10.0.0.6", "0.0.0.0/0 10.0.0.1"]
    );
    let texts = [
        "0.0.0.0/0 has several paths; the guest is told of one, via 10.0.0.1",
        "10.6.0.0/16 has several paths",
        "10.8.0.0/16 has several paths; the guest is told of one, via 10.0.0.6",
    ];
    assert_warned(&facts, &texts);
}

#[tokio::test]
async fn a_nexthop_object_of_which_nothing_is_told_is_not_passed_over_in_silence() {
    let Some(facts) = facts(&[
        "nexthop add id 7 via 10.0.0.3 dev eth0",
        "route add 10.7.0.0/16 nhid 7",
        "route add default nhid 7",
        "!sysctl -qw net.ipv4.nexthop_compat_mode=0",
    ])
    .await
    else {
        return;
    };
    assert_warned(&facts, &["0.0.0.0/0 uses the nexthop object 7", "10.7.0.0/16 uses the nexthop object 7"]);
    assert!(refusal(&facts).contains("nexthop object 7"), "{}", refusal(&facts));
}

#[tokio::test]
async fn what_the_pod_refuses_is_a_warning() {
    let Some(facts) = facts(&[
        "route add default via 10.0.0.1",
        "route add blackhole 10.6.0.0/16",
        "route add prohibit 10.7.0.0/16",
        "route add unreachable default metric 4000",
        "route add throw 10.8.0.0/16",
        "route add blackhole 10.9.0.0/16 table 77",
        "route add blackhole 10.10.0.0/16 table 78",
        "rule add from 10.0.0.0/24 lookup 78",
    ])
    .await
    else {
        return;
    };
    assert_eq!(told(&facts), ["0.0.0.0/0 10.0.0.1"]);
    assert_warned(
        &facts,
        &[
            "the pod refuses 10.6.0.0/16",
            "the pod refuses 10.7.0.0/16",
            "the pod refuses 0.0.0.0/0",
            "throws 10.8.0.0/16",
            "the pod refuses 10.10.0.0/16",
        ],
    );
}

#[tokio::test]
async fn a_default_route_only_in_a_table_that_a_rule_selects_is_refused() {
    // AWS's second NIC of a pod.
    let commands = ["route add 10.0.0.1 dev eth0 table 2", "route add default via 10.0.0.1 dev eth0 table 2"];
    let with = async |rule| facts(&[&commands[..], &[rule]].concat()).await;
    let Some(facts) = with("rule add from 10.0.0.5 lookup 2").await else { return };
    let why = "the route to 0.0.0.0/0 is in table 2, not main, and the rule of priority 32765 leads there";
    assert!(refusal(&facts).contains(why), "{}", refusal(&facts));
    assert_warned(&facts, &[why, "10.0.0.1/32 is in table 2"]);
    // The pod itself does not use it for all, so the guest is not worse off without.
    for rule in ["rule add from 10.0.0.6 lookup 2", "rule add fwmark 7 lookup 2", "rule add iif net1 lookup 2"] {
        let facts = with(rule).await.unwrap();
        assert_eq!(told(&facts), [""; 0], "{rule}");
        assert_warned(&facts, &["0.0.0.0/0 is in table 2", "10.0.0.1/32 is in table 2"]);
    }
}

#[tokio::test]
async fn a_default_route_beside_the_one_of_another_table_is_told_with_a_warning() {
    let Some(facts) = facts(&[
        "route add default via 10.0.0.1",
        "route add default via 10.0.0.2 table 77",
        "rule add from 10.0.0.5 priority 100 lookup 77",
    ])
    .await
    else {
        return;
    };
    assert_eq!(told(&facts), ["0.0.0.0/0 10.0.0.1"]);
    assert_warned(&facts, &["0.0.0.0/0 is in table 77, not main, and the rule of priority 100 leads there"]);
}

#[tokio::test]
async fn an_ipv6_next_hop_of_the_only_default_route_is_refused() {
    let next_hop = "-4 route add default via inet6 fe80::1 dev eth0";
    let Some(alone) = facts(&[next_hop]).await else { return };
    assert!(refusal(&alone).contains("the route to 0.0.0.0/0 has an IPv6 next hop"), "{}", refusal(&alone));
    let beside = facts(&[next_hop, "route add default via 10.0.0.1 metric 5"]).await.unwrap();
    assert_eq!(told(&beside), ["0.0.0.0/0 10.0.0.1"]);
    assert_warned(&beside, &["has an IPv6 next hop"]);
}

#[tokio::test]
async fn a_rule_that_no_route_tells_of_is_a_warning() {
    let Some(facts) = facts(&[
        "route add default via 10.0.0.1",
        "rule add from 10.0.0.5 priority 100 lookup 77",
        "rule add to 10.8.0.0/16 priority 101 prohibit",
        "rule add from 10.9.9.9 priority 102 lookup 78",
        "rule add from all priority 103 lookup main suppress_prefixlength 0",
        // A sidecar's.
        "route add local default dev lo table 133",
        "rule add fwmark 1337 priority 104 lookup 133",
    ])
    .await
    else {
        return;
    };
    assert_eq!(told(&facts), ["0.0.0.0/0 10.0.0.1"]);
    assert_warned(
        &facts,
        &[
            "priority 100 leads to table 77, where no route is by eth0",
            "priority 104 leads to table 133",
            "priority 101 refuses some of what the pod sends",
        ],
    );
}

#[tokio::test]
async fn a_next_hop_that_is_said_to_be_on_the_link_gets_a_route_to_it() {
    let Some(facts) = facts(&[
        "addr del 10.0.0.5/24 dev eth0",
        "addr add 10.0.0.5/32 dev eth0",
        "route add default via 192.168.7.1 dev eth0 onlink",
    ])
    .await
    else {
        return;
    };
    assert_eq!(told(&facts), ["192.168.7.1/32 link", "0.0.0.0/0 192.168.7.1"]);
    assert_warned(&facts, &[]);
}
