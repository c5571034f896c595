//! Frames and messages of unusual shape.

use lab::Pod;

use crate::{
    answer::{Outcome, ack, ack_to_user_of, nak, offer},
    bench::{self, Row, row},
    request::{Checksum, GATEWAY, LEASE, OTHER, Request, discover, message, reboot, renewing, selecting},
};

const MALFORMED: Outcome = Outcome::Dropped("dhcp-malformed");
const UNKNOWN: Outcome = Outcome::Dropped("dhcp-unknown-type");

#[test]
fn options_are_read_wherever_they_lie() {
    lab::require_root!();
    crate::check(&[options(), lying(), overload()].concat());
}

#[test]
fn the_frame_around_a_request_does_not_matter() {
    lab::require_root!();
    crate::check(&[headers(), checksums(), sizes(), fragments(), tags()].concat());
}

#[test]
fn it_does_not_matter_on_the_hook_of_older_kernels_either() {
    lab::require_root!();
    let rows = [headers(), sizes(), tags()].concat();
    bench::check(Pod::new("clsact").unwrap(), &["--hook", "clsact", "--to-network", "redirect"], 1500, &rows);
}

/// The options of a REQUEST for the lease.
const REQUEST: [&[u8]; 4] = [&[53, 1, 3], &[54, 4, 10, 244, 1, 1], &[50, 4, 10, 244, 1, 5], &[61, 2, 0, 7]];

fn options() -> Vec<Row> {
    let raw = |octets: Vec<u8>| message(0).raw_options(&octets);
    let mut backwards = REQUEST;
    backwards.reverse();
    let parts = [&[53, 1, 1][..], &[121, 5, 0, 10, 244, 1, 1], &[55, 1, 12], &[121, 5, 0, 10, 244, 1, 1], &[55, 1, 15]];
    vec![
        row("53 is the last one", "RFC 2132, 9.6", raw(backwards.concat()), ack().reply()),
        row("Pads between", "RFC 2132, 3.1", raw(REQUEST.join(&[0, 0, 0][..])), ack().reply()),
        row("Pads before all", "RFC 2132, 3.1", raw([&[0; 100][..], &[53, 1, 1]].concat()), offer().reply()),
        row(
            "No END, and nothing behind",
            "RFC 2131, 4.1, not by its letter",
            raw(REQUEST.concat()).with(|request| request.end = false),
            ack().reply(),
        ),
        row(
            "What is behind END is not read",
            "RFC 2132, 3.2",
            raw([REQUEST.concat(), vec![255], vec![50, 4, 1, 2, 3, 4]].concat()),
            ack().reply(),
        ),
        row("Options in parts", "RFC 3396", raw(parts.concat()), offer().reply()),
        row(
            "53 twice: the last one counts",
            "RFC 3396, 5, not by its letter",
            discover().option(53, &[3]).requested(LEASE),
            ack().reply(),
        ),
        row(
            "A hundred options before 53",
            "fuzz",
            raw([[12, 1, b'x'].repeat(100), vec![53, 1, 1]].concat()),
            offer().reply(),
        ),
        row(
            "The longest list and the longest name",
            "fuzz",
            discover().asking(&[12; 255]).option(12, &[b'x'; 255]),
            offer().reply(),
        ),
    ]
}

fn lying() -> Vec<Row> {
    let raw = |octets: &[u8]| discover().raw_options(octets);
    vec![
        row("A length beyond the end, behind 53", "fuzz", raw(&[53, 1, 1, 50, 255, 10, 9]), offer().reply()),
        row("A length beyond the end, before 53", "fuzz", raw(&[12, 255, 53, 1, 1]), UNKNOWN),
        row("53 of no octets", "RFC 2132, 9.6", raw(&[53, 0]), UNKNOWN),
        row("53 of two octets", "RFC 2132, 9.6", raw(&[53, 2, 1, 1]), UNKNOWN),
        row("50 of three octets is none", "RFC 2132, 9.1", message(3).option(50, &[10, 9, 9]), MALFORMED),
        row("54 of five octets is none", "RFC 2132, 9.7", reboot(LEASE).option(54, &[10, 9, 9, 9, 9]), ack().reply()),
        row(
            "57 of one octet is none",
            "RFC 2132, 9.10",
            discover().option(57, &[5]).with(|request| request.options.push(0)),
            offer().reply(),
        ),
        row("80 with a value is none", "RFC 4039, 4", discover().option(80, &[1]), offer().reply()),
        row(
            "A code as the last octet",
            "fuzz",
            discover().with(|request| (request.end, request.options) = (false, vec![53, 1, 1, 50])),
            offer().reply(),
        ),
        row(
            "A code and its length as the last octets",
            "fuzz",
            discover().with(|request| (request.end, request.options) = (false, vec![53, 1, 1, 50, 4])),
            offer().reply(),
        ),
        row(
            "No options at all",
            "RFC 2131, 3",
            discover().with(|request| (request.end, request.options) = (false, Vec::new())),
            UNKNOWN,
        ),
    ]
}

fn overload() -> Vec<Row> {
    let source = "RFC 2131, 4.1; RFC 2132, 9.3";
    let ended = |parts: &[&[u8]]| [parts.concat(), vec![255]].concat();
    let over = |fields: u8, file: &[&[u8]], sname: &[&[u8]]| {
        let (file, sname) = (ended(file), ended(sname));
        message(0).raw_options(&[52, 1, fields]).with(|request| (request.file, request.sname) = (file, sname))
    };
    let [kind, server, address, id] = REQUEST;
    // With option 53, up to the last octet of `file`, and one beyond it.
    let (full, over_full) = ([&[12, 123][..], &[b'x'; 123]].concat(), [&[12, 124][..], &[b'x'; 124]].concat());
    vec![
        row("In file", source, over(1, &[kind, server, address], &[]), ack().reply()),
        row("In sname", source, over(2, &[], &[kind, server, address]), ack().reply()),
        row("In both", source, over(3, &[kind, server], &[address]), ack().reply()),
        row("In both, up to the last octet of file", source, over(3, &[kind, &full], &[address]), ack().reply()),
        row("A length beyond file, into sname", source, over(3, &[kind, &over_full], &[address]), ack().reply()),
        row("sname is read behind file", source, over(3, &[address], &[server, kind]), ack().reply()),
        row(
            "Not in file if it is sname's turn",
            source,
            over(2, &[&[50, 4, 9, 9, 9, 9]], &[kind, server, address]),
            ack().reply(),
        ),
        row(
            "Not without 52",
            source,
            discover().with(|request| request.file = ended(&[&[53, 1, 3], id])),
            offer().reply(),
        ),
        row("52 with no field", source, over(0, &[kind], &[kind]), UNKNOWN),
        row("52 in file leads nowhere", source, over(1, &[&[52, 1, 1], kind, address, server], &[]), ack().reply()),
    ]
}

fn headers() -> Vec<Row> {
    let mut rows = vec![
        row(
            "The TOS of control traffic",
            "systemd-networkd",
            discover().with(|request| request.tos = 0xc0),
            offer().reply(),
        ),
        row(
            "Don't fragment",
            "systemd-networkd",
            discover().with(|request| request.fragment = 0x4000),
            offer().reply(),
        ),
        row("TTL 1", "RFC 1542, 3", discover().with(|request| request.ttl = 1), offer().reply()),
        row("TTL 255", "RFC 1542, 3", discover().with(|request| request.ttl = 255), offer().reply()),
    ];
    for words in [1, 2, 5, 9, 10] {
        let request = selecting(GATEWAY, LEASE).with(|request| request.ip_options = words);
        rows.push(row(format!("{words} words of IP options"), "RFC 791, 3.1; OVN, pinctrl.c", request, ack().reply()));
    }
    for port in [67, 1068, 0, 65535] {
        let request = |request: Request| request.with(|request| request.source_port = port);
        rows.push(row(format!("From port {port}"), "RFC 2131, 4.1; iPXE", request(discover()), offer().reply()));
        rows.push(row(
            format!("Renewing from port {port}"),
            "RFC 2131, 4.1",
            request(renewing(LEASE)),
            ack_to_user_of(LEASE).reply(),
        ));
    }
    rows
}

fn checksums() -> Vec<Row> {
    let source = "RFC 768; dhclient's LPF, busybox";
    let of = |request: Request, checksum| request.with(|request| request.checksum = checksum);
    vec![
        row("No UDP checksum", source, of(discover(), Checksum::Zero), offer().reply()),
        row("A wrong one", source, of(discover(), Checksum::Wrong), offer().reply()),
        row("A wrong one in a renewal", source, of(renewing(LEASE), Checksum::Wrong), ack_to_user_of(LEASE).reply()),
        row("A right one in a request for a NAK", source, reboot(OTHER), nak().reply()),
    ]
}

fn sizes() -> Vec<Row> {
    let source = "RFC 1542, 2.1; RFC 2131, 2";
    let sized = |size: usize| discover().with(|request| request.size = size);
    let mut rows = vec![row("The shortest message", source, sized(0), offer().reply())];
    for size in [244, 249, 272, 300, 301, 548, 576, 1200, 1471, 1472] {
        rows.push(row(format!("{size} octets"), source, sized(size), offer().reply()));
    }
    // UFO and UDP segmentation, as a guest has them that sends a long datagram by a socket.
    for (kind, name) in [(3, "fragments"), (5, "segments")] {
        let request = sized(1400).with(|request| request.gso = Some((kind, 500)));
        rows.push(row(format!("To be cut to {name}"), "virtio 1.2, 5.1.6.2", request, offer().reply()));
    }
    for octets in [0, 14, 34, 42, 100, 300] {
        let request = sized(5000).with(|request| request.in_one_piece = octets);
        rows.push(row(
            format!("5000 octets, {octets} in one piece"),
            "tun_get_user of Linux",
            request,
            offer().reply(),
        ));
    }
    for len in [1, 4, 46, 500] {
        // What a reader of the whole frame would take for options.
        let trailer = [50, 4, 10, 9, 9, 9].into_iter().cycle().take(len).collect();
        let request = discover().with(|request| (request.end, request.trailer) = (false, trailer));
        rows.push(row(format!("{len} octets behind the datagram"), "IEEE 802.3, 3.2.7", request, offer().reply()));
        let request = reboot(LEASE).with(|request| (request.end, request.trailer) = (false, vec![50; len]));
        rows.push(row(format!("{len} octets behind a request"), "IEEE 802.3, 3.2.7", request, ack().reply()));
    }
    rows
}

fn fragments() -> Vec<Row> {
    let first = |request: Request| request.with(|request| request.fragment = 0x2000);
    let relay = selecting(OTHER, LEASE).relayed_by(LEASE).to(OTHER);
    vec![
        row("A first fragment", "RFC 791; n-dhcp4", first(discover()), MALFORMED),
        row("A first fragment of a renewal", "RFC 791; n-dhcp4", first(renewing(LEASE)), MALFORMED),
        row("A first fragment of a relay to its server", "RFC 1542, 4.1", first(relay), Outcome::Passes),
    ]
}

fn tags() -> Vec<Row> {
    let tagged = |tags: &[u16]| discover().with(|request| request.tags = tags.to_vec());
    let source = "IEEE 802.1Q, 6.9; VU#855201";
    vec![
        row("VLAN 0 only has a priority, and the answer none", source, tagged(&[0xe000]), offer().reply()),
        row("VLAN 0 within VLAN 0 hides something", source, tagged(&[0, 0]), MALFORMED),
        row("Five tags", source, tagged(&[0; 5]), MALFORMED),
        row("VLAN 7 is another network", source, tagged(&[7]), Outcome::Passes),
        row("VLAN 7 within VLAN 0 is", source, tagged(&[0, 7]), Outcome::Passes),
    ]
}
