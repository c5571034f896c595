//! How long a reply may be, and what is left out of one that would be longer.

use lab::{Pod, pod::RESOLV_CONF};

use crate::{
    answer::{ack, nak, offer},
    bench::{self, Row, row},
    request::{GATEWAY, LEASE, OTHER, discover, reboot, selecting},
};

#[test]
fn a_reply_has_what_the_client_has_room_for() {
    lab::require_root!();
    // 300 octets in option 119, which therefore comes in two parts.
    let search: Vec<String> =
        (0..7).map(|number| format!("a-name-that-is-rather-long-{number}.cluster.local")).collect();
    let options = ["--search", &search.join(","), "--hostname", "vm-1"];
    bench::check(Pod::new("room").unwrap(), &options, 1500, &[room(), identifiers()].concat());
}

#[test]
fn a_reply_fits_the_link() {
    lab::require_root!();
    let source = "RFC 2132, 9.10; RFC 2131, 2";
    let rows = |mtu: usize| {
        let least = offer().with(26, &u16::try_from(mtu).unwrap().to_be_bytes());
        vec![
            row(
                "The client takes more than the link",
                source,
                discover().taking(65535).identified(&[1; 100]),
                least.clone().reply(),
            ),
            row("It says nothing of it", source, discover(), least.reply()),
        ]
    };
    for mtu in [600, 1280] {
        let pod = Pod::builder("mtu").mtu(u32::try_from(mtu).unwrap()).resolv_conf(Some(RESOLV_CONF)).build().unwrap();
        bench::check(pod, &[], mtu, &rows(mtu));
    }
}

fn room() -> Vec<Row> {
    let source = "RFC 2132, 9.10; RFC 2131, 2";
    let without = || offer().without(&[119]).trimmed();
    let mut rows = vec![
        row("Nothing said is 576", source, discover(), without().reply()),
        row("It is so in an ACK", source, selecting(GATEWAY, LEASE), ack().without(&[119]).trimmed().reply()),
        row(
            "What is asked for first is kept, something else is not",
            source,
            discover().asking(&[119]),
            offer().without(&[15]).trimmed().reply(),
        ),
        row("Room for all", source, discover().taking(1500), offer().reply()),
        row("Room for all, as iPXE has it", "iPXE", discover().taking(1472), offer().reply()),
        row("A NAK leaves nothing out", source, reboot(OTHER), nak().octets(300).reply()),
    ];
    for octets in [0, 1, 300, 575, 576] {
        rows.push(row(
            format!("Less than every client takes: {octets}"),
            source,
            discover().taking(octets),
            without().reply(),
        ));
    }
    for octets in [577, 600] {
        rows.push(row(
            format!("Room for {octets} octets"),
            source,
            discover().taking(octets),
            offer().trimmed().reply(),
        ));
    }
    rows
}

fn identifiers() -> Vec<Row> {
    let source = "RFC 6842, 3";
    let identified = |len: u8| discover().identified(&vec![0x5a; len.into()]);
    vec![
        row(
            "The identifier comes before any choice",
            source,
            identified(200),
            offer().without(&[119]).trimmed().reply(),
        ),
        row(
            "The longest has no room beside the mandatory options, in 576 octets",
            "RFC 6842, 3, not by its letter",
            identified(255),
            offer().without(&[61, 119]).trimmed().reply(),
        ),
        row("It has where the client takes more", source, identified(255).taking(700), offer().trimmed().reply()),
        row("The longest in a NAK", source, reboot(OTHER).identified(&[0x5a; 255]), nak().reply()),
    ]
}
