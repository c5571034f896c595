//! DHCP: what is read of a message, what is decided, and that every answer is one.

use binding_common::{
    Reason,
    dhcp::{Request, decide::Reply, options::MIN_FRAME},
    to_network,
};
use dhcproto::{Decodable as _, Decoder, v4};

use crate::{
    bindings::{self, Binding},
    dhcp::{Outcome, respond},
    oracle::{self, DhcpOptions},
};

/// Steps up to which both readers go the same way: the one under test ends at 128.
const STEPS: usize = 120;

/// The first octet chooses a binding.
pub(super) fn run(bytes: &[u8]) {
    let Some((first, frame)) = bytes.split_first() else { return };
    let binding = bindings::chosen(*first);
    let to_network::Class::Dhcp(udp) = to_network::classify(frame) else { return };
    let from_client = udp.source != 67;
    match respond(binding, binding.server.guest, frame, udp) {
        Ok(Outcome::Passed) => assert!(!from_client, "a client's message leaves"),
        Ok(Outcome::Consumed(request)) => assert_read(frame, udp.offset, &request),
        Ok(Outcome::Answered { request, reply, frame: answer, trimmed }) => {
            assert_read(frame, udp.offset, &request);
            assert_answer(binding, &request, reply, &answer, trimmed);
        }
        Err(failure) => assert!(
            matches!(
                failure.reason,
                Reason::DhcpMalformed | Reason::DhcpOtherServer | Reason::DhcpNotGuest | Reason::DhcpUnknownType
            ),
            "{}",
            failure.reason.name()
        ),
    }
}

/// What was read is what stands there.
fn assert_read(frame: &[u8], at: usize, request: &Request) {
    let datagram = &frame[at..];
    let message = &datagram[8..];
    assert_eq!(message[0], 1, "a request");
    assert_eq!(&message[236..240], &[99, 130, 83, 99]);
    assert_eq!(request.xid, message[4..8]);
    assert_eq!(request.chaddr, message[28..44]);
    let length = usize::from(u16::from_be_bytes([datagram[4], datagram[5]]));
    // Offsets of an end before the message begins are none.
    let options = DhcpOptions::of(message, length.saturating_sub(8));
    // A value that the frame lacks is read as zeros: then the datagram says to be longer than it is.
    if options.steps > STEPS || length > datagram.len() {
        return;
    }
    let number = |code| options.last(code, Some(4)).map_or([0; 4], |value| value.try_into().unwrap());
    assert_eq!(request.message_type, options.last(53, Some(1)).map_or(0, |value| value[0]));
    assert_eq!(request.requested, number(50));
    assert_eq!(request.server, number(54));
    assert_eq!(request.rapid_commit, options.last(80, Some(0)).is_some());
    assert_eq!(request.max_size.to_be_bytes(), *options.last(57, Some(2)).unwrap_or(&[0, 0]));
    let id = options.last(61, None).map(|id| [&[61, u8::try_from(id.len()).unwrap()], id].concat());
    assert_eq!(&request.client_id[..usize::from(request.client_id_len)], id.unwrap_or_default());
    let asked = options.last(55, None).unwrap_or_default();
    assert_eq!(&request.parameters[..usize::from(request.parameters_len.get())], asked);
}

fn assert_answer(binding: &Binding, request: &Request, reply: Reply, answer: &[u8], trimmed: bool) {
    assert_eq!(request.chaddr[..6], binding.server.guest.0, "an answer to somebody else");
    assert!(answer.len() >= MIN_FRAME);
    let datagram_limit = usize::from(request.max_size.max(576)).min(usize::try_from(binding.lease.mtu).unwrap());
    assert!(answer.len() - 14 <= datagram_limit.min(1500), "{} octets", answer.len());
    assert_headers(binding, answer);
    let options = assert_options(answer);
    assert_decodes(binding, request, reply, &answer[42..]);
    let echo = &request.client_id[..usize::from(request.client_id_len)];
    let echoed = options.iter().find(|(code, _)| *code == 61).map(|(_, value)| value.as_slice());
    match echoed {
        Some(value) => assert_eq!(value, &echo[2..]),
        None => assert!(echo.is_empty() || trimmed, "an identifier is lost"),
    }
    if reply == Reply::Nak {
        assert!(options.iter().all(|(code, _)| matches!(code, 53 | 54 | 56 | 61)), "{options:?}");
    }
}

fn assert_headers(binding: &Binding, answer: &[u8]) {
    let read = oracle::frame(answer).unwrap();
    assert_eq!((read.tags, read.kind), (0, 0x0800));
    let packet = oracle::ipv4(read.rest).unwrap();
    assert_eq!(packet.header.len(), 20);
    assert!(oracle::ipv4_sum_is_right(packet.header));
    assert_eq!(usize::from(u16::from_be_bytes([packet.header[2], packet.header[3]])), answer.len() - 14);
    assert_eq!((packet.protocol, packet.offset, packet.more), (17, 0, false));
    assert_eq!(packet.from, binding.server.identifier);
    assert_eq!(usize::from(u16::from_be_bytes([packet.rest[4], packet.rest[5]])), answer.len() - 34);
    assert!(oracle::udp_sum_is_right(packet.from, packet.to, packet.rest));
    let (from, to) = oracle::udp_ports(&packet).unwrap();
    assert_eq!(from, 67);
    assert!(to == 67 || to == 68);
}

/// Options end with END and nothing but zeros follow; no code stands twice, but for the parts of one option.
fn assert_options(answer: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &answer[42 + 240..];
    let mut all: Vec<(u8, Vec<u8>)> = Vec::new();
    while rest[0] != 255 {
        let len = usize::from(rest[1]);
        let (code, value) = (rest[0], &rest[2..2 + len]);
        match all.last_mut() {
            // RFC 3396: only a part that is full is followed by another.
            Some((last, parts)) if *last == code && parts.len() % 255 == 0 => parts.extend(value),
            _ => {
                assert!(all.iter().all(|(found, _)| *found != code), "option {code} stands twice");
                all.push((code, value.to_vec()));
            }
        }
        rest = &rest[2 + len..];
    }
    assert!(rest[1..].iter().all(|octet| *octet == 0), "something follows END");
    assert_eq!(all.first().map(|(code, _)| *code), Some(53));
    all
}

/// What another implementation reads in it.
fn assert_decodes(binding: &Binding, request: &Request, reply: Reply, message: &[u8]) {
    let decoded = v4::Message::decode(&mut Decoder::new(message)).unwrap();
    let kind = match reply {
        Reply::Offer => v4::MessageType::Offer,
        Reply::Ack | Reply::Inform | Reply::RapidCommit => v4::MessageType::Ack,
        Reply::Nak => v4::MessageType::Nak,
    };
    assert_eq!(decoded.opts().msg_type(), Some(kind));
    assert_eq!(decoded.xid().to_be_bytes(), request.xid);
    let gives = matches!(reply, Reply::Offer | Reply::Ack | Reply::RapidCommit);
    assert_eq!(decoded.yiaddr().octets(), if gives { binding.server.lease } else { [0; 4] });
    // RFC 2131, table 3: only an ACK has it, and one in place of an OFFER has none to repeat.
    let ciaddr = if matches!(reply, Reply::Ack | Reply::Inform) { request.ciaddr } else { [0; 4] };
    assert_eq!(decoded.ciaddr().octets(), ciaddr);
    let server = decoded.opts().get(v4::OptionCode::ServerIdentifier);
    assert_eq!(server, Some(&v4::DhcpOption::ServerIdentifier(binding.lease.server_id)));
    assert_eq!(decoded.opts().get(v4::OptionCode::AddressLeaseTime).is_some(), gives);
}
