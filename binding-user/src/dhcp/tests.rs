//! The replies as somebody else's decoder reads them.

use dhcproto::{
    Decodable as _, Decoder,
    v4::{Message, OptionCode},
};

use binding_common::dhcp::{Destination, Exchange, Request};

use super::*;
use crate::lease::{PrivateOption, tests::lease};

/// The message of a reply to a client that takes no more than every client does, as somebody else's decoder reads it.
fn decode(replies: &Replies, reply: Reply) -> (Message, Vec<u8>) {
    decode_for(replies, reply, &Request::default())
}

fn decode_for(replies: &Replies, reply: Reply, request: &Request) -> (Message, Vec<u8>) {
    let mut exchange = Exchange::default();
    exchange.request = *request;
    exchange.answer(reply, Destination::default());
    let frame = replies.templates[reply as usize].render(&replies.options, &mut exchange).unwrap();
    let bytes = &frame[42..exchange.progress.frame_len()];
    (Message::decode(&mut Decoder::new(bytes)).unwrap(), bytes.to_vec())
}

/// The codes of the options, in their order.
fn codes(bytes: &[u8]) -> Vec<u8> {
    let mut codes = Vec::new();
    let mut rest = &bytes[240..];
    while let [code, len, ..] = rest
        && *code != 255
    {
        codes.push(*code);
        rest = &rest[2 + usize::from(*len)..];
    }
    codes
}

fn full() -> Lease {
    let routes = [("0.0.0.0/0", "169.254.1.1"), ("169.254.1.1/32", "")];
    let search = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    Lease {
        dns: vec![Ipv4Addr::new(10, 96, 0, 10)],
        search: search.map(str::to_owned).to_vec(),
        hostname: Some("vm".to_owned()),
        ..lease("192.168.1.10/32", &routes)
    }
}

#[test]
fn an_offer_tells_all_of_the_lease() {
    let replies = Replies::new(&full()).unwrap();
    let (offer, bytes) = decode(&replies, Reply::Offer);
    let option = |code| offer.opts().get(code).cloned();
    assert_eq!(offer.yiaddr(), Ipv4Addr::new(192, 168, 1, 10));
    assert_eq!(option(OptionCode::SubnetMask), Some(DhcpOption::SubnetMask(Ipv4Addr::BROADCAST)));
    assert_eq!(option(OptionCode::Renewal), Some(DhcpOption::Renewal(43_200)));
    assert_eq!(option(OptionCode::Rebinding), Some(DhcpOption::Rebinding(75_600)));
    assert_eq!(option(OptionCode::InterfaceMtu), Some(DhcpOption::InterfaceMtu(1500)));
    assert_eq!(option(OptionCode::Hostname), Some(DhcpOption::Hostname("vm".to_owned())));
    let domain = DhcpOption::DomainName("default.svc.cluster.local".to_owned());
    assert_eq!(option(OptionCode::DomainName), Some(domain), "the longest");
    let Some(DhcpOption::DomainSearch(names)) = option(OptionCode::DomainSearch) else { panic!("no option 119") };
    assert_eq!(names.len(), 3);
    // KubeVirt has these bytes for Calico, too.
    let routes = [121, 14, 32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1];
    assert!(bytes.windows(routes.len()).any(|window| window == routes), "{bytes:?}");
    assert_eq!(replies.left_out, Vec::<u8>::new());
}

#[test]
fn the_mandatory_options_come_first_and_the_others_by_importance() {
    let (_, bytes) = decode(&Replies::new(&booting()).unwrap(), Reply::Ack);
    assert_eq!(codes(&bytes), [53, 54, 51, 58, 59, 1, 3, 121, 6, 26, 15, 66, 67, 150, 240, 42, 12, 119]);
    let (_, bytes) = decode(&Replies::new(&booting()).unwrap(), Reply::RapidCommit);
    assert_eq!(codes(&bytes)[..10], [53, 54, 51, 58, 59, 1, 3, 121, 6, 80]);
}

/// A lease with everything.
fn booting() -> Lease {
    Lease {
        ntp_servers: vec![Ipv4Addr::new(10, 96, 0, 11)],
        tftp_server_name: Some("10.96.0.12".to_owned()),
        boot_file_name: Some("boot.ipxe".to_owned()),
        tftp_servers: vec![Ipv4Addr::new(10, 96, 0, 12), Ipv4Addr::new(10, 96, 0, 13)],
        private_options: vec![PrivateOption { option: 240, value: "private".to_owned() }],
        ..full()
    }
}

#[test]
fn the_boot_server_and_file_are_also_in_the_fields_that_old_firmware_reads() {
    let (offer, bytes) = decode(&Replies::new(&booting()).unwrap(), Reply::Offer);
    assert_eq!(offer.siaddr(), Ipv4Addr::new(10, 96, 0, 12));
    assert_eq!(bytes[108..118], *b"boot.ipxe\0");
    assert!(bytes.windows(10).any(|window| window == [150, 8, 10, 96, 0, 12, 10, 96, 0, 13]));
    let named =
        Lease { tftp_server_name: Some("tftp.example".to_owned()), boot_file_name: Some("x".repeat(128)), ..booting() };
    let (offer, bytes) = decode(&Replies::new(&named).unwrap(), Reply::Offer);
    assert_eq!(offer.siaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(bytes[108..236], [0; 128]);
    let (nak, _) = decode(&Replies::new(&booting()).unwrap(), Reply::Nak);
    assert_eq!((nak.siaddr(), nak.fname()), (Ipv4Addr::UNSPECIFIED, None));
}

#[test]
fn option_249_repeats_option_121_and_175_speaks_to_ipxe_for_those_who_ask() {
    let mut request = Request { max_size: 1500, ..Request::default() };
    request.parameters[..2].copy_from_slice(&[249, 175]);
    request.parameters_len.set(2);
    let (_, bytes) = decode_for(&Replies::new(&booting()).unwrap(), Reply::Offer, &request);
    let routes = [249, 14, 32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1, 175, 3, 176, 1, 1];
    assert!(bytes.windows(routes.len()).any(|window| window == routes), "{bytes:?}");
}

#[test]
fn an_mtu_below_the_shortest_reply_is_refused() {
    assert!(Replies::new(&Lease { mtu: 328, ..lease("10.244.1.5/24", &[]) }).is_ok());
    let error = Replies::new(&Lease { mtu: 327, ..full() }).err().unwrap();
    assert!(error.hint().unwrap().contains("328"));
}

#[test]
fn a_nak_gives_nothing_and_says_why() {
    let (nak, bytes) = decode(&Replies::new(&full()).unwrap(), Reply::Nak);
    assert_eq!(nak.yiaddr(), Ipv4Addr::UNSPECIFIED);
    let codes: Vec<u8> = nak.opts().iter().map(|(code, _)| (*code).into()).filter(|code| *code != 255).collect();
    assert_eq!(codes, [53, 54, 56]);
    assert_eq!(bytes.len(), 300);
}

#[test]
fn an_inform_has_no_times_and_an_infinite_lease_no_renewal() {
    let (inform, _) = decode(&Replies::new(&full()).unwrap(), Reply::Inform);
    for code in [OptionCode::AddressLeaseTime, OptionCode::Renewal, OptionCode::Rebinding] {
        assert_eq!(inform.opts().get(code), None);
    }
    let infinite = Lease { seconds: INFINITE_SECONDS, ..full() };
    let (ack, _) = decode(&Replies::new(&infinite).unwrap(), Reply::Ack);
    assert_eq!(ack.opts().get(OptionCode::AddressLeaseTime), Some(&DhcpOption::AddressLeaseTime(u32::MAX)));
    assert_eq!(ack.opts().get(OptionCode::Renewal), None);
}

#[test]
fn a_long_search_list_is_split_and_left_to_clients_that_take_it() {
    let search: Vec<_> = (0..12).map(|n| format!("a-rather-long-name-{n}.of-its-own-domain-{n}")).collect();
    let replies = Replies::new(&Lease { search: search.clone(), ..full() }).unwrap();
    assert_eq!(replies.left_out, [119]);
    let (_, bytes) = decode(&replies, Reply::Offer);
    assert!(bytes.len() <= 576 - 28);
    assert!(!codes(&bytes).contains(&119));
    let (offer, bytes) = decode_for(&replies, Reply::Offer, &Request { max_size: 1500, ..Request::default() });
    assert_eq!(codes(&bytes)[codes(&bytes).len() - 2..], [119, 119], "in parts of 255 octets");
    let Some(DhcpOption::DomainSearch(names)) = offer.opts().get(OptionCode::DomainSearch) else { panic!("no 119") };
    assert_eq!(names.len(), search.len());
}

#[test]
fn a_lease_whose_mandatory_options_do_not_fit_is_refused() {
    let routes: Vec<_> = (0..60).map(|n| format!("10.{n}.0.0/16")).collect();
    let routes: Vec<_> = routes.iter().map(|dst| (dst.as_str(), "10.244.1.1")).collect();
    let error = Replies::new(&lease("10.244.1.5/24", &routes)).err().unwrap();
    assert!(error.to_string().contains("option 121"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn options_that_are_too_many_or_too_long_give_way_from_the_last_and_nothing_else_is_refused() {
    let private = |code| PrivateOption { option: code, value: "x".repeat(255) };
    let search: Vec<_> = (0..32).map(|n| format!("{}.of-the-domain-{n}", "x".repeat(40))).collect();
    let huge = Lease { private_options: (224..=254).map(private).collect(), search, ..booting() };
    let replies = Replies::new(&huge).unwrap();
    // 224 to 235 are stored. Of them, and of what comes before, no more than fits is sent.
    let not_stored: Vec<u8> = (236..=254).chain([42, 12, 119]).collect();
    assert_eq!(replies.too_long, not_stored);
    assert_eq!(replies.left_out, (224..=235).collect::<Vec<_>>());
    let (_, bytes) = decode(&replies, Reply::Ack);
    assert!(bytes.len() <= 576 - 28);
    assert_eq!(codes(&bytes)[..14], [53, 54, 51, 58, 59, 1, 3, 121, 6, 26, 15, 66, 67, 150]);
    let warnings = replies.warnings();
    assert!(warnings[0].contains("[224, ") && warnings[1].contains(", 119]"), "{warnings:?}");
    assert_eq!(Replies::new(&booting()).unwrap().warnings(), [""; 0]);
}

#[test]
fn an_option_that_the_links_mtu_has_no_room_for_is_told_of() {
    let replies = Replies::new(&Lease { mtu: 400, boot_file_name: Some("x".repeat(200)), ..booting() }).unwrap();
    assert_eq!(replies.too_long, [67]);
    assert_eq!(replies.usual, 400);
    let (_, bytes) = decode(&replies, Reply::Offer);
    assert!(bytes.len() <= 400 - 28 && !codes(&bytes).contains(&67));
}
