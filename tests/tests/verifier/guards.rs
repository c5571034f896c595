//! The guard's part of a configuration: which rules hold, and what passes beside.

use binding_common::{
    MacAddr,
    guard::{Exceptions, MAX_ETHER_TYPES, MAX_MACS, MAX_OTHERS, MAX_PREFIXES, Rule, Rules},
};
use binding_user::guard::GuardConstants;

/// What attach can make of the guard.
#[derive(Clone, Copy)]
pub(crate) struct Guards {
    rules: Held,
    beside: Beside,
}

#[derive(Clone, Copy, PartialEq)]
enum Held {
    None,
    All,
    AllBut(Rule),
}

#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    /// What every pod with IPv6 has: its address, and its router's.
    Pod,
    /// Every list full.
    Full,
}

/// The dimension; the first is off, the last is what costs most.
pub(crate) const GUARDS: [Guards; 4] = [
    Guards { rules: Held::None, beside: Beside::Nothing },
    Guards { rules: Held::All, beside: Beside::Nothing },
    Guards { rules: Held::All, beside: Beside::Pod },
    Guards { rules: Held::All, beside: Beside::Full },
];

/// The guard without each of its rules.
pub(crate) fn relaxations() -> impl Iterator<Item = Guards> {
    Rule::ALL.iter().map(|rule| Guards { rules: Held::AllBut(*rule), beside: Beside::Full })
}

impl Guards {
    /// Whether the rule that is off stands before a responder, or is off without one anyway.
    pub(crate) fn meets_responders(self) -> bool {
        matches!(self.rules, Held::AllBut(rule) if rule == Rule::SpoofedMac || rule.needs_addresses())
    }

    pub(crate) fn name(self) -> String {
        let rules = match self.rules {
            Held::None => "guard off".to_owned(),
            Held::All => "guard".to_owned(),
            Held::AllBut(rule) => format!("guard -{}", rule.name()),
        };
        let beside = match self.beside {
            Beside::Nothing => "",
            Beside::Pod => ", allowed the pod's",
            Beside::Full => ", allowed all lists full",
        };
        rules + beside
    }

    /// As `Guard::decide` and `Guard::constants` make them: without a lease, rules that need an address are off.
    pub(crate) fn constants(self, has_lease: bool) -> GuardConstants {
        let holds = |rule: &&Rule| match self.rules {
            Held::None => false,
            Held::All => true,
            Held::AllBut(other) => **rule != other,
        };
        let rules = Rule::ALL.iter().filter(holds).filter(|rule| has_lease || !rule.needs_addresses());
        let exceptions = match self.beside {
            Beside::Nothing => Exceptions::NONE,
            Beside::Pod => exceptions(1, 1, 0, 0),
            Beside::Full => full(),
        };
        // Written out in full, as the constants are.
        GuardConstants { rules: rules.fold(Rules::NONE, |rules, rule| rules.with(*rule)), exceptions }
    }
}

/// So many entries of the lists, all of them different.
fn exceptions(prefixes: usize, others: usize, macs: usize, ether_types: usize) -> Exceptions {
    let mut exceptions = Exceptions::NONE;
    let octet = |number: usize| u8::try_from(number).unwrap();
    for number in 0..prefixes {
        exceptions.allow_ipv6([octet(number + 1); 16], 64 + u32::from(octet(number))).unwrap();
    }
    for number in 0..others {
        let address = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, octet(number + 1)];
        exceptions.forbid_link_local(address).unwrap();
    }
    for number in 0..macs {
        exceptions.allow_mac(MacAddr([2, 0, 0, 0, 1, octet(number)])).unwrap();
    }
    for number in 0..ether_types {
        exceptions.allow_ether_type(0x8900 + u16::from(octet(number))).unwrap();
    }
    exceptions
}

fn full() -> Exceptions {
    let mut full = exceptions(MAX_PREFIXES, MAX_OTHERS, MAX_MACS, MAX_ETHER_TYPES);
    for number in 0..MAX_PREFIXES {
        full.allow_ipv4([10, 0, u8::try_from(number).unwrap(), 0], 24).unwrap();
    }
    (0..4096).for_each(|vlan| full.allow_vlan(vlan));
    full.allow_lldp();
    full
}

#[test]
fn no_list_takes_more_than_the_full_ones_have() {
    let mut full = full();
    assert!(full.allow_ipv4([0; 4], 0).is_err() && full.allow_ipv6([0; 16], 0).is_err());
    assert!(full.forbid_link_local([0; 16]).is_err());
    assert!(full.allow_mac(MacAddr::ZERO).is_err() && full.allow_ether_type(0).is_err());
}
