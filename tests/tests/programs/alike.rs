//! The programs and the code that they are made of judge every frame alike: the same verdict, the same octets, the same
//! counter.
//!
//! What the host's build of that code does with any octets, its own tests say. Here is that a compiler for another machine,
//! a verifier and a kernel change nothing of it.

use std::cell::RefCell;

use binding_common::{
    Reason,
    dhcp::{Decision, Exchange, decide, decide::addressed},
    to_network,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

/// A run takes some ten microseconds.
const FRAMES: u32 = 4000;

/// An option that decides of an answer, or any other octets.
fn any_option() -> impl Strategy<Value = Vec<u8>> {
    let with_length = |code: u8, value: &[u8]| [&[code, u8::try_from(value.len()).unwrap()], value].concat();
    let address = || prop::sample::select(&[LEASE, GATEWAY, OTHER, [0; 4]][..]);
    prop_oneof![
        3 => any::<u8>().prop_map(move |kind| with_length(53, &[kind % 10])),
        2 => address().prop_map(move |address| with_length(50, &address)),
        1 => address().prop_map(move |address| with_length(54, &address)),
        2 => prop::collection::vec(any::<u8>(), 0..=255).prop_map(move |list| with_length(55, &list)),
        2 => any::<[u8; 2]>().prop_map(move |size| with_length(57, &size)),
        2 => prop::collection::vec(any::<u8>(), 0..=255).prop_map(move |id| with_length(61, &id)),
        1 => (0u8..4).prop_map(move |fields| with_length(52, &[fields])),
        1 => Just(vec![80, 0]),
        1 => (0usize..140).prop_map(|pads| vec![0; pads]),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// A message to the server port; its type stands first, where any option may follow that says otherwise.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let address = || prop::sample::select(&[[0; 4], LEASE, GATEWAY, OTHER, ANY][..]);
    let kind = prop::sample::select(&[1u8, 3, 3, 4, 7, 8, 13][..]);
    let addresses = (address(), address(), address(), prop_oneof![3 => Just([0; 4]), 1 => address()]);
    let ports = prop_oneof![4 => Just(68u16), 1 => Just(67), 1 => any::<u16>()];
    let options = prop::collection::vec(any_option(), 0..6);
    (kind, addresses, ports, options, any::<[u8; 2]>(), any::<bool>()).prop_map(
        |(kind, (from, to, ciaddr, giaddr), port, options, flags, end)| {
            let mut bootp = vec![0; 240];
            bootp[..3].copy_from_slice(&[1, 1, 6]);
            bootp[4..8].copy_from_slice(&[9, 8, 7, 6]);
            bootp[10..12].copy_from_slice(&flags);
            bootp[12..16].copy_from_slice(&ciaddr);
            bootp[24..28].copy_from_slice(&giaddr);
            bootp[28..34].copy_from_slice(&GUEST.0);
            bootp[236..].copy_from_slice(&[99, 130, 83, 99]);
            bootp.extend([53, 1, kind]);
            bootp.extend(options.concat());
            if end {
                bootp.push(255);
                bootp.resize(bootp.len().max(300), 0);
            }
            let mut frame = udp(to, (port, 67), &bootp);
            frame[26..30].copy_from_slice(&from);
            frame
        },
    )
}

/// A message in a frame that may be odd: IP options, tags, wrong octets, too few (the kernel runs no program on less than
/// an IPv4 header here), too many.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![3 => Just(0u8), 1 => 1u8..=10];
    let tags = prop_oneof![6 => Just(0usize), 1 => 1usize..6];
    let places = prop_oneof![1 => 14usize..42, 3 => 42usize..400];
    let changes = prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec((places, any::<u8>()), 1..4),
    ];
    let len = prop_oneof![4 => Just(None), 1 => (34usize..1514).prop_map(Some)];
    (any_message(), words, tags, changes, len).prop_map(|(mut frame, words, tags, changes, len)| {
        frame[14] += words;
        frame.splice(34..34, vec![1; usize::from(words) * 4]);
        frame.splice(12..12, [0x81, 0, 0, 0].repeat(tags));
        for (at, octet) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = octet;
            }
        }
        frame.resize(len.unwrap_or(frame.len()).min(2000), 0x5a);
        frame
    })
}

/// What the code does on the host: the frame that leaves the program, or why none does.
fn judged(binding: &Binding, frame: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
    let passed = || {
        if packet::too_big(frame, u32::try_from(frame.len()).unwrap(), 0, 1500) {
            Err(Reason::TooBig)
        } else {
            Ok(Some(frame.to_vec()))
        }
    };
    let udp = match to_network::classify(frame) {
        to_network::Class::Dhcp(udp) => udp,
        to_network::Class::Hidden => return Err(Reason::DhcpMalformed),
        to_network::Class::Plain | to_network::Class::Arp => return passed(),
    };
    let mut exchange = Exchange::default();
    exchange.request.read_headers(frame, udp)?;
    if !addressed(&exchange.request, &binding.server)? {
        return passed();
    }
    exchange.request.read_message(frame, udp)?;
    let Decision::Reply(reply, to) = decide(&exchange.request, &binding.server)? else { return Ok(None) };
    exchange.answer(reply, to);
    let Replies { templates, options, .. } = &binding.replies;
    let bytes = templates[reply as usize].render(options, &mut exchange)?;
    Ok(Some(bytes[..exchange.progress.frame_len()].to_vec()))
}

#[test]
fn every_frame_is_judged_as_the_host_judges_it() {
    lab::require_root!();
    let binding = RefCell::new(Binding::new());
    let (replies, wanted) = (RefCell::new(0), RefCell::new(Counters::ZERO));
    let config = Config { cases: FRAMES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&any_frame(), |frame| {
        let mut binding = binding.borrow_mut();
        let judged = judged(&binding, &frame);
        let (verdict, out) = binding.guest_sends(&frame);
        match &judged {
            Ok(Some(bytes)) => {
                prop_assert_eq!(verdict, TC_ACT_REDIRECT);
                prop_assert_eq!(&out, bytes);
                *replies.borrow_mut() += u32::from(*bytes != frame);
            }
            Ok(None) => prop_assert_eq!(verdict, TC_ACT_SHOT),
            Err(reason) => {
                prop_assert_eq!(verdict, TC_ACT_SHOT, "{}", reason.name());
                wanted.borrow_mut().dropped[*reason as usize] += 1;
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let replies = replies.into_inner();
    assert!(replies > FRAMES / 10, "only {replies} of {FRAMES} frames were answered");
    assert_eq!(binding.borrow_mut().counters().dropped, wanted.into_inner().dropped);
}
