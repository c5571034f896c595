//! What lies behind options, extension headers and fragments is found, or the frame is dropped.

use super::*;

#[test]
fn ip_options_hide_nothing() {
    for words in 1..=10 {
        let mut frame = ipv4(LEASE, 17, 0, &[]);
        frame[14] += words;
        frame.extend(vec![1; usize::from(words) * 4]);
        frame.extend(udp(68));
        breaks(&frame, Rule::RogueDhcp);
    }
    for version_ihl in [0x00, 0x44, 0x4f, 0x65, 0xf5] {
        let mut frame = ipv4(LEASE, 17, 0, &udp(53));
        frame[14] = version_ihl;
        breaks(&frame, Rule::HiddenHeader);
    }
    breaks(&ipv4(LEASE, 17, 0, &[0; 3]), Rule::HiddenHeader);
    breaks(&ipv4(LEASE, 1, 0x2000, &[]), Rule::HiddenHeader);
    breaks(&ipv4(LEASE, 17, 0, &[])[..30], Rule::HiddenHeader);
}

#[test]
fn extension_headers_hide_nothing() {
    let advertisement = icmpv6(134, &[0; 12], &[]);
    for kind in [0, 43, 60, 135, 139, 140] {
        for length in [0, 1, 9] {
            let mut header = vec![0; 8 + usize::from(length) * 8];
            header[..2].copy_from_slice(&[58, length]);
            breaks(&ipv6(LOCAL, kind, &[&header[..], &advertisement].concat()), Rule::RogueRa);
        }
    }
    let authentication = [58, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    breaks(&ipv6(LOCAL, 51, &[&authentication[..], &advertisement].concat()), Rule::RogueRa);
    for last in [1, 0] {
        breaks(&ipv6(LOCAL, 44, &[&[58, 0, 0, last, 0, 0, 0, 0][..], &advertisement].concat()), Rule::RogueRa);
    }
    // Eight are followed; with more, whatever is behind them.
    for count in 1..12 {
        let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        let last = chain.len() - 8;
        chain[last] = 17;
        let server = ipv6(LOCAL, 60, &[&chain[..], &udp(546)].concat());
        let client = ipv6(LOCAL, 60, &[&chain[..], &udp(547)].concat());
        if count < 8 {
            breaks(&server, Rule::RogueDhcp);
            assert_eq!(judge(&client), Ok(()), "{count}");
        } else {
            breaks(&client, Rule::HiddenHeader);
        }
    }
}

#[test]
fn fragments_hide_nothing() {
    let fragment = |next, field: u16, rest: &[u8]| {
        let field = field.to_be_bytes();
        ipv6(LOCAL, 44, &[&[next, 0, field[0], field[1], 0, 0, 0, 1][..], rest].concat())
    };
    breaks(&fragment(17, 1, &udp(546)), Rule::RogueDhcp);
    breaks(&fragment(17, 1, &[0, 9]), Rule::HiddenHeader);
    breaks(&fragment(60, 1, &[17, 1, 1, 12, 0, 0, 0, 0]), Rule::HiddenHeader);
    breaks(&fragment(58, 1, &claim(136, OWN6, 2, GUEST)), Rule::HiddenHeader);
    breaks(&fragment(58, 0, &claim(136, OWN6, 2, GUEST)), Rule::HiddenHeader);
    assert_eq!(judge(&fragment(17, 1, &udp(5001))), Ok(()));
    assert_eq!(judge(&fragment(17, 8 << 3, &[0; 8])), Ok(()), "it has no header");
    assert_eq!(judge(&fragment(58, 1, &icmpv6(128, &[0; 4], &[]))), Ok(()));
}

#[test]
fn what_a_fragment_could_replace_is_no_header() {
    let fragment = |next, field, rest: &[u8]| ipv6(LOCAL, 44, &[&[next, 0, 0, field, 0, 0, 0, 1][..], rest].concat());
    let server = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(5001)].concat();
    for kind in [0, 43, 60, 135, 139, 140, 44] {
        for more in [0, 1] {
            breaks(&fragment(kind, more, &server), Rule::HiddenHeader);
        }
    }
    // The frame goes on behind the packet.
    breaks(&[&fragment(60, 1, &[])[..], &server].concat(), Rule::HiddenHeader);
    breaks(&[&fragment(60, 1, &server[..8])[..], &udp(5001)].concat(), Rule::HiddenHeader);
    let authentication = [17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(judge(&fragment(51, 1, &[&authentication[..], &udp(5001)].concat())), Ok(()));
    breaks(&fragment(51, 1, &[&authentication[..], &udp(546)].concat()), Rule::RogueDhcp);
    // In front of it they move nothing.
    let in_front = [&[44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 1][..], &udp(5001)].concat();
    assert_eq!(judge(&ipv6(LOCAL, 60, &in_front)), Ok(()));
}

#[test]
fn a_frame_that_is_cut_short_anywhere_is_judged_without_a_panic() {
    let chain =
        [&[60, 0, 1, 4, 0, 0, 0, 0].repeat(3)[..], &[58, 0, 1, 4, 0, 0, 0, 0], &claim(136, OWN6, 2, GUEST)].concat();
    for frame in [ipv6(LOCAL, 60, &chain), arp(1, GUEST, LEASE), ipv4(LEASE, 17, 0, &udp(53))] {
        for len in 0..frame.len() {
            let _ = judge(&frame[..len]);
            let _ = to_guest(&frame[..len], true, &policy());
        }
    }
}
