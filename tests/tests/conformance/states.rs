//! What comes of each message in each state of a client.

use crate::{
    answer::{Outcome, ack, ack_to_user_of, facts, nak, offer},
    bench::{Row, row},
    request::{
        GATEWAY, LEASE, NONE, OTHER, Request, bootp, discover, inform, message, rebinding, reboot, renewing, selecting,
    },
};

const MALFORMED: Outcome = Outcome::Dropped("dhcp-malformed");
const UNKNOWN: Outcome = Outcome::Dropped("dhcp-unknown-type");
const NOT_GUEST: Outcome = Outcome::Dropped("dhcp-not-guest");
const OTHER_SERVER: Outcome = Outcome::Dropped("dhcp-other-server");

#[test]
fn a_client_in_any_state_gets_its_answer() {
    lab::require_root!();
    crate::check(&[init(), choosing(), holding()].concat());
}

#[test]
fn what_asks_for_no_lease_gets_none() {
    lab::require_root!();
    crate::check(&[asking_for_facts(), giving_back(), not_for_a_server(), of_somebody_else()].concat());
}

fn init() -> Vec<Row> {
    vec![
        row("DISCOVER is offered the lease", "RFC 2131, 4.3.1", discover(), offer().reply()),
        row(
            "DISCOVER is, whatever address it suggests",
            "RFC 2131, 4.3.1",
            discover().requested(OTHER),
            offer().reply(),
        ),
        row(
            "DISCOVER is, whatever it says of a server",
            "RFC 2131, table 5",
            discover().option(54, &OTHER),
            offer().reply(),
        ),
        row(
            "DISCOVER that takes an ACK gets one, with option 80",
            "RFC 4039, 3.1",
            discover().option(80, &[]),
            ack().with(80, &[]).reply(),
        ),
        row(
            "Rapid commit is that of a DISCOVER alone",
            "RFC 4039, 4",
            reboot(LEASE).option(80, &[]),
            ack().without(&[80]).reply(),
        ),
        row("Two requests without a pause have two answers", "RFC 2131, 4.1", discover(), offer().reply())
            .then(selecting(GATEWAY, LEASE), ack().reply()),
        row("A DISCOVER that is sent again is answered again", "RFC 2131, 4.1", discover(), offer().reply())
            .then(discover(), offer().reply())
            .then(discover(), offer().reply()),
    ]
}

fn choosing() -> Vec<Row> {
    let nothing_else = || nak().codes(&[53, 54, 56]).octets(300);
    let identified = selecting(GATEWAY, OTHER).identified(b"\x01\x0a\x58\x0a\xf4\x01\x05");
    vec![
        row("SELECTING this server", "RFC 2131, 4.3.2", selecting(GATEWAY, LEASE), ack().reply()),
        row("SELECTING it with a wrong address", "RFC 2131, 4.3.2", selecting(GATEWAY, OTHER), nothing_else().reply()),
        row("SELECTING another server is to leave this one", "RFC 2131, 4.3.2", selecting(OTHER, LEASE), OTHER_SERVER),
        row("SELECTING another server, that address", "RFC 2131, 4.3.2", selecting(OTHER, OTHER), OTHER_SERVER),
        row(
            "SELECTING with the address in ciaddr",
            "RFC 2131, 4.3.2, not by its letter",
            message(3).option(54, &GATEWAY).with(|request| request.ciaddr = LEASE),
            ack_to_user_of(LEASE).reply(),
        ),
        row("SELECTING no address", "RFC 2131, table 5", message(3).option(54, &GATEWAY), MALFORMED),
        row(
            "NAK names the server of the lease and repeats the identifier",
            "RFC 2131, table 3; systemd and busybox take no other",
            identified.asking(&[1, 3, 6, 51, 119]),
            nak().codes(&[53, 54, 56, 61]).with(56, b"this address is not yours here").reply(),
        ),
        row("INIT-REBOOT with the lease", "RFC 2131, 4.3.2", reboot(LEASE), ack().reply()),
        row(
            "INIT-REBOOT with a lost address",
            "RFC 2131, 4.3.2; kubevirt#13601",
            reboot(OTHER),
            nothing_else().reply(),
        ),
        row("INIT-REBOOT with no address", "RFC 2131, table 5; Kea's forge", message(3), MALFORMED),
        row("INIT-REBOOT with address zero", "RFC 2131, table 5", reboot(NONE), MALFORMED),
    ]
}

fn holding() -> Vec<Row> {
    let spoofing = |request: Request| request.with(|request| request.source = LEASE);
    vec![
        row("RENEWING the lease", "RFC 2131, 4.3.2", renewing(LEASE), ack_to_user_of(LEASE).reply()),
        row(
            "RENEWING a lost address, from it",
            "RFC 2131, 4.3.2; 4.1 not by its letter",
            renewing(OTHER),
            nak().sent_to(OTHER).reply(),
        ),
        row(
            "RENEWING a lost address, from the lease",
            "RFC 2131, 4.3.2",
            spoofing(renewing(OTHER)),
            nak().sent_to(OTHER).reply(),
        ),
        row("REBINDING the lease", "RFC 2131, 4.3.2", rebinding(LEASE), ack_to_user_of(LEASE).reply()),
        row("REBINDING a lost address", "RFC 2131, 4.3.2", rebinding(OTHER), nak().reply()),
        row(
            "ciaddr decides where option 50 is there as well",
            "RFC 2131, table 5",
            rebinding(LEASE).requested(OTHER),
            ack_to_user_of(LEASE).reply(),
        ),
        row("Renewing at a server of the past stays here", "OVN's northd", renewing(LEASE).to(OTHER), OTHER_SERVER),
        row(
            "Renewing there from any port but a relay's",
            "RFC 2131, 4.1",
            renewing(LEASE).to(OTHER).with(|request| request.source_port = 1068),
            OTHER_SERVER,
        ),
        row(
            "Rebinding that names another server",
            "RFC 2131, table 5",
            rebinding(LEASE).option(54, &OTHER),
            OTHER_SERVER,
        ),
    ]
}

fn asking_for_facts() -> Vec<Row> {
    let from = |address| message(8).with(|request| request.source = address);
    vec![
        row(
            "INFORM to all",
            "RFC 2131, 4.3.5",
            inform(LEASE),
            facts(LEASE).codes(&[53, 54, 1, 3, 121, 6, 26, 15, 12, 119]).reply(),
        ),
        row("INFORM to the server", "RFC 2131, 4.3.5", inform(LEASE).to(GATEWAY), facts(LEASE).reply()),
        row("INFORM of an address set by hand", "RFC 2131, 4.3.5", inform(OTHER), facts(OTHER).reply()),
        row(
            "INFORM that asks for times gets none",
            "RFC 2131, table 3",
            inform(LEASE).asking(&[51, 58, 59]),
            facts(LEASE).reply(),
        ),
        row(
            "INFORM of Windows asks for proxies",
            "Windows",
            inform(LEASE).asking(&[252, 121, 249]).identified(&[1, 10, 88, 10, 244, 1, 5]),
            facts(LEASE).without(&[249, 252]).reply(),
        ),
        row(
            "INFORM without ciaddr, from the lease",
            "Kea, adjustRemoteAddr",
            from(LEASE),
            facts(NONE).sent_to(LEASE).reply(),
        ),
        row("INFORM without ciaddr, from elsewhere", "RFC 2131, table 5", from(OTHER), MALFORMED),
        row("INFORM from nowhere", "RFC 2131, table 5", from(NONE), MALFORMED),
    ]
}

fn giving_back() -> Vec<Row> {
    let declining = message(4).option(54, &GATEWAY).requested(LEASE);
    let release = || Outcome::Noted("release");
    vec![
        row("DECLINE has no answer, and the lease stays", "RFC 2131, 4.3.3", declining, Outcome::Noted("decline"))
            .then(discover(), offer().reply()),
        row(
            "DECLINE of another server's offer is counted as well",
            "RFC 2131, 4.3.3, not by its letter",
            message(4).option(54, &OTHER).requested(OTHER),
            Outcome::Noted("decline"),
        ),
        row(
            "RELEASE has no answer, and the lease stays",
            "RFC 2131, 4.3.4",
            message(7).from(LEASE).to(GATEWAY),
            release(),
        )
        .then(discover(), offer().reply()),
        row("RELEASE by broadcast", "busybox udhcpc", message(7).from(LEASE), release()),
        row("RELEASE to another server", "RFC 2131, 4.4.4", message(7).from(LEASE).to(OTHER), OTHER_SERVER),
    ]
}

fn not_for_a_server() -> Vec<Row> {
    let mut rows = vec![
        row("BOOTP", "RFC 1534, 2", bootp(), UNKNOWN),
        row("A reply of a server", "RFC 2131, 2", message(2).with(|request| request.op = 2), MALFORMED),
        row("Neither request nor reply", "RFC 2131, 2", discover().with(|request| request.op = 0), MALFORMED),
        row("No cookie", "RFC 2131, 3", discover().with(|request| request.cookie = [0; 4]), MALFORMED),
        row("No message at all", "RFC 2131, 2", discover().with(|request| request.cut = Some(42)), MALFORMED),
        row("A message cut within chaddr", "RFC 2131, 2", discover().with(|request| request.cut = Some(80)), MALFORMED),
        row(
            "A message cut before the cookie",
            "RFC 2131, 2",
            discover().with(|request| request.cut = Some(280)),
            MALFORMED,
        ),
    ];
    for (kind, name) in
        [(2, "OFFER"), (5, "ACK"), (6, "NAK"), (9, "FORCERENEW"), (10, "LEASEQUERY"), (13, "LEASEACTIVE")]
    {
        rows.push(row(name, "RFC 2131, 4.3; RFC 4388", message(kind), UNKNOWN));
    }
    for kind in [0, 18, 255] {
        rows.push(row(format!("Type {kind}"), "RFC 2132, 9.6", message(kind), UNKNOWN));
    }
    rows
}

fn of_somebody_else() -> Vec<Row> {
    let hardware = |htype, hlen| discover().with(|request| (request.htype, request.hlen) = (htype, hlen));
    let mut rows = vec![
        row("Another client's chaddr", "RFC 2131, 4.1", discover().with(|request| request.chaddr[0] ^= 2), NOT_GUEST),
        row("The last octet of chaddr", "RFC 2131, 4.1", discover().with(|request| request.chaddr[5] ^= 1), NOT_GUEST),
        row("No chaddr", "RFC 2131, 4.1", discover().with(|request| request.chaddr = [0; 16]), NOT_GUEST),
        row(
            "RELEASE of another client",
            "RFC 2131, 4.3.4",
            message(7).from(LEASE).with(|request| request.chaddr[0] ^= 2),
            NOT_GUEST,
        ),
    ];
    for (htype, hlen) in [(1, 0), (1, 5), (1, 7), (1, 16), (1, 255), (6, 6), (0, 6), (32, 20)] {
        rows.push(row(
            format!("htype {htype}, hlen {hlen}"),
            "RFC 2131, 4.1; RFC 4390",
            hardware(htype, hlen),
            NOT_GUEST,
        ));
    }
    rows
}
