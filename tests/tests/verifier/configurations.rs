//! Every configuration that attach can give the programs: each constant with each of the values that lead the verifier
//! another way.
//!
//! All of them together are too many for an emulated CPU. [`covering`] has each pair of values of any two constants at
//! least once, and the two ends, everything off and everything on; and the guard without each of its rules. [`all`] is the
//! whole product, but for the rules: those are relaxed one at a time there, too.

use std::collections::BTreeSet;

use binding_common::{
    MacAddr,
    dhcp::{SERVER_MAC, Server},
};
use binding_user::{
    datapath::{Constants, PortalConstants},
    dhcp::Replies,
    guest_mac::GuestMac,
    lease::{Lease, LeaseRoute},
    neighbours::ArpTable,
    portal,
};

use crate::guards::{GUARDS, Guards, relaxations};

const NETWORK_MAC: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x77]);
const ADDRESS: [u8; 4] = [10, 244, 1, 5];
const GATEWAY: [u8; 4] = [10, 244, 1, 1];

/// What the programs are loaded with.
pub(crate) struct Configuration {
    /// The words of its values, by commas.
    pub(crate) name: String,
    pub(crate) constants: Constants,
    pub(crate) replies: Option<Replies>,
}

/// What the guest is answered.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    /// A pure wire: without a lease there is no ARP table either.
    Nothing,
    Dhcp,
    DhcpAndTable,
    DhcpAndAllArp,
}

/// Whether frames to the guest go through a portal, and what the kernel has to look at it with.
#[derive(Clone, Copy, PartialEq)]
enum Portal {
    None,
    Unchecked,
    /// By a helper that kernels before 5.12 lack: there, attach never makes this.
    Checked,
}

/// The values of one configuration, one of each dimension.
#[derive(Clone, Copy)]
struct Values {
    peer: bool,
    portal: Portal,
    from_peer: bool,
    /// MTU of the pod NIC and of the tap.
    mtus: (u32, u32),
    /// Interface indexes of the two.
    indexes: (u32, u32),
    guest_mac: GuestMac,
    answers: Answers,
    guard: Guards,
}

const SWITCH: [bool; 2] = [false, true];
/// The usual one, the least that a lease can be laid out for, jumbo frames behind a smaller tap, the most that a veth has.
const MTUS: [(u32, u32); 4] = [(1500, 1500), (600, 600), (9000, 1500), (65_535, 65_521)];
const INDEXES: [(u32, u32); 2] = [(2, 3), (i32::MAX as u32 - 1, i32::MAX as u32)];
const GUEST_MACS: [GuestMac; 3] = [GuestMac::Nic, GuestMac::Learn, GuestMac::Fixed(OTHER_MAC)];
const PORTALS: [Portal; 3] = [Portal::None, Portal::Unchecked, Portal::Checked];
const ANSWERS: [Answers; 4] = [Answers::Nothing, Answers::Dhcp, Answers::DhcpAndTable, Answers::DhcpAndAllArp];

/// Where a configuration stands in each dimension.
type Place = Vec<usize>;

/// How many values each dimension has, in the order of [`Values::at`].
const SIZES: [usize; 8] = [
    SWITCH.len(),
    SWITCH.len(),
    MTUS.len(),
    INDEXES.len(),
    GUEST_MACS.len(),
    ANSWERS.len(),
    GUARDS.len(),
    PORTALS.len(),
];

impl Values {
    fn at(place: &Place) -> Self {
        Self {
            peer: SWITCH[place[0]],
            from_peer: SWITCH[place[1]],
            mtus: MTUS[place[2]],
            indexes: INDEXES[place[3]],
            guest_mac: GUEST_MACS[place[4]],
            answers: ANSWERS[place[5]],
            guard: GUARDS[place[6]],
            portal: PORTALS[place[7]],
        }
    }

    fn name(&self) -> String {
        let Self { peer, portal, from_peer, mtus, indexes, guest_mac, answers, guard } = self;
        let mut words = vec![if *peer { "peer" } else { "redirect" }.to_owned()];
        words.extend(from_peer.then(|| "from-peer".to_owned()));
        words.push(format!("mtu {}/{}", mtus.0, mtus.1));
        words.push(format!("index {}/{}", indexes.0, indexes.1));
        words.push(match guest_mac {
            GuestMac::Fixed(_) => "mac fixed".to_owned(),
            other => format!("mac {other}"),
        });
        let answers = match answers {
            Answers::Nothing => "dhcp off",
            Answers::Dhcp => "dhcp",
            Answers::DhcpAndTable => "dhcp, arp table",
            Answers::DhcpAndAllArp => "dhcp, arp all",
        };
        words.push(answers.to_owned());
        words.push(guard.name());
        words.extend(match portal {
            Portal::None => None,
            Portal::Unchecked => Some("portal, not checked".to_owned()),
            Portal::Checked => Some("portal".to_owned()),
        });
        words.join(", ")
    }

    fn configuration(self) -> Configuration {
        let Self { peer, portal, from_peer, mtus, indexes, guest_mac, answers, guard } = self;
        let server = Server { lease: ADDRESS, identifier: GATEWAY, guest: guest_mac.expected(NETWORK_MAC) };
        let table = ArpTable { entries: vec![(GATEWAY.into(), SERVER_MAC)], others: None, server: SERVER_MAC };
        let (dhcp, arp) = match answers {
            Answers::Nothing => (None, ArpTable::default()),
            Answers::Dhcp => (Some(server), ArpTable { server: SERVER_MAC, ..ArpTable::default() }),
            Answers::DhcpAndTable => (Some(server), table),
            Answers::DhcpAndAllArp => (Some(server), ArpTable { others: Some(SERVER_MAC), ..table }),
        };
        // Written out in full: a constant that is new must be given its dimension here.
        let constants = Constants {
            nic: indexes.0,
            tap: indexes.1,
            mtu: mtus.0,
            tap_mtu: mtus.1,
            peer,
            portal: match portal {
                Portal::None => None,
                _ => Some(PortalConstants {
                    ifindex: indexes.0,
                    check: portal == Portal::Checked && portal::has_check_mtu(),
                }),
            },
            from_peer,
            network_mac: NETWORK_MAC,
            guest_mac,
            dhcp,
            arp,
            guard: guard.constants(dhcp.is_some()),
        };
        let replies = dhcp.map(|server| Replies::new(&lease(server.guest, mtus.1.min(mtus.0))).unwrap());
        Configuration { name: self.name(), constants, replies }
    }
}

/// What the replies are laid out from; the verifier sees nothing of it.
fn lease(mac: MacAddr, mtu: u32) -> Lease {
    Lease {
        mac,
        address: "10.244.1.5/24".parse().unwrap(),
        gateway: Some(GATEWAY.into()),
        routes: vec![LeaseRoute { dst: "0.0.0.0/0".parse().unwrap(), via: Some(GATEWAY.into()) }],
        dns: vec!["10.96.0.10".parse().unwrap()],
        search: vec!["cluster.local".to_owned()],
        mtu,
        hostname: None,
        neighbours: Vec::new(),
        server_id: GATEWAY.into(),
        seconds: 3600,
        ntp_servers: Vec::new(),
        tftp_server_name: None,
        boot_file_name: None,
        tftp_servers: Vec::new(),
        private_options: Vec::new(),
    }
}

/// The whole product, and each relaxation with everything else on.
pub(crate) fn all() -> Vec<Configuration> {
    let places = places();
    let product = places.iter().map(Values::at);
    let on = Values::at(places.last().unwrap());
    product.chain(relaxations().map(|guard| Values { guard, ..on })).map(Values::configuration).collect()
}

/// Those that have every pair of values, the two ends, and each relaxation of the guard with everything else on.
pub(crate) fn covering() -> Vec<Configuration> {
    let places = places();
    let covering = cover(&places).into_iter().map(|place| Values::at(&place));
    let on = Values::at(places.last().unwrap());
    let relaxed = relaxations().map(|guard| {
        // A responder makes the rest twenty times as long to verify, so it is there where the two meet.
        let answers = if guard.meets_responders() { on.answers } else { Answers::Nothing };
        Values { answers, guard, ..on }
    });
    covering.chain(relaxed).map(Values::configuration).collect()
}

fn places() -> Vec<Place> {
    let mut places = vec![Place::new()];
    for size in SIZES {
        places = places.iter().flat_map(|place| (0..size).map(|at| [place.as_slice(), &[at]].concat())).collect();
    }
    places
}

/// A pair of values: (dimension, value), twice.
type Pair = ((usize, usize), (usize, usize));

fn pairs(place: &Place) -> Vec<Pair> {
    let values: Vec<_> = place.iter().copied().enumerate().collect();
    let second = |first: usize| values[first + 1..].iter().map(move |other| (first, *other));
    (0..values.len()).flat_map(second).map(|(first, other)| (values[first], other)).collect()
}

fn has(place: &Place, (first, second): &Pair) -> bool {
    place[first.0] == first.1 && place[second.0] == second.1
}

/// The two ends, and then again and again the one that has the most pairs which none has had so far.
fn cover(places: &[Place]) -> Vec<Place> {
    let ends = [places.first(), places.last()].map(|end| end.unwrap().clone());
    let mut missing: BTreeSet<Pair> = places.iter().flat_map(pairs).collect();
    let mut chosen = Vec::new();
    for end in ends {
        missing.retain(|pair| !has(&end, pair));
        chosen.push(end);
    }
    while !missing.is_empty() {
        let gain = |place: &&Place| pairs(place).iter().filter(|pair| missing.contains(pair)).count();
        let best = places.iter().max_by_key(gain).unwrap().clone();
        missing.retain(|pair| !has(&best, pair));
        chosen.push(best);
    }
    chosen
}

#[test]
fn the_covering_configurations_have_every_pair_of_values_and_both_ends() {
    let places = places();
    let wanted: BTreeSet<Pair> = places.iter().flat_map(pairs).collect();
    let chosen = cover(&places);
    let had: BTreeSet<Pair> = chosen.iter().flat_map(pairs).collect();
    assert_eq!(wanted, had);
    assert!(chosen.contains(places.first().unwrap()) && chosen.contains(places.last().unwrap()));
    assert!(chosen.len() < places.len() / 4, "{} of {}", chosen.len(), places.len());
    println!("{} of {} configurations", chosen.len(), places.len());
}
