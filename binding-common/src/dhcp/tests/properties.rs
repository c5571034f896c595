//! What holds for all requests, for all replies, for all frames.

use proptest::prelude::*;

use super::*;
use crate::to_network::{self, Class};

/// Options of every kind: whole ones, pads, and octets that are none.
fn any_options() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        4 => prop::sample::select(&[12u8, 50, 52, 53, 54, 55, 57, 60, 61, 80, 82, 121][..]),
        1 => any::<u8>(),
    ];
    let whole = (code, prop::collection::vec(any::<u8>(), 0..40));
    let whole = whole.prop_map(|(code, value)| [&[code, u8::try_from(value.len()).unwrap()], &value[..]].concat());
    let sized = any::<u16>().prop_map(|size| [&[57, 2][..], &size.to_be_bytes()].concat());
    let identifier = prop::collection::vec(any::<u8>(), 0..=255);
    let identifier = identifier.prop_map(|id| [&[61, u8::try_from(id.len()).unwrap()], &id[..]].concat());
    let octets = prop::collection::vec(any::<u8>(), 0..20);
    let one = prop_oneof![6 => whole, 2 => sized, 2 => identifier, 1 => octets, 1 => Just([0, 0, 0].to_vec())];
    prop::collection::vec(one, 0..12).prop_map(|all| all.concat())
}

/// A message of the guest.
fn any_client() -> impl Strategy<Value = Client> {
    let address = || prop::sample::select(&[NONE, LEASE, SERVER_ID, OTHER, ANY][..]);
    let kind = prop::sample::select(&[1u8, 3, 3, 4, 7, 8, 13][..]);
    (kind, any_options(), address(), address(), address(), any::<[u8; 2]>(), 0usize..=10).prop_map(
        |(kind, options, to, ciaddr, giaddr, flags, ip_options)| {
            let mut client = Client { to, flags, ciaddr, giaddr, ip_options, ..Client::new(kind) };
            client.options.extend(options);
            client
        },
    )
}

/// Options of a binding, as [`options`] takes them.
fn any_list() -> impl Strategy<Value = Vec<(u8, When, usize)>> {
    let when = prop::sample::select(&[When::Always, When::Always, When::Requested, When::RequestedInPlaceOf121][..]);
    prop::collection::vec((1u8..255, when, prop_oneof![3 => 1usize..30, 1 => 200usize..600]), 0..6)
}

/// The options of a reply are whole, end with END, and zeros follow.
fn assert_whole(mut rest: &[u8]) {
    while rest[0] != 255 {
        rest = &rest[2 + usize::from(rest[1])..];
    }
    assert!(rest[1..].iter().all(|octet| *octet == 0), "{rest:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        mut frame in prop::collection::vec(any::<u8>(), 42..1600),
        ihl in 5u8..=15,
    ) {
        frame[12..14].copy_from_slice(&packet::ETH_P_IP);
        frame[14] = 0x40 | ihl;
        frame[20..22].fill(0);
        frame[23] = 17;
        frame[30..34].copy_from_slice(&ANY);
        if let Some(udp) = packet::udp(&frame[..]) {
            let mut request = Request::default();
            let _ = request.read_headers(&frame[..], udp);
            let _ = request.read_message(&frame[..], udp);
            let _ = decide(&request, &SERVER);
        }
    }

    #[test]
    fn every_reply_has_right_checksums(
        xid: [u8; 4], flags: [u8; 2], ciaddr: [u8; 4], giaddr: [u8; 4], address: [u8; 4], port: u16,
        chaddr: [u8; 16],
        extra in prop::collection::vec(any::<u8>(), 0..300),
        client_id in prop::collection::vec(any::<u8>(), 0..=255),
    ) {
        let mut request = Request { xid, flags, ciaddr, giaddr, chaddr, ..Request::default() };
        let echo = [&[61, u8::try_from(client_id.len()).unwrap()], &client_id[..]].concat();
        request.client_id[..echo.len()].copy_from_slice(&echo);
        request.client_id_len = u16::try_from(echo.len()).unwrap();
        let mut options = Options::EMPTY;
        assert!(options.add(15, When::Always, &[&[15, 3], &b"abc"[..]].concat()));
        assert!(options.add(12, When::Always, &[12, 2, b'v', b'm']));
        let to = Destination { mac: GUEST, address, port };
        for reply in [Reply::Offer, Reply::Ack, Reply::Nak, Reply::Inform, Reply::RapidCommit] {
            let (frame, len) = render_to(to, &template(&extra), &options, &request, reply);
            assert_checksums(&frame[..len]);
        }
    }

    #[test]
    fn options_are_found_in_any_order_and_between_pads(
        mut options in Just([(53u8, [3u8].to_vec()), (54, SERVER_ID.to_vec()), (50, LEASE.to_vec()), (61, [1; 7].to_vec())])
            .prop_shuffle(),
        pads in prop::collection::vec(0usize..8, 4),
    ) {
        let mut client = Client::new(0);
        client.options.clear();
        for ((code, value), pads) in options.iter_mut().zip(pads) {
            client.options.resize(client.options.len() + pads, 0);
            client = client.option(*code, value);
        }
        prop_assert_eq!(client.reply().0, Reply::Ack);
    }

    #[test]
    fn no_reply_is_longer_than_the_client_takes_nor_shorter_than_bootp(
        client in any_client(),
        list in any_list(),
        limit in 342u32..=1500,
    ) {
        if let Ok(Some((request, Decision::Reply(reply, to)))) = ask(&client.frame()) {
            let options = Options { limit, ..options(&list) };
            let (frame, len) = render_to(to, &template(&[53, 1, 2]), &options, &request, reply);
            prop_assert!(len >= 42 + 300);
            prop_assert!(len - 14 <= usize::from(request.max_size.max(576)), "{len} of {}", request.max_size);
            prop_assert!(len - 14 <= usize::try_from(limit).unwrap());
            assert_whole(&frame[BOOTP + 240..len]);
            assert_checksums(&frame[..len]);
        }
    }

    #[test]
    fn nothing_but_a_message_of_the_guest_is_answered(
        client in any_client(),
        changes in prop::collection::vec((12usize..340, any::<u8>()), 0..6),
        cut in 14usize..700,
    ) {
        let mut frame = client.frame();
        for (at, octet) in changes {
            frame[at] = octet;
        }
        frame.truncate(cut);
        let Class::Dhcp(udp) = to_network::classify(&frame[..]) else { return Ok(()) };
        prop_assert_eq!(&frame[12..14], &packet::ETH_P_IP);
        prop_assert_eq!((frame[14] >> 4, frame[23]), (4, 17));
        let at = 14 + usize::from(frame[14] & 0xf) * 4;
        prop_assert_eq!(at, udp.offset);
        prop_assert_eq!(&frame[at + 2..at + 4], &[0, 67]);
        if let Ok(Some((_, Decision::Reply(..)))) = ask(&frame) {
            let message = &frame[at + 8..];
            prop_assert_eq!(&message[..3], &[1, 1, 6]);
            prop_assert_eq!(&message[28..34], &GUEST.0);
            prop_assert_eq!(&message[236..240], &[99, 130, 83, 99]);
            prop_assert!(frame[20] & 0x20 == 0, "a fragment");
        }
    }
}
