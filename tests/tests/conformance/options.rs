//! Options: what they say, who gets them, and in which order.

use crate::{
    answer::{ack, ack_to_user_of, facts, nak, offer},
    bench::{Row, row},
    request::{GATEWAY, LEASE, OTHER, Request, discover, inform, rebinding, reboot, renewing, selecting},
};

/// What every reply with a lease begins with on this layout.
const MANDATORY: [u8; 9] = [53, 54, 51, 58, 59, 1, 3, 121, 6];
/// 10.244.0.0/16 and the default route, both by the gateway.
const ROUTES: &[u8] = &[16, 10, 244, 10, 244, 1, 1, 0, 10, 244, 1, 1];

#[test]
fn a_client_gets_the_options_that_it_asks_for_in_its_order() {
    lab::require_root!();
    crate::check(&[values(), lists(), for_those_who_ask()].concat());
}

#[test]
fn what_a_client_says_of_itself_comes_back_only_where_it_must() {
    lab::require_root!();
    crate::check(&[identifiers(), never()].concat());
}

fn then(rest: &[u8]) -> Vec<u8> {
    [&MANDATORY, rest].concat()
}

fn values() -> Vec<Row> {
    let search = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let all = |answer: crate::answer::Answer| {
        answer
            .with(51, &3600_u32.to_be_bytes())
            .with(58, &1800_u32.to_be_bytes())
            .with(59, &3150_u32.to_be_bytes())
            .with(1, &[255, 255, 255, 0])
            .with(3, &GATEWAY)
            .with(121, ROUTES)
            .with(6, &[10, 96, 0, 10])
            .with(26, &1500_u16.to_be_bytes())
            .with(15, b"default.svc.cluster.local")
            .with(12, b"vm-1")
            .searching(&search)
            .codes(&then(&[26, 15, 12, 119]))
    };
    let source = "RFC 2132; RFC 3397; RFC 3442; dhcp.js#56 (53 first), kubevirt#6462 (addresses of four octets)";
    vec![
        row("An OFFER says all of the lease", source, discover(), all(offer()).reply()),
        row("So does an ACK", source, selecting(GATEWAY, LEASE), all(ack()).reply()),
        row("So does one that renews", "RFC 2131, 4.3.6", renewing(LEASE), all(ack_to_user_of(LEASE)).reply()),
    ]
}

fn lists() -> Vec<Row> {
    let order = |codes: &[u8], rest: &[u8]| {
        row(
            format!("Asked for {codes:?}"),
            "RFC 2132, 9.8",
            discover().asking(codes),
            offer().codes(&then(rest)).reply(),
        )
    };
    let every: Vec<u8> = (0..=254).collect();
    let mut rows = vec![
        order(&[119, 12, 15, 26], &[119, 12, 15, 26]),
        order(&[12], &[12, 26, 15, 119]),
        order(&[6, 3, 1, 51, 54, 53], &[26, 15, 12, 119]),
        order(&[12, 12, 119, 12], &[12, 119, 26, 15]),
        order(&[0, 255, 12], &[12, 26, 15, 119]),
        order(&[], &[26, 15, 12, 119]),
        order(&[1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42], &[15, 119, 12, 26]),
    ];
    // Of a list this long, 175 stands beyond the place to which it is read.
    rows.push(row(
        "Asked for everything: the first 128 count",
        "fuzz",
        discover().asking(&every),
        offer().codes(&then(&[12, 15, 26, 119])).reply(),
    ));
    let parts = discover().asking(&[119, 12]).asking(&[12, 15]);
    rows.push(row(
        "A list in two parts: the last one says the order",
        "RFC 3396, 5",
        parts,
        offer().codes(&then(&[12, 15, 26, 119])).reply(),
    ));
    rows.push(row(
        "Windows",
        "kubevirt#3489",
        discover()
            .identified(b"\x01\x0a\x58\x0a\xf4\x01\x05")
            .option(12, b"DESKTOP-1")
            .option(60, b"MSFT 5.0")
            .asking(&[1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252]),
        offer().with(121, ROUTES).codes(&then(&[15, 119, 26, 12, 61])).reply(),
    ));
    rows
}

fn for_those_who_ask() -> Vec<Row> {
    let ipxe = |request: Request| {
        request.option(60, b"PXEClient").option(77, b"iPXE").taking(1472).asking(&[1, 3, 66, 67, 175])
    };
    vec![
        row(
            "249 is 121 for those who ask for it alone",
            "Windows XP",
            discover().asking(&[249]),
            offer().with(249, ROUTES).reply(),
        ),
        row("249 in an INFORM", "Windows XP", inform(LEASE).asking(&[249]), facts(LEASE).with(249, ROUTES).reply()),
        row("Not with 121, before it", "RFC 3442", discover().asking(&[249, 121]), offer().without(&[249]).reply()),
        row("Not with 121, behind it", "RFC 3442", discover().asking(&[121, 249]), offer().without(&[249]).reply()),
        row(
            "iPXE need not wait for a ProxyDHCP server",
            "iPXE, dhcp.c",
            ipxe(discover()),
            offer().with(175, &[176, 1, 1]).reply(),
        ),
        row("Not in a NAK", "RFC 2131, table 3", ipxe(reboot(OTHER)), nak().reply()),
        row("Nobody else hears of either", "RFC 2132, 9.8", discover(), offer().without(&[249, 175]).reply()),
        row(
            "IPv4 is not given up",
            "RFC 8925, 3.3",
            discover().asking(&[108, 116]),
            offer().without(&[108, 116]).reply(),
        ),
    ]
}

fn identifiers() -> Vec<Row> {
    let mut rows = Vec::new();
    for len in [0, 1, 2, 7, 19, 20, 32, 63, 64, 127, 128, 200, 254, 255] {
        let identifier: Vec<u8> = (0..len).map(|octet: u8| octet ^ 0xa5).collect();
        let request = discover().taking(1500).identified(&identifier);
        rows.push(row(format!("An identifier of {len} octets"), "RFC 6842, 3", request, offer().reply()));
    }
    let cisco = b"\0cisco-0a58.0af4.0105-Gi0/0";
    let identified = |request: Request| request.identified(cisco);
    let source = "RFC 6842, 3; Cisco IOS; n-dhcp4";
    rows.extend([
        row("In an ACK", source, identified(selecting(GATEWAY, LEASE)), ack().reply()),
        row("In the facts", source, identified(inform(LEASE)), facts(LEASE).reply()),
        row("In a NAK", source, identified(rebinding(OTHER)), nak().codes(&[53, 54, 56, 61]).reply()),
        row(
            "Whoever it is, there is one lease",
            "RFC 4361; ubicloud#5916",
            discover().identified(b"\xff\0\0\0\x01\0\x02"),
            offer().reply(),
        ),
        row("None is never invented", source, discover().asking(&[61]), offer().without(&[61]).reply()),
    ]);
    rows
}

fn never() -> Vec<Row> {
    let all_of_a_client = |request: Request| {
        request
            .option(60, b"PXEClient:Arch:00007:UNDI:003000")
            .option(77, b"iPXE")
            .option(93, &[0, 7])
            .option(94, &[1, 3, 0])
            .option(97, &[0; 17])
            .option(81, &[0, 0, 0, b'v', b'm'])
            .option(82, &[1, 2, b'e', b'0'])
            .option(121, ROUTES)
            .asking(&[50, 52, 55, 57, 60, 77, 81, 82, 93, 94, 97])
    };
    let source = "RFC 2131, table 3; RFC 3046, 2.2; RFC 4702, 4";
    vec![
        row("What a client says of itself", source, all_of_a_client(discover()), offer().without(&[43, 52]).reply()),
        row("To an ACK", source, all_of_a_client(renewing(LEASE)), ack_to_user_of(LEASE).without(&[43, 52]).reply()),
        row(
            "80 is never in an OFFER, whoever asks for it",
            "systemd-networkd, dhcpcd",
            discover().asking(&[80]),
            offer().without(&[80]).reply(),
        ),
    ]
}
