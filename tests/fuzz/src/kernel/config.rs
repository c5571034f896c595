//! Configurations of the programs: each constant that leaves code out of them, or in.

use binding_common::{
    dhcp::SERVER_MAC,
    guard::{Rule, Rules},
};
use binding_user::{
    datapath::{Constants, PortalConstants},
    guard::GuardConstants,
    guest_mac::GuestMac,
    neighbours::ArpTable,
};

use crate::{
    bindings::{self, Binding, GATEWAY, GATEWAY_MAC, GUEST, OTHER, OTHER_MAC},
    guard,
    model::Model,
};

/// Index of the tap; the kernel sends nothing in a test run, so it need not exist.
pub const TAP: u32 = 77;

/// A configuration.
pub struct Config {
    /// What it is, in a word.
    pub name: &'static str,
    constants: Constants,
    binding: Option<&'static Binding>,
}

impl Config {
    fn new(name: &'static str, binding: Option<u8>, change: impl FnOnce(&mut Constants)) -> Self {
        let binding = binding.map(bindings::chosen);
        let mut constants = Constants {
            nic: 1,
            tap: TAP,
            mtu: 1500,
            tap_mtu: 1500,
            peer: false,
            // The loopback device, which is there wherever a test run is, and takes frames of any length.
            portal: Some(PortalConstants { ifindex: 1, check: true }),
            from_peer: true,
            network_mac: GUEST,
            guest_mac: GuestMac::Nic,
            dhcp: binding.map(|binding| binding.server),
            arp: binding.map(|binding| ArpTable::of(&binding.lease, GATEWAY_MAC)).unwrap_or_default(),
            guard: GuardConstants::OFF,
        };
        change(&mut constants);
        Self { name, constants, binding }
    }

    /// The constants of the programs.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// The lease, if there is one.
    pub fn binding(&self) -> Option<&'static Binding> {
        self.binding
    }

    /// The model of the programs.
    pub fn model(&self) -> Model {
        Model::new(self.constants.clone(), self.binding)
    }
}

/// All of them. A case names its own by place, so new ones come last.
pub fn all() -> Vec<Config> {
    vec![
        Config::new("usual", Some(0), |_| {}),
        Config::new("wire", None, |_| {}),
        Config::new("no gateway", Some(1), |_| {}),
        Config::new("routed, by peer", Some(2), |constants| constants.peer = true),
        Config::new("many options, guest's own MAC", Some(3), |constants| {
            constants.guest_mac = GuestMac::Fixed(OTHER_MAC);
        }),
        Config::new("small MTU, learnt MAC", Some(4), |constants| {
            constants.guest_mac = GuestMac::Learn;
            constants.mtu = 400;
            constants.tap_mtu = 400;
        }),
        Config::new("ARP table", Some(0), |constants| {
            constants.arp.entries.extend([(OTHER.into(), OTHER_MAC), (GATEWAY.into(), SERVER_MAC)]);
            constants.from_peer = false;
        }),
        Config::new("ARP for all", Some(1), |constants| {
            constants.arp.entries.push((OTHER.into(), OTHER_MAC));
            constants.arp.others = Some(SERVER_MAC);
        }),
        Config::new("wire, learnt MAC", None, |constants| constants.guest_mac = GuestMac::Learn),
        Config::new("wire, guest's own MAC, not from peer", None, |constants| {
            constants.guest_mac = GuestMac::Fixed(OTHER_MAC);
            constants.from_peer = false;
        }),
        Config::new("guard", Some(0), |constants| constants.guard = guard::strict()),
        Config::new("relaxed guard", Some(2), |constants| constants.guard = guard::relaxed()),
        Config::new("guard, guest's own MAC", Some(1), |constants| {
            constants.guard = guard::strict();
            constants.guest_mac = GuestMac::Fixed(OTHER_MAC);
        }),
        Config::new("relaxed guard, learnt MAC", Some(0), |constants| {
            constants.guard = guard::relaxed();
            constants.guest_mac = GuestMac::Learn;
        }),
        Config::new("guard of a wire", None, |constants| {
            constants.guard = guard::relaxed();
            constants.guard.rules = Rule::ALL
                .iter()
                .filter(|rule| !rule.needs_addresses())
                .fold(Rules::NONE, |rules, rule| rules.with(*rule));
        }),
    ]
}
