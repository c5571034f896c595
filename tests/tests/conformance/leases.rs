//! Other leases: what is said of them, and by whom.

use lab::{Pod, pod::RESOLV_CONF};

use crate::{
    answer::{Answer, ack, ack_to_user_of, nak, offer},
    bench::{self, row},
    request::{GATEWAY, LEASE, OTHER, Request, discover, reboot, renewing, selecting},
};

/// The server's address where there is no gateway to lend its own.
const STAND_IN: [u8; 4] = [169, 254, 75, 10];

#[test]
fn without_a_gateway_a_stand_in_serves() {
    lab::require_root!();
    let pod = Pod::builder("no-gateway").routes(&[]).build().unwrap();
    let way_to_it = [32, 169, 254, 75, 10, 0, 0, 0, 0];
    let source = "KubeVirt, bridge.go; RFC 3442";
    let says = |answer: Answer| answer.server(STAND_IN).without(&[3]).with(121, &way_to_it);
    let rows = [
        row("It offers, and says the way to it", source, discover(), says(offer()).reply()),
        row("It is selected", source, selecting(STAND_IN, LEASE), says(ack()).reply()),
        row("It renews", source, renewing(LEASE).to(STAND_IN), says(ack_to_user_of(LEASE)).reply()),
        row("It says no", source, reboot(OTHER), nak().server(STAND_IN).reply()),
    ];
    bench::check(pod, &[], 1500, &rows);
}

#[test]
fn a_lease_that_never_ends_has_no_times() {
    lab::require_root!();
    let rows = [
        row("Not to be renewed", "RFC 2131, 3.3", discover(), offer().with(51, &[0xff; 4]).without(&[58, 59]).reply()),
        row(
            "Nor when it is asked for",
            "RFC 2131, 3.3",
            selecting(GATEWAY, LEASE).asking(&[58, 59]),
            ack().without(&[58, 59]).reply(),
        ),
        row(
            "It may be renewed",
            "RFC 2131, 4.4.5",
            renewing(LEASE),
            ack_to_user_of(LEASE).with(51, &[0xff; 4]).reply(),
        ),
    ];
    bench::check(Pod::new("infinite").unwrap(), &["--lease-time", "infinite"], 1500, &rows);
}

#[test]
fn a_single_address_comes_with_the_way_to_its_gateway() {
    lab::require_root!();
    let pod = Pod::builder("calico")
        .addresses(&["10.244.1.5/32"])
        .routes(&["169.254.1.1 dev eth0 scope link", "default via 169.254.1.1 dev eth0"])
        .node_addresses(&["169.254.1.1/32"])
        .node_routes(&["10.244.1.5 dev {dev}"])
        .resolv_conf(Some(RESOLV_CONF))
        .build()
        .unwrap();
    let gateway = [169, 254, 1, 1];
    let routes = [32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1];
    let says =
        |answer: Answer| answer.server(gateway).with(1, &[255; 4]).with(3, &gateway).with(121, &routes).without(&[28]);
    let source = "RFC 3442; KubeVirt, server_test.go; monogon#89";
    let rows = [
        row("Calico's layout", source, discover().asking(&[28]), says(offer()).reply()),
        row("The same for Windows XP", source, discover().asking(&[249]), says(offer()).with(249, &routes).reply()),
        row(
            "It is renewed at a gateway off the link",
            source,
            renewing(LEASE).to(gateway),
            says(ack_to_user_of(LEASE)).reply(),
        ),
    ];
    bench::check(pod, &[], 1500, &rows);
}

#[test]
fn a_guest_is_told_where_it_boots_from() {
    lab::require_root!();
    let options = [
        "--tftp-server-name",
        "10.244.1.2",
        "--boot-file-name",
        "pxelinux.0",
        "--tftp-servers",
        "10.244.1.2,10.244.1.3",
        "--ntp-servers",
        "10.96.0.11",
        "--private-option",
        "224=first, of all",
        "--private-option",
        "254=last",
    ];
    let says = |answer: Answer| {
        answer
            .booting([10, 244, 1, 2], "pxelinux.0")
            .with(66, b"10.244.1.2")
            .with(67, b"pxelinux.0")
            .with(150, &[10, 244, 1, 2, 10, 244, 1, 3])
            .with(42, &[10, 96, 0, 11])
            .with(224, b"first, of all")
            .with(254, b"last")
    };
    let pxe =
        |request: Request| request.taking(1472).option(60, b"PXEClient").option(93, &[0, 7]).asking(&[67, 66, 150]);
    let first = |rest: &[u8]| [&[53, 54, 51, 58, 59, 1, 3, 121, 6, 67, 66, 150], rest].concat();
    let source = "RFC 2132, 9.4 and 9.5; RFC 5859; KubeVirt, dhcpOptions; iPXE, autoboot.c";
    let rows = [
        row("Firmware", source, pxe(discover()), says(offer()).codes(&first(&[26, 15, 224, 254, 42, 119])).reply()),
        row("Firmware takes it", source, pxe(selecting(GATEWAY, LEASE)), says(ack()).reply()),
        row("A client that asks for nothing", source, discover(), says(offer()).reply()),
        row("It renews", source, renewing(LEASE), says(ack_to_user_of(LEASE)).reply()),
        row("A NAK is nobody's boot server", source, reboot(OTHER), nak().reply()),
    ];
    bench::check(Pod::new("boot").unwrap(), &options, 1500, &rows);
}
