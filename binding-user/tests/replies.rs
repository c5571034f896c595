//! Whatever a client says, and whatever the lease is: somebody else's decoder reads the whole reply.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::net::Ipv4Addr;

use binding_common::{
    MacAddr,
    dhcp::{Decision, Exchange, LINK_LOCAL_SERVER, Server, decide, decide::Reply},
    packet,
};
use binding_user::{
    dhcp::Replies,
    lease::{Lease, LeaseRoute, PrivateOption},
};
use dhcproto::{Decodable as _, Decoder, v4::Message};
use proptest::prelude::*;

const GUEST: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
const LEASE: [u8; 4] = [10, 244, 1, 5];
const OTHER: [u8; 4] = [10, 9, 9, 9];

fn any_address() -> impl Strategy<Value = Ipv4Addr> {
    any::<[u8; 4]>().prop_map(Into::into)
}

fn addresses(most: usize) -> impl Strategy<Value = Vec<Ipv4Addr>> {
    prop::collection::vec(any_address(), 0..=most)
}

fn any_name() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z]([a-z0-9-]{0,20}[a-z0-9])?", 1..5).prop_map(|labels| labels.join("."))
}

fn any_route() -> impl Strategy<Value = LeaseRoute> {
    let dst = (any_address(), 0u8..=32).prop_map(|(address, len)| ipnet::Ipv4Net::new(address, len).unwrap().trunc());
    (dst, prop::option::of(any_address())).prop_map(|(dst, via)| LeaseRoute { dst, via })
}

/// A lease of any kind. Its mandatory options may be too long for any reply.
fn any_lease() -> impl Strategy<Value = Lease> {
    let network = (0u8..=32, prop::option::of(any_address()), prop::collection::vec(any_route(), 0..12));
    // dhcproto takes option 150 for one address, and stops reading at a longer one.
    let names = (addresses(6), prop::collection::vec(any_name(), 0..10), addresses(3), addresses(1));
    let text = || prop::option::of("[a-z0-9./-]{1,140}");
    let private = prop::collection::vec((224u8..=254, "[ -~]{1,255}"), 0..4);
    let rest = (328u32..=9000, any::<u32>(), prop::option::of(any_name()), text(), text(), private);
    (network, names, rest).prop_map(|((prefix, gateway, routes), (dns, search, ntp, tftp), rest)| {
        let (mtu, seconds, hostname, tftp_server_name, boot_file_name, private) = rest;
        let private = private.into_iter().map(|(option, value)| PrivateOption { option, value });
        Lease {
            mac: GUEST,
            address: ipnet::Ipv4Net::new(LEASE.into(), prefix).unwrap(),
            gateway,
            routes,
            dns,
            search,
            mtu,
            hostname,
            neighbours: Vec::new(),
            server_id: gateway.unwrap_or(LINK_LOCAL_SERVER.into()),
            seconds,
            ntp_servers: ntp,
            tftp_server_name,
            boot_file_name,
            tftp_servers: tftp,
            private_options: private.collect(),
        }
    })
}

/// Options of a client: those that decide of the reply, and any others.
fn any_options() -> impl Strategy<Value = Vec<u8>> {
    let with_length = |code: u8, value: &[u8]| [&[code, u8::try_from(value.len()).unwrap()], value].concat();
    let kind = prop::sample::select(&[1u8, 3, 8][..]).prop_map(move |kind| with_length(53, &[kind]));
    let size = any::<u16>().prop_map(move |size| with_length(57, &size.to_be_bytes()));
    let identifier = prop::collection::vec(any::<u8>(), 0..=255).prop_map(move |value| with_length(61, &value));
    let list = prop::collection::vec(any::<u8>(), 0..=255).prop_map(move |value| with_length(55, &value));
    let address = prop::sample::select(&[LEASE, OTHER][..]).prop_map(move |address| with_length(50, &address));
    let other = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20));
    let other = other.prop_map(move |(code, value)| with_length(code, &value));
    let octets = prop::collection::vec(any::<u8>(), 0..9);
    let rapid = Just(with_length(80, &[]));
    let one = prop_oneof![size, identifier, list, address, other, octets, rapid];
    (kind, prop::collection::vec(one, 0..8)).prop_map(|(kind, rest)| [kind, rest.concat()].concat())
}

/// The frame of a message of the guest, by broadcast.
fn frame(ciaddr: [u8; 4], giaddr: [u8; 4], flags: [u8; 2], options: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 42 + 240];
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    frame[23] = 17;
    frame[30..34].fill(255);
    frame[35] = 68;
    frame[37] = 67;
    frame[42..45].copy_from_slice(&[1, 1, 6]);
    frame[52..54].copy_from_slice(&flags);
    frame[54..58].copy_from_slice(&ciaddr);
    frame[66..70].copy_from_slice(&giaddr);
    frame[70..76].copy_from_slice(&GUEST.0);
    frame[278..].copy_from_slice(&[99, 130, 83, 99]);
    frame.extend(options);
    let len = u16::try_from(frame.len() - 34).unwrap();
    frame[38..40].copy_from_slice(&len.to_be_bytes());
    frame
}

/// The message of the reply, and the largest datagram that it may be; `None` where there is none.
fn reply(lease: &Lease, replies: &Replies, frame: &[u8]) -> Option<(Reply, Vec<u8>, usize)> {
    let server = Server { lease: LEASE, identifier: lease.server_id.octets(), guest: GUEST };
    let udp = packet::udp(frame)?;
    let mut exchange = Exchange::default();
    exchange.request.read_headers(frame, udp).ok()?;
    exchange.request.read_message(frame, udp).ok()?;
    let Decision::Reply(reply, to) = decide(&exchange.request, &server).ok()? else { return None };
    exchange.answer(reply, to);
    let bytes = replies.templates[reply as usize].render(&replies.options, &mut exchange).unwrap();
    let limit = usize::from(exchange.request.max_size.max(576)).min(1500).min(usize::try_from(lease.mtu).unwrap());
    Some((reply, bytes[42..exchange.progress.frame_len()].to_vec(), limit))
}

/// The codes of the options, without their repetitions. Fails where they do not end with END.
fn codes(mut rest: &[u8]) -> Vec<u8> {
    let mut codes = Vec::new();
    while rest[0] != 255 {
        codes.push(rest[0]);
        rest = &rest[2 + usize::from(rest[1])..];
    }
    codes.sort_unstable();
    codes.dedup();
    codes
}

proptest! {
    #[test]
    fn dhcproto_reads_every_option_of_every_reply(
        lease in any_lease(),
        options in any_options(),
        ciaddr in prop::sample::select(&[[0; 4], LEASE, OTHER][..]),
        giaddr in prop::sample::select(&[[0; 4], OTHER][..]),
        flags: [u8; 2],
    ) {
        // A lease that is too long for any reply is refused, which other tests are about.
        let Ok(replies) = Replies::new(&lease) else { return Ok(()) };
        let Some((reply, message, limit)) = reply(&lease, &replies, &frame(ciaddr, giaddr, flags, &options)) else {
            return Ok(());
        };
        prop_assert!(message.len() >= 300 && message.len() + 28 <= limit, "{} octets of {limit}", message.len() + 28);
        let decoded = Message::decode(&mut Decoder::new(&message)).unwrap();
        let leases = matches!(reply, Reply::Offer | Reply::Ack | Reply::RapidCommit);
        prop_assert_eq!(decoded.yiaddr().octets(), if leases { LEASE } else { [0; 4] });
        prop_assert_eq!(decoded.giaddr().octets(), giaddr);
        let mut seen: Vec<u8> = decoded.opts().iter().map(|(code, _)| (*code).into()).filter(|code| *code != 255).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, codes(&message[240..]));
    }
}
