//! The responder as a whole: bytes of a client in, bytes of the reply out.

extern crate std;

mod client;
mod properties;

use std::vec::Vec;

use client::Client;

use super::{
    CLIENT_PORT, Decision, Exchange, Options, Request, SERVER_MAC, Server, Template,
    decide::{self, Reply, addressed, decide},
    options::{MAX_OPTION, When},
    reply::{BOOTP, Destination, MAX_FRAME},
};
use crate::{MacAddr, Reason, checksum, packet};

const GUEST: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
const LEASE: [u8; 4] = [10, 244, 1, 5];
const SERVER_ID: [u8; 4] = [10, 244, 1, 1];
const OTHER: [u8; 4] = [10, 9, 9, 9];
const NONE: [u8; 4] = [0; 4];
const ANY: [u8; 4] = [255; 4];
const SERVER: Server = Server { lease: LEASE, identifier: SERVER_ID, guest: GUEST };

/// What the program does with a frame of the DHCP class.
fn ask(frame: &[u8]) -> Result<Option<(Request, Decision)>, Reason> {
    let udp = packet::udp(frame).expect("a UDP frame");
    let mut request = Request::default();
    request.read_headers(frame, udp)?;
    if !addressed(&request, &SERVER)? {
        return Ok(None);
    }
    request.read_message(frame, udp)?;
    Ok(Some((request, decide(&request, &SERVER)?)))
}

fn broadcast() -> Destination {
    Destination { mac: MacAddr::BROADCAST, address: ANY, port: 68 }
}

fn unicast(address: [u8; 4]) -> Destination {
    Destination { mac: GUEST, address, port: 68 }
}

#[test]
fn a_discover_is_offered_the_lease_whatever_it_suggests() {
    assert_eq!(Client::new(1).reply(), (Reply::Offer, unicast(LEASE)));
    assert_eq!(Client::new(1).option(50, &OTHER).reply(), (Reply::Offer, unicast(LEASE)));
}

#[test]
fn the_broadcast_flag_is_followed() {
    let mut client = Client::new(1);
    client.flags = [0x80, 0];
    assert_eq!(client.reply(), (Reply::Offer, broadcast()));
}

#[test]
fn selecting_this_server_is_acknowledged_and_another_left_alone() {
    let client = |server, address: [u8; 4]| Client::new(3).option(54, server).option(50, &address);
    assert_eq!(client(&SERVER_ID, LEASE).reply(), (Reply::Ack, unicast(LEASE)));
    assert_eq!(client(&SERVER_ID, OTHER).reply(), (Reply::Nak, broadcast()));
    assert_eq!(client(&OTHER, LEASE).ask().unwrap_err(), Reason::DhcpOtherServer);
    // Some clients fill in `ciaddr` in place of option 50.
    assert_eq!(Client::new(3).option(54, &SERVER_ID).ciaddr(LEASE).reply().0, Reply::Ack);
}

#[test]
fn a_reboot_with_a_lost_address_is_told_no() {
    assert_eq!(Client::new(3).option(50, &LEASE).reply(), (Reply::Ack, unicast(LEASE)));
    assert_eq!(Client::new(3).option(50, &OTHER).reply(), (Reply::Nak, broadcast()));
    assert_eq!(Client::new(3).ask().unwrap_err(), Reason::DhcpMalformed);
}

#[test]
fn renewing_and_rebinding_keep_the_lease_and_lose_any_other_address() {
    for (to, lost) in [(SERVER_ID, unicast(OTHER)), (ANY, broadcast())] {
        assert_eq!(Client::new(3).to(to).ciaddr(LEASE).reply(), (Reply::Ack, unicast(LEASE)));
        assert_eq!(Client::new(3).to(to).ciaddr(OTHER).reply(), (Reply::Nak, lost));
    }
}

#[test]
fn inform_gets_facts_and_no_address() {
    assert_eq!(Client::new(8).ciaddr(OTHER).reply(), (Reply::Inform, unicast(OTHER)));
    assert_eq!(Client::new(8).ask().unwrap_err(), Reason::DhcpMalformed);
}

#[test]
fn an_inform_that_forgets_its_address_is_answered_where_it_comes_from_if_that_is_the_lease() {
    let from = |source: [u8; 4]| {
        let mut frame = Client::new(8).frame();
        frame[26..30].copy_from_slice(&source);
        ask(&frame).map(|answer| answer.unwrap().1)
    };
    assert_eq!(from(LEASE), Ok(Decision::Reply(Reply::Inform, unicast(LEASE))));
    assert_eq!(from(OTHER), Err(Reason::DhcpMalformed));
}

#[test]
fn release_and_decline_are_taken_note_of_in_silence() {
    for kind in [4, 7] {
        let (request, decision) = Client::new(kind).ciaddr(LEASE).to(SERVER_ID).ask().unwrap();
        assert_eq!(decision, Decision::Consume);
        assert!(decide::received(&request).is_some());
    }
}

#[test]
fn other_types_are_met_with_silence() {
    for kind in [0, 2, 5, 6, 9, 10, 13, 255] {
        assert_eq!(Client::new(kind).ask().unwrap_err(), Reason::DhcpUnknownType, "{kind}");
    }
    let mut bootp = Client::new(0);
    bootp.options.clear();
    assert_eq!(bootp.ask().unwrap_err(), Reason::DhcpUnknownType);
}

#[test]
fn another_hardware_address_gets_nothing() {
    let mut client = Client::new(1);
    client.chaddr = MacAddr([2, 2, 2, 2, 2, 2]);
    assert_eq!(client.ask().unwrap_err(), Reason::DhcpNotGuest);
}

#[test]
fn nothing_leaves_from_the_client_port_and_a_relay_passes() {
    assert_eq!(ask(&Client::new(3).to(OTHER).ciaddr(LEASE).frame()), Err(Reason::DhcpOtherServer));
    let mut odd = Client::new(3).to(OTHER);
    odd.source_port = 1067;
    assert_eq!(ask(&odd.frame()), Err(Reason::DhcpOtherServer));
    let mut relay = Client::new(1).to(OTHER);
    relay.source_port = 67;
    let to_all = relay.frame();
    assert_eq!(ask(&to_all), Err(Reason::DhcpOtherServer));
    let to_one = [&[2, 0, 0, 0, 0, 1], &to_all[6..]].concat();
    assert_eq!(ask(&to_one), Ok(None));
    for group in [[10, 0, 0, 0], [224, 0, 0, 12], [239, 1, 2, 3], [0; 4]] {
        let mut relay = Client::new(1).to(group);
        relay.source_port = 67;
        let to_one = [&[2, 0, 0, 0, 0, 1], &relay.frame()[6..]].concat();
        let expected = if group[0] == 10 { Ok(None) } else { Err(Reason::DhcpOtherServer) };
        assert_eq!(ask(&to_one), expected, "{group:?}");
    }
}

#[test]
fn a_relay_on_the_link_is_answered_at_its_port() {
    let mut relayed = Client::new(1);
    relayed.giaddr = [10, 244, 1, 9];
    let to = relayed.reply().1;
    assert_eq!(to, Destination { mac: GUEST, address: [10, 244, 1, 9], port: 67 });
}

#[test]
fn a_fragment_is_never_answered_and_never_leaves() {
    let mut frame = Client::new(1).frame();
    frame[20] = 0x20;
    assert_eq!(ask(&frame), Err(Reason::DhcpMalformed));
}

#[test]
fn a_request_behind_ip_options_is_read() {
    let mut client = Client::new(1);
    client.ip_options = 10;
    assert_eq!(client.reply().0, Reply::Offer);
}

#[test]
fn a_missing_end_is_no_reason_for_silence() {
    let mut frame = Client::new(1).frame();
    let end = frame.iter().rposition(|octet| *octet == 255).unwrap();
    frame.truncate(end);
    let length = u16::try_from(frame.len() - 34).unwrap();
    frame[38..40].copy_from_slice(&length.to_be_bytes());
    assert!(matches!(ask(&frame), Ok(Some((_, Decision::Reply(Reply::Offer, _))))));
}

#[test]
fn options_after_the_end_of_the_datagram_are_padding() {
    let mut frame = Client::new(1).frame();
    let end = frame.iter().rposition(|octet| *octet == 255).unwrap();
    // The datagram ends before option 53; what follows in the frame is not the client's.
    frame[38..40].copy_from_slice(&u16::try_from(end - 3 - 34).unwrap().to_be_bytes());
    assert_eq!(ask(&frame), Err(Reason::DhcpUnknownType));
}

/// A template with a message in which every stamped field is zero, as user space lays it out.
fn template(extra: &[u8]) -> Template {
    let mut message = [0; 240].to_vec();
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[16..20].copy_from_slice(&LEASE);
    message.extend(extra);
    Template::new(SERVER_MAC, SERVER_ID, &message).unwrap()
}

/// The frame of a reply to the guest's address, and its length.
fn render(template: &Template, options: &Options, request: &Request, reply: Reply) -> ([u8; MAX_FRAME], usize) {
    render_to(unicast(LEASE), template, options, request, reply)
}

fn render_to(
    to: Destination,
    template: &Template,
    options: &Options,
    request: &Request,
    reply: Reply,
) -> ([u8; MAX_FRAME], usize) {
    let mut exchange = Exchange::default();
    exchange.request = *request;
    exchange.answer(reply, to);
    let frame = template.render(options, &mut exchange).unwrap();
    (frame, exchange.progress.frame_len())
}

/// Both checksums, taken over the whole frame anew, come out as zero.
fn assert_checksums(frame: &[u8]) {
    assert_eq!(checksum::finish(checksum::add_slice(0, &frame[14..34])), [0, 0], "IPv4");
    let pseudo = checksum::add_slice(17 + u32::try_from(frame.len() - 34).unwrap(), &frame[26..34]);
    assert_eq!(checksum::finish(checksum::add_slice(pseudo, &frame[34..])), [0, 0], "UDP");
}

#[test]
fn an_ack_repeats_the_clients_address_and_an_offer_does_not() {
    let client = Client::new(3).ciaddr(LEASE).to(SERVER_ID);
    let (request, _) = client.ask().unwrap();
    for (reply, ciaddr) in [(Reply::Ack, LEASE), (Reply::Offer, NONE), (Reply::Nak, NONE)] {
        let (frame, len) = render(&template(&[]), &Options::EMPTY, &request, reply);
        assert_eq!(frame[BOOTP + 12..BOOTP + 16], ciaddr);
        assert_eq!(frame[BOOTP + 4..BOOTP + 8], [1, 2, 3, 4]);
        assert_eq!(frame[BOOTP + 28..BOOTP + 34], GUEST.0);
        assert_checksums(&frame[..len]);
    }
}

#[test]
fn a_relay_is_told_to_broadcast_a_nak() {
    let request = Request { giaddr: [10, 244, 1, 9], ..Request::default() };
    for (reply, flag) in [(Reply::Nak, 0x80), (Reply::Ack, 0)] {
        let (frame, len) = render(&template(&[]), &Options::EMPTY, &request, reply);
        assert_eq!(frame[BOOTP + 10], flag);
        assert_checksums(&frame[..len]);
    }
}

#[test]
fn a_client_that_takes_an_ack_at_once_gets_one() {
    assert_eq!(Client::new(1).option(80, &[]).reply(), (Reply::RapidCommit, unicast(LEASE)));
    // Anywhere else the option means nothing.
    assert_eq!(Client::new(3).option(80, &[]).option(50, &LEASE).reply().0, Reply::Ack);
}

#[test]
fn options_go_on_in_the_fields_that_option_52_names() {
    // `file` first, then `sname` (RFC 2131, 4.1).
    for (fields, file, sname) in [(1, true, false), (2, false, true), (3, true, true)] {
        let mut client = Client::new(0);
        client.options = [52, 1, fields].to_vec();
        let mut frame = client.frame();
        let mut overlaid = [[53, 1, 3].as_slice(), &[50, 4], &LEASE].concat();
        let rest = if file && sname { overlaid.split_off(3) } else { Vec::new() };
        overlaid.push(255);
        let at = if file { 42 + 108 } else { 42 + 44 };
        frame[at..at + overlaid.len()].copy_from_slice(&overlaid);
        frame[42 + 44..42 + 44 + rest.len()].copy_from_slice(&rest);
        assert!(matches!(ask(&frame), Ok(Some((_, Decision::Reply(Reply::Ack, _))))), "{fields}");
    }
}

#[test]
fn an_option_that_goes_beyond_the_end_says_nothing() {
    let mut client = Client::new(1);
    client.options = [53, 1, 1, 50, 200].to_vec();
    assert_eq!(client.reply().0, Reply::Offer);
    client.options = [12, 200, 53, 1, 1].to_vec();
    assert_eq!(client.ask().unwrap_err(), Reason::DhcpUnknownType);
}

#[test]
fn a_hardware_address_of_another_kind_is_not_the_guests() {
    for (htype, hlen) in [(1, 16), (6, 6), (1, 0), (32, 20)] {
        let mut frame = Client::new(1).frame();
        frame[43..45].copy_from_slice(&[htype, hlen]);
        assert_eq!(ask(&frame), Err(Reason::DhcpNotGuest), "{htype} {hlen}");
    }
}

/// The codes of the options behind the template of a reply to `client`, in their order.
fn chosen(options: &Options, client: &Client) -> Vec<u8> {
    let (request, decision) = client.ask().unwrap();
    let Decision::Reply(reply, _) = decision else { panic!("no reply") };
    let (frame, len) = render(&template(&[]), options, &request, reply);
    assert_checksums(&frame[..len]);
    assert!(len <= 14 + 576.max(usize::from(request.max_size)));
    let mut rest = &frame[BOOTP + 240..len];
    let mut codes = Vec::new();
    while let [code, tail @ ..] = rest {
        if *code == 255 {
            assert!(tail.iter().all(|octet| *octet == 0), "padding");
            return codes;
        }
        codes.push(*code);
        rest = &tail[1 + usize::from(tail[0])..];
    }
    panic!("no END");
}

/// Options as a binding has them: (code, octets of the value).
fn options(list: &[(u8, When, usize)]) -> Options {
    let mut options = Options { limit: 1500, ..Options::EMPTY };
    for (code, when, len) in list {
        let parts = std::vec![*code; *len];
        let encoded: Vec<u8> =
            parts.chunks(255).flat_map(|part| [&[*code, u8::try_from(part.len()).unwrap()], part].concat()).collect();
        assert!(options.add(*code, *when, &encoded));
    }
    options
}

#[test]
fn what_the_client_asks_for_comes_first_and_in_its_order() {
    let options =
        options(&[(26, When::Always, 2), (15, When::Always, 9), (12, When::Always, 2), (42, When::Always, 4)]);
    assert_eq!(chosen(&options, &Client::new(1)), [26, 15, 12, 42]);
    assert_eq!(chosen(&options, &Client::new(1).option(55, &[42, 99, 1, 12, 42])), [42, 12, 26, 15]);
}

#[test]
fn some_options_are_for_those_who_ask() {
    let options = options(&[(249, When::RequestedInPlaceOf121, 9), (175, When::Requested, 3), (12, When::Always, 2)]);
    assert_eq!(chosen(&options, &Client::new(1)), [12]);
    assert_eq!(chosen(&options, &Client::new(1).option(55, &[175, 12, 249])), [175, 12, 249]);
    assert_eq!(chosen(&options, &Client::new(1).option(55, &[249, 121])), [12]);
}

#[test]
fn what_finds_no_room_is_left_out_and_smaller_options_still_go() {
    let options =
        options(&[(26, When::Always, 2), (240, When::Always, 250), (42, When::Always, 4), (119, When::Always, 296)]);
    assert_eq!(chosen(&options, &Client::new(1)), [26, 240, 42]);
    assert_eq!(chosen(&options, &Client::new(1).option(57, &[5, 220])), [26, 240, 42, 119, 119]);
    // Less than every client takes is not asked for in earnest.
    assert_eq!(chosen(&options, &Client::new(1).option(57, &[0, 100])), [26, 240, 42]);
    assert_eq!(chosen(&options, &Client::new(1).option(55, &[119])), [119, 119, 26]);
}

#[test]
fn the_client_identifier_is_sent_back_last_and_also_in_a_nak() {
    let options = options(&[(240, When::Always, 100), (12, When::Always, 2)]);
    for len in [0, 1, 7, 255] {
        let id = std::vec![0xa5; len];
        let room = if len == 255 { [12, 61].as_slice() } else { &[240, 12, 61] };
        assert_eq!(chosen(&options, &Client::new(1).option(61, &id)), room, "{len}");
        assert_eq!(chosen(&options, &Client::new(3).option(61, &id).option(50, &OTHER)), [61]);
    }
}

#[test]
fn options_beyond_the_room_for_them_are_refused() {
    let mut options = Options::EMPTY;
    assert!(!options.add(1, When::Always, &[0; MAX_OPTION + 1]));
    let fitting = (0..u8::MAX).take_while(|code| options.add(*code, When::Always, &[*code; 600])).count();
    assert_eq!(fitting, 6);
    assert_eq!(options.count, 6);
}
