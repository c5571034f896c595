//! Where a reply goes, and what of the request it repeats.

use crate::{
    answer::{Outcome, ack, ack_to_user_of, facts, nak, offer},
    bench::{Row, row},
    request::{
        BROADCAST, BROADCAST_MAC, GATEWAY, GATEWAY_MAC, LEASE, OTHER, bootp, discover, inform, rebinding, reboot,
        renewing, selecting,
    },
};

/// A relay on the guest's link.
const RELAY: [u8; 4] = [10, 244, 1, 9];

#[test]
fn a_reply_goes_where_the_client_listens() {
    lab::require_root!();
    crate::check(&[by_flag(), by_address(), through_relays(), to_others()].concat());
}

#[test]
fn a_reply_repeats_what_it_must_and_nothing_else() {
    lab::require_root!();
    crate::check(&fields());
}

fn by_flag() -> Vec<Row> {
    let source = "RFC 2131, 4.1; vpcs#47, simple_dhcp_server#17, nmap#2470";
    vec![
        row("The flag asks for a broadcast OFFER", source, discover().flags(BROADCAST), offer().broadcast().reply()),
        row(
            "The flag asks for a broadcast ACK",
            source,
            selecting(GATEWAY, LEASE).flags(BROADCAST),
            ack().broadcast().reply(),
        ),
        row("It does after a reboot", source, reboot(LEASE).flags(BROADCAST), ack().broadcast().reply()),
        row("Other flags ask for nothing", source, discover().flags(!BROADCAST), offer().reply()),
        row("A NAK is broadcast without the flag", source, reboot(OTHER), nak().reply()),
        row("A NAK is broadcast with it", source, reboot(OTHER).flags(BROADCAST), nak().reply()),
    ]
}

fn by_address() -> Vec<Row> {
    let kea = "RFC 2131, 4.1; Kea, adjustRemoteAddr";
    let forgotten = inform([0; 4]).flags(BROADCAST).with(|request| request.source = LEASE);
    vec![
        row("ciaddr comes before the flag", kea, rebinding(LEASE).flags(BROADCAST), ack_to_user_of(LEASE).reply()),
        row("ciaddr comes before the flag of an INFORM", kea, inform(LEASE).flags(BROADCAST), facts(LEASE).reply()),
        row("The flag decides for an INFORM without ciaddr", kea, forgotten, facts([0; 4]).broadcast().reply()),
        row(
            "A renewal carries the gateway's MAC",
            "OPTE, gateway/dhcp.rs",
            renewing(LEASE).with(|request| request.destination_mac = GATEWAY_MAC),
            ack_to_user_of(LEASE).reply(),
        ),
        row(
            "A renewal may carry any MAC",
            "RFC 2131, 4.1",
            renewing(LEASE).with(|request| request.destination_mac = BROADCAST_MAC),
            ack_to_user_of(LEASE).reply(),
        ),
    ]
}

fn through_relays() -> Vec<Row> {
    let perfdhcp = "RFC 2131, 4.1; perfdhcp, setDefaults4";
    vec![
        row(
            "A relayed DISCOVER is answered at the relay",
            perfdhcp,
            discover().relayed_by(RELAY),
            offer().relayed_to(RELAY).reply(),
        ),
        row(
            "A relayed REQUEST is",
            perfdhcp,
            selecting(GATEWAY, LEASE).relayed_by(RELAY),
            ack().relayed_to(RELAY).reply(),
        ),
        row(
            "A relay comes before the flag",
            perfdhcp,
            discover().relayed_by(RELAY).flags(BROADCAST),
            offer().relayed_to(RELAY).reply(),
        ),
        row(
            "A relay comes before ciaddr",
            perfdhcp,
            rebinding(LEASE).relayed_by(RELAY),
            ack().repeating(LEASE).relayed_to(RELAY).reply(),
        ),
        row(
            "A relay is told to broadcast a NAK",
            "RFC 2131, 4.3.2",
            reboot(OTHER).relayed_by(RELAY),
            nak().relayed_to(RELAY).setting(BROADCAST).reply(),
        ),
        row(
            "A relayed message of another client",
            "RFC 2131, 4.1",
            discover().relayed_by(RELAY).with(|request| request.chaddr[5] ^= 1),
            Outcome::Dropped("dhcp-not-guest"),
        ),
    ]
}

fn to_others() -> Vec<Row> {
    let relay = |request: crate::request::Request| request.relayed_by(LEASE).to(OTHER);
    vec![
        row("A relay in the guest reaches its server", "RFC 1542, 4.1", relay(discover()), Outcome::Passes),
        row("It does with what is no DHCP", "RFC 1542, 4.1", relay(bootp()), Outcome::Passes),
        row(
            "A client that sends to a server is no relay",
            "RFC 2131, 4.1",
            discover().to(OTHER),
            Outcome::Dropped("dhcp-other-server"),
        ),
        row(
            "The broadcast address of the subnet is not this server",
            "RFC 2131, 4.1",
            discover().to([10, 244, 1, 255]),
            Outcome::Dropped("dhcp-other-server"),
        ),
    ]
}

fn fields() -> Vec<Row> {
    let table = "RFC 2131, table 3";
    let noisy = |request: crate::request::Request| {
        request.with(|request| {
            (request.secs, request.hops) = (0x0a00, 3);
            request.chaddr[6..].copy_from_slice(b"the rest!!");
            request.sname = vec![b's'; 64];
            request.file = vec![b'f'; 128];
        })
    };
    vec![
        row("secs, hops, sname, file do not come back", table, noisy(discover()), offer().reply()),
        row("Nor in an ACK", table, noisy(renewing(LEASE)), ack_to_user_of(LEASE).reply()),
        row("Nor in a NAK", table, noisy(reboot(OTHER)), nak().reply()),
        row("Nor in the facts", table, noisy(inform(LEASE)), facts(LEASE).reply()),
        row("A DISCOVER's ciaddr is not repeated", table, discover().from(LEASE), offer().reply()),
        row("A NAK has no ciaddr", table, rebinding(OTHER), nak().reply()),
    ]
}
