//! The responder as a whole: bytes of a client in, bytes of the reply out.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::{
    CLIENT_PORT, Decision, Request, SERVER_MAC, Server, Template,
    decide::{self, Reply, addressed, decide},
    reply::{BOOTP, Destination},
};
use crate::{MacAddr, Reason, checksum, packet};

const GUEST: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
const LEASE: [u8; 4] = [10, 244, 1, 5];
const SERVER_ID: [u8; 4] = [10, 244, 1, 1];
const OTHER: [u8; 4] = [10, 9, 9, 9];
const NONE: [u8; 4] = [0; 4];
const ANY: [u8; 4] = [255; 4];
const SERVER: Server = Server { lease: LEASE, identifier: SERVER_ID, guest: GUEST };

/// A client's message, to be changed by a test and then put into a frame.
#[derive(Clone)]
struct Client {
    to: [u8; 4],
    source_port: u16,
    flags: [u8; 2],
    ciaddr: [u8; 4],
    giaddr: [u8; 4],
    chaddr: MacAddr,
    options: Vec<u8>,
    ip_options: usize,
}

impl Client {
    fn new(message_type: u8) -> Self {
        Self {
            to: ANY,
            source_port: CLIENT_PORT,
            flags: [0, 0],
            ciaddr: NONE,
            giaddr: NONE,
            chaddr: GUEST,
            options: [53, 1, message_type].to_vec(),
            ip_options: 0,
        }
    }

    fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, u8::try_from(value.len()).unwrap()]);
        self.options.extend(value);
        self
    }

    fn ciaddr(mut self, address: [u8; 4]) -> Self {
        self.ciaddr = address;
        self
    }

    fn to(mut self, address: [u8; 4]) -> Self {
        self.to = address;
        self
    }

    /// The frame, padded to the 300 octets that BOOTP has.
    fn frame(&self) -> Vec<u8> {
        let mut message = [0; 240].to_vec();
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[4..8].copy_from_slice(&[1, 2, 3, 4]);
        message[10..12].copy_from_slice(&self.flags);
        message[12..16].copy_from_slice(&self.ciaddr);
        message[24..28].copy_from_slice(&self.giaddr);
        message[28..34].copy_from_slice(&self.chaddr.0);
        message[236..].copy_from_slice(&[99, 130, 83, 99]);
        message.extend(&self.options);
        message.push(255);
        message.resize(message.len().max(300), 0);

        let mut frame = Vec::new();
        frame.extend([0xff; 6]);
        frame.extend(GUEST.0);
        frame.extend(packet::ETH_P_IP);
        let ihl = u8::try_from(5 + self.ip_options).unwrap();
        frame.extend([0x40 | ihl, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(self.ciaddr);
        frame.extend(self.to);
        frame.resize(frame.len() + self.ip_options * 4, 1);
        frame.extend(self.source_port.to_be_bytes());
        frame.extend([0, 67]);
        frame.extend(u16::try_from(8 + message.len()).unwrap().to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(message);
        frame
    }

    fn ask(&self) -> Result<(Request, Decision), Reason> {
        ask(&self.frame()).map(|answer| answer.expect("it is for this server"))
    }

    fn reply(&self) -> (Reply, Destination) {
        match self.ask() {
            Ok((_, Decision::Reply(reply, to))) => (reply, to),
            other => panic!("no reply: {other:?}"),
        }
    }
}

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
    assert_eq!(ask(&relay.frame()), Ok(None));
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
    message.resize(message.len().max(300), 0);
    Template::new(SERVER_MAC, SERVER_ID, &message).unwrap()
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
        let (frame, len) = template(&[]).render(&request, reply, &unicast(LEASE)).unwrap();
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
        let (frame, len) = template(&[]).render(&request, reply, &unicast(LEASE)).unwrap();
        assert_eq!(frame[BOOTP + 10], flag);
        assert_checksums(&frame[..len]);
    }
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
        extra in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let request = Request { xid, flags, ciaddr, giaddr, chaddr: GUEST, ..Request::default() };
        let to = Destination { mac: GUEST, address, port };
        for reply in [Reply::Offer, Reply::Ack, Reply::Nak, Reply::Inform] {
            let (frame, len) = template(&extra).render(&request, reply, &to).unwrap();
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
}
