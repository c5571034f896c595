//! DHCP of both families.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    packet::{
        BROADCAST, GUEST, GUEST4, IPV4, Ip4, NODE, NODE_LOCAL, NODE4, OTHER4, STRANGER, UDP, dhcp, ethernet, ipv4, udp,
        udp6,
    },
    row::{Count, Row},
    seen,
};

/// Types of messages (RFC 2132, 9.6).
const DISCOVER: u8 = 1;
const NAK: u8 = 6;
const RELEASE: u8 = 7;

fn of_server(frame: &[u8]) -> bool {
    seen::dhcp(frame, 68).is_some()
}

fn of_another(frame: &[u8]) -> bool {
    seen::dhcp(frame, 67).is_some_and(|(_, client)| client != GUEST)
}

pub(crate) fn rows() -> Vec<Row> {
    let server = "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --port=0 --pid-file= --interface=eth0 \
                 --except-interface=lo --no-ping --dhcp-authoritative --dhcp-leasefile=/dev/null \
                 --dhcp-range=10.244.1.100,10.244.1.199,600";
    let server6 = "atk6-fake_dhcps6 eth0 fd00:bad::/64 fd00:bad::53";
    let starve = "yersinia -l /dev/null dhcp -attack 1 -interface eth0";
    let ask = "perfdhcp -4 -l eth0 -b mac=02:00:00:00:10:00 -R 50 -r 200 -n 20 -W 1000 10.244.1.1";
    vec![
        Row::server("DHCP server on the guest", server, discover, "rogue-dhcp", of_server),
        Row::server("DHCPv6 server on the guest", server6, solicit, "rogue-dhcp", |frame| {
            seen::ipv6(frame).is_some_and(|packet| packet.port() == Some(546))
        }),
        Row::endless("DHCP starvation", starve, "spoofed-mac", of_another),
        Row::tool("DHCP starvation from the guest's own MAC", ask, Count::Some, "dhcp-not-guest", of_another),
        Row::frames("DHCPNAK to another's client", 1, nak, "rogue-dhcp", of_server),
        Row::frames("DHCPRELEASE of another's lease", 1, release, "dhcp-not-guest", of_another),
    ]
}

/// Another pod looks for a server.
fn discover() -> Vec<u8> {
    let datagram = udp((68, 67), &dhcp(1, DISCOVER, STRANGER, &[]));
    let packet = Ip4::default().packet(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, UDP, &datagram);
    ethernet(BROADCAST, STRANGER, IPV4, &packet)
}

/// The node looks for a server of `DHCPv6`: its identifier, and that it wants an address (RFC 8415, 21).
fn solicit() -> Vec<u8> {
    let identifier = [&[0, 1, 0, 10, 0, 3, 0, 1][..], &NODE].concat();
    let wanted = [&[0, 3, 0, 12, 0, 0, 0, 1][..], &[0; 8]].concat();
    let message = [&[1, 0x12, 0x34, 0x56][..], &identifier, &wanted, &[0, 8, 0, 2, 0, 0]].concat();
    let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
    let mut frame = udp6(NODE_LOCAL, servers, (546, 547), &message);
    frame[6..12].copy_from_slice(&NODE);
    frame
}

fn nak() -> Vec<Vec<u8>> {
    let message = dhcp(2, NAK, STRANGER, &[54, 4, 10, 244, 1, 1]);
    vec![ethernet(
        BROADCAST,
        GUEST,
        IPV4,
        &Ip4::default().packet(GUEST4, Ipv4Addr::BROADCAST, UDP, &udp((67, 68), &message)),
    )]
}

fn release() -> Vec<Vec<u8>> {
    let mut message = dhcp(1, RELEASE, STRANGER, &[54, 4, 10, 244, 1, 1]);
    message[12..16].copy_from_slice(&OTHER4.octets());
    vec![ipv4(GUEST4, NODE4, UDP, &udp((68, 67), &message))]
}
