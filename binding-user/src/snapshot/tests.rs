//! What `ip` says of a pod after a snapshot was taken, the NIC silenced, and everything given back, is byte for byte what
//! it said before. Each layout is that of a CNI, or one attribute that is easily lost.

use super::*;
use crate::lab::Lab;

/// The layouts: a name, and `ip` commands that make it.
const LAYOUTS: &[(&str, &[&str])] = &[
    (
        "flannel",
        &[
            "addr add 10.244.1.5/24 brd 10.244.1.255 dev eth0",
            "route add 10.244.0.0/16 via 10.244.1.1",
            "route add default via 10.244.1.1",
        ],
    ),
    (
        "calico",
        &[
            "addr add 192.168.1.10/32 dev eth0",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1 dev eth0",
        ],
    ),
    (
        "ptp",
        &[
            "addr add 10.1.2.5/24 dev eth0",
            "route del 10.1.2.0/24 dev eth0",
            "route add 10.1.2.1 dev eth0 scope link src 10.1.2.5",
            "route add 10.1.2.0/24 via 10.1.2.1 dev eth0 src 10.1.2.5",
            "route add default via 10.1.2.1 dev eth0",
        ],
    ),
    (
        "azure",
        &[
            "addr add 10.240.0.25/12 dev eth0",
            "route del 10.240.0.0/12 dev eth0",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1 dev eth0",
            "neigh add 169.254.1.1 lladdr aa:aa:aa:aa:aa:aa nud permanent dev eth0",
        ],
    ),
    (
        "aws",
        &[
            "addr add 20.0.49.215/32 dev eth0",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1 dev eth0",
            "neigh add 169.254.1.1 lladdr 02:00:00:00:00:20 nud permanent dev eth0",
            "addr add fd00:1::215/128 dev eth0",
            "neigh add fe80::1 lladdr 02:00:00:00:00:20 nud permanent dev eth0 router",
            "-6 route add default via fe80::1 dev eth0",
        ],
    ),
    (
        "dual stack",
        &[
            "addr add 10.244.1.5/24 dev eth0",
            "route add default via 10.244.1.1",
            "addr add fd00:10:244::5/64 dev eth0",
            "-6 route add default via fd00:10:244::1 dev eth0",
        ],
    ),
    (
        "dual stack ptp",
        &[
            "addr add fd00:10:244::5/64 dev eth0",
            "-6 route del fd00:10:244::/64 dev eth0",
            "-6 route add fd00:10:244::1 dev eth0",
            "-6 route add fd00:10:244::/64 via fd00:10:244::1 dev eth0",
            "-6 route add default via fd00:10:244::1 dev eth0",
        ],
    ),
    (
        "many addresses",
        &[
            "addr add 10.0.0.5/24 dev eth0 label eth0:a",
            "addr add 10.0.0.3/24 dev eth0",
            "addr add 10.0.0.4/24 dev eth0 valid_lft forever preferred_lft 0",
            "addr add 172.16.0.1 peer 172.16.0.2 dev eth0 scope link",
            "addr add 10.9.0.1/16 dev eth0 metric 77",
            "addr add fd00::5/64 dev eth0",
            "addr add fd00::3/64 dev eth0 nodad",
            "addr add fd00::4/64 dev eth0 noprefixroute",
            "addr add fd01::4/64 dev eth0 metric 99",
        ],
    ),
    (
        "another table",
        &[
            "addr add 10.0.0.5/24 dev eth0",
            "addr add 10.0.0.6/24 dev eth0",
            "route add default via 10.0.0.1 table 100 metric 50 mtu 1400 src 10.0.0.6 proto static",
            "route add 10.5.0.0/16 via 10.0.0.1 table 70000 advmss 1300 initcwnd 20 realm 5",
            "route add default via 10.0.0.1 mtu lock 1450 window 1000",
            "rule add from 10.0.0.6 lookup 100",
            "addr add fd00::5/64 dev eth0",
            "-6 route add fd05::/64 via fd00::1 table 100 metric 50 mtu 1400 src fd00::5 proto static pref high",
        ],
    ),
    (
        "multipath",
        &[
            "addr add 10.0.0.5/24 dev eth0",
            "route add 10.6.0.0/16 nexthop via 10.0.0.1 dev eth0 weight 3 nexthop via 10.0.0.2 dev eth0 onlink",
            "addr add fd00::5/64 dev eth0",
            "-6 route add fd06::/64 nexthop via fd00::1 dev eth0 weight 3 nexthop via fd00::2 dev eth0",
        ],
    ),
    (
        "noprefixroute and onlink",
        &[
            "addr add 10.0.0.5/24 dev eth0 noprefixroute",
            "route add default via 10.77.0.1 dev eth0 onlink",
            "route add 10.8.0.0/16 dev eth0 proto dhcp tos 0x10 metric 9",
        ],
    ),
    (
        "a next hop of the other family",
        &["addr add 10.0.0.5/32 dev eth0", "route add default via inet6 fe80::1 dev eth0"],
    ),
    ("no link-local address", &["addr add 10.0.0.5/24 dev eth0", "addr flush dev eth0 scope link"]),
    ("no address", &[]),
    ("arp off", &["addr add 10.0.0.5/24 dev eth0", "link set eth0 arp off"]),
    ("link down", &["addr add 10.0.0.5/24 dev eth0", "link set eth0 down"]),
    (
        "a route behind a route behind a route",
        &[
            "addr add 10.0.0.5/32 dev eth0",
            "route add 10.1.0.1 dev eth0",
            "route add 10.2.0.0/16 via 10.1.0.1 dev eth0",
        ],
    ),
];

fn lab_with(commands: &[&str]) -> Option<Lab> {
    lab_with_dad(commands, false)
}

fn lab_with_dad(commands: &[&str], dad: bool) -> Option<Lab> {
    let lab = Lab::with_dad(dad)?;
    for command in commands {
        lab.pod.ip(command);
    }
    // "no link-local address" has none to wait for; every other layout has.
    if !commands.iter().any(|command| command.contains("flush") || command.contains("arp off")) {
        lab.wait_for_dad();
    }
    Some(lab)
}

async fn take(lab: &Lab, netlink: &Netlink) -> Snapshot {
    let ifindex = netlink.nic("eth0").await.unwrap().unwrap().ifindex;
    let snapshot = Snapshot::take(netlink, &lab.pod.open(), ifindex).await.unwrap();
    // By way of the journal.
    let text = serde_json::to_string(&snapshot).unwrap();
    let read: Snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(read, snapshot);
    read
}

#[track_caller]
fn assert_same(before: &str, after: &str, what: &str) {
    let difference: Vec<_> = before
        .lines()
        .filter(|line| !after.lines().any(|other| other == *line))
        .map(|line| format!("- {line}"))
        .chain(after.lines().filter(|line| !before.lines().any(|other| other == *line)).map(|line| format!("+ {line}")))
        .collect();
    assert!(before == after, "{what}:\n{}\n{before}", difference.join("\n"));
}

#[tokio::test]
async fn every_layout_comes_back_byte_for_byte() {
    for (name, commands) in LAYOUTS {
        let Some(lab) = lab_with_dad(commands, name.contains("dual stack")) else { return };
        let (pod, netlink) = (lab.pod.open(), lab.netlink());
        let before = lab.state();
        let snapshot = take(&lab, &netlink).await;
        snapshot.silence(&netlink, &pod).await.unwrap();
        let silent = lab.pod.ip("-d addr show dev eth0");
        assert!(silent.contains("NOARP") && silent.contains("UP"), "{name}: {silent}");
        assert!(silent.contains(&snapshot.silent_mac.to_string()) && !silent.contains("inet"), "{name}: {silent}");
        snapshot.restore(&netlink, &pod).await.unwrap_or_else(|error| panic!("{name}: {error}\n{before}"));
        assert_same(&before, &lab.state(), name);
        snapshot.restore(&netlink, &pod).await.unwrap();
        assert_same(&before, &lab.state(), "twice");
    }
}

#[tokio::test]
async fn every_prefix_of_silence_comes_back() {
    for (name, commands) in LAYOUTS.iter().filter(|(name, _)| ["ptp", "many addresses", "aws"].contains(name)) {
        for count in 0..=Step::ALL.len() {
            let Some(lab) = lab_with(commands) else { return };
            let (pod, netlink) = (lab.pod.open(), lab.netlink());
            let before = lab.state();
            let snapshot = take(&lab, &netlink).await;
            let nic = snapshot.identify(&netlink).await.unwrap();
            for step in &Step::ALL[..count] {
                // Each step may be done twice.
                snapshot.step(&netlink, &pod, &nic, *step).await.unwrap();
                snapshot.step(&netlink, &pod, &nic, *step).await.unwrap();
            }
            snapshot.restore(&netlink, &pod).await.unwrap_or_else(|error| panic!("{name}, {count}: {error}"));
            assert_same(&before, &lab.state(), name);
        }
    }
}

#[tokio::test]
async fn an_interrupted_restore_is_finished_by_the_next() {
    let layout = LAYOUTS.iter().find(|(name, _)| *name == "many addresses").unwrap();
    for after in [1_u64, 2, 4, 8, 16, 32] {
        let Some(lab) = lab_with(layout.1) else { return };
        let (pod, netlink) = (lab.pod.open(), lab.netlink());
        let before = lab.state();
        let snapshot = take(&lab, &netlink).await;
        snapshot.silence(&netlink, &pod).await.unwrap();
        let limit = std::time::Duration::from_millis(after);
        let _ = tokio::time::timeout(limit, snapshot.restore(&netlink, &pod)).await;
        snapshot.restore(&netlink, &pod).await.unwrap();
        assert_same(&before, &lab.state(), "interrupted");
    }
}

#[tokio::test]
async fn settings_that_change_what_the_kernel_does_of_itself_do_not_matter() {
    let layout = LAYOUTS.iter().find(|(name, _)| *name == "many addresses").unwrap();
    for setting in [
        "ipv4.conf.all.promote_secondaries=1",
        "ipv6.conf.eth0.keep_addr_on_down=1",
        "ipv6.conf.eth0.addr_gen_mode=1",
        "ipv6.conf.eth0.disable_ipv6=1",
        "ipv6.conf.all.ignore_routes_with_linkdown=1",
    ] {
        let Some(lab) = lab_with(layout.1) else { return };
        lab.pod.exec(&format!("sysctl -qw net.{setting}"));
        let (pod, netlink) = (lab.pod.open(), lab.netlink());
        let before = lab.state();
        let snapshot = take(&lab, &netlink).await;
        snapshot.silence(&netlink, &pod).await.unwrap();
        snapshot.restore(&netlink, &pod).await.unwrap_or_else(|error| panic!("{setting}: {error}"));
        assert_same(&before, &lab.state(), setting);
    }
}

#[tokio::test]
async fn a_link_without_carrier_comes_back() {
    let Some(lab) = lab_with(LAYOUTS[5].1) else { return };
    lab.node.ip(&format!("link set {} down", crate::lab::HOST_SIDE));
    crate::lab::wait_for(|| lab.pod.ip("link show dev eth0").contains("NO-CARRIER"));
    crate::lab::wait_for(|| lab.pod.ip("-6 route").contains("linkdown"));
    let (pod, netlink) = (lab.pod.open(), lab.netlink());
    let snapshot = take(&lab, &netlink).await;
    snapshot.silence(&netlink, &pod).await.unwrap();
    snapshot.restore(&netlink, &pod).await.unwrap();
    assert_eq!(snapshot.differences(&netlink, &pod).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn lifetimes_are_kept_and_there_is_no_new_detection() {
    let Some(lab) = Lab::with_dad(true) else { return };
    for command in [
        "addr add 10.0.0.5/24 dev eth0 valid_lft 3600 preferred_lft 1800",
        "addr add fd00::5/64 dev eth0 valid_lft 3600 preferred_lft 1800",
        "-6 route add fd06::/64 dev eth0 expires 1800",
    ] {
        lab.pod.ip(command);
    }
    lab.wait_for_dad();
    let (pod, netlink) = (lab.pod.open(), lab.netlink());
    let snapshot = take(&lab, &netlink).await;
    snapshot.silence(&netlink, &pod).await.unwrap();
    let start = std::time::Instant::now();
    snapshot.restore(&netlink, &pod).await.unwrap();
    // With detection it would be a second at least.
    assert!(start.elapsed().as_millis() < 900, "{:?}", start.elapsed());
    assert!(!lab.pod.ip("-6 addr show dev eth0").contains("tentative"));
    let text = lab.pod.ip("addr show dev eth0") + &lab.pod.ip("-6 route");
    for (word, limit) in [("valid_lft ", 3600), ("preferred_lft ", 1800), ("metric 1024 expires ", 1800)] {
        let left: Vec<u32> = text
            .split(word)
            .skip(1)
            .filter_map(|rest| rest.split("sec").next().and_then(|digits| digits.trim().parse().ok()))
            .collect();
        assert!(!left.is_empty() && left.iter().all(|left| (limit - 60..=limit).contains(left)), "{word}: {text}");
    }
    assert_eq!(lab.pod.exec("cat /proc/sys/net/ipv6/conf/eth0/accept_dad").trim(), "1");
}

#[tokio::test]
async fn a_route_that_appeared_meanwhile_is_gone() {
    let Some(lab) = lab_with(LAYOUTS[0].1) else { return };
    let (pod, netlink) = (lab.pod.open(), lab.netlink());
    let before = lab.state();
    let snapshot = take(&lab, &netlink).await;
    for command in [
        "addr add 10.99.0.1/24 dev eth0",
        "route add 10.98.0.0/16 dev eth0 table 5",
        "addr add fd99::1/64 dev eth0",
        "neigh add 10.244.1.9 lladdr 02:00:00:00:00:09 nud permanent dev eth0",
    ] {
        lab.pod.ip(command);
    }
    assert_eq!(snapshot.differences(&netlink, &pod).await.unwrap().len(), 6);
    snapshot.restore(&netlink, &pod).await.unwrap();
    assert_same(&before, &lab.state(), "meanwhile");
}

#[tokio::test]
async fn silence_twice_is_silence_once() {
    let Some(lab) = lab_with(LAYOUTS[0].1) else { return };
    let (pod, netlink) = (lab.pod.open(), lab.netlink());
    let snapshot = take(&lab, &netlink).await;
    snapshot.silence(&netlink, &pod).await.unwrap();
    let silent = lab.state();
    snapshot.silence(&netlink, &pod).await.unwrap();
    assert_same(&silent, &lab.state(), "silent");
}

#[tokio::test]
async fn another_nic_with_the_same_number_is_left_alone() {
    let Some(lab) = lab_with(LAYOUTS[0].1) else { return };
    let (pod, netlink) = (lab.pod.open(), lab.netlink());
    let snapshot = take(&lab, &netlink).await;
    snapshot.silence(&netlink, &pod).await.unwrap();
    lab.pod.ip("link del eth0");
    assert!(snapshot.restore(&netlink, &pod).await.is_err(), "it is gone");
    lab.pod.ip(&format!("link add eth0 index {} type bridge", snapshot.ifindex));
    let before = lab.state();
    let error = snapshot.restore(&netlink, &pod).await.unwrap_err();
    assert!(error.to_string().contains("bridge"), "{error}");
    assert_same(&before, &lab.state(), "left alone");
    assert!(before.contains("bridge"));
}

#[tokio::test]
async fn a_route_of_a_nexthop_object_is_refused_with_the_remedy() {
    let commands =
        ["addr add 10.0.0.5/24 dev eth0", "nexthop add id 7 via 10.0.0.1 dev eth0", "route add 10.9.0.0/16 nhid 7"];
    let Some(lab) = lab_with(&commands) else { return };
    let netlink = lab.netlink();
    let ifindex = netlink.nic("eth0").await.unwrap().unwrap().ifindex;
    let error = Snapshot::take(&netlink, &lab.pod.open(), ifindex).await.unwrap_err();
    assert!(error.to_string().contains("nexthop object 7"), "{error}");
    assert_eq!(error.hint(), Some("--mac-mode keep"));
}

#[tokio::test]
async fn what_cannot_be_given_back_is_told_and_the_rest_comes_back() {
    let Some(lab) = lab_with(LAYOUTS[0].1) else { return };
    let (pod, netlink) = (lab.pod.open(), lab.netlink());
    let before = lab.state();
    let mut snapshot = take(&lab, &netlink).await;
    // A gateway that is nowhere.
    let lost = rtm_route_via([10, 99, 0, 1], snapshot.ifindex);
    snapshot.routes.insert(0, lost);
    snapshot.silence(&netlink, &pod).await.unwrap();
    let error = snapshot.restore(&netlink, &pod).await.unwrap_err().to_string();
    assert!(error.contains("10.88.0.0/16 via 10.99.0.1") && error.contains("missing"), "{error}");
    assert_same(&before, &lab.state(), "the rest");
}

fn rtm_route_via(gateway: [u8; 4], ifindex: u32) -> RawMessage {
    RawMessage::new(rtm::RTM_NEWROUTE, &[rtm::AF_INET, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0])
        .with(rtm::RTA_DST, &[10, 88, 0, 0])
        .with(rtm::RTA_GATEWAY, &gateway)
        .with(rtm::RTA_OIF, &ifindex.to_ne_bytes())
}
