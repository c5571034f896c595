//! The choice of options: any list of them, any client. What is sent is whole, within its limit, and in the right order.

use binding_common::{
    MacAddr,
    dhcp::{
        Destination, Exchange, Options, Template,
        decide::Reply,
        options::{MIN_FRAME, When},
    },
};

use crate::oracle;

/// A reader of the bytes that the fuzzer has chosen; behind their end are zeros.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn octet(&mut self) -> u8 {
        self.octets(1).first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    fn octets(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

pub(super) fn run(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mandatory = [&[53, 1, 2][..], &option(9, usize::from(choices.octet()))].concat();
    let mut message = [0; 240].to_vec();
    message.extend(&mandatory);
    let template = Template::new(MacAddr([2; 6]), [10, 0, 0, 1], &message).unwrap();
    let mut options = Options::EMPTY;
    options.limit = 342 + u32::from(choices.word()) % 1159;
    let mut exchange = client(&mut choices);
    let list = fill(&mut choices, &mut options);
    exchange.answer(Reply::Offer, Destination { mac: MacAddr([4; 6]), address: [10, 0, 0, 9], port: 68 });
    // More mandatory options than the limit has room for are refused when attaching.
    if template.len + 1 > 14 + options.limit {
        return;
    }
    let frame = template.render(&options, &mut exchange).unwrap();
    let frame = &frame[..exchange.progress.frame_len()];
    let request = &exchange.request;
    let limit = u32::from(request.max_size.max(576)).min(options.limit);
    assert!(frame.len() >= MIN_FRAME && frame.len() <= MIN_FRAME.max(14 + usize::try_from(limit).unwrap()));
    assert!(oracle::ipv4_sum_is_right(&frame[14..34]));
    assert!(oracle::udp_sum_is_right([10, 0, 0, 1], [10, 0, 0, 9], &frame[34..]));

    let asked = &request.parameters[..usize::from(request.parameters_len.get()).min(128)];
    let echo = &request.client_id[..usize::from(request.client_id_len)];
    let end = 14 + usize::try_from(limit).unwrap();
    let (expected, trimmed) = chosen(&list, asked, echo, &mandatory, end - 42 - 240);
    assert_eq!(&frame[282..282 + expected.len()], expected);
    assert!(frame[282 + expected.len()..].iter().all(|octet| *octet == 0));
    assert_eq!(exchange.progress.trimmed(), trimmed);
}

/// A client's wishes.
fn client(choices: &mut Choices<'_>) -> Exchange {
    let mut exchange = Exchange::default();
    let request = &mut exchange.request;
    request.max_size = choices.word();
    let id = usize::from(choices.octet());
    if id > 0 {
        let id = option(61, id - 1);
        request.client_id[..id.len()].copy_from_slice(&id);
        request.client_id_len = u16::try_from(id.len()).unwrap();
    }
    let len = choices.octet();
    let list = choices.octets(len.into());
    request.parameters[..list.len()].copy_from_slice(list);
    request.parameters_len.set(u8::try_from(list.len()).unwrap());
    exchange
}

/// An option as it is sent.
fn option(code: u8, len: usize) -> Vec<u8> {
    let len = len.min(255);
    let value = (0..len).map(|at| u8::try_from(at % 251).unwrap_or(0) ^ code);
    [code, u8::try_from(len).unwrap()].into_iter().chain(value).collect()
}

/// Adds options until the bytes are used up, and gives those that were taken.
fn fill(choices: &mut Choices<'_>, options: &mut Options) -> Vec<(u8, When, Vec<u8>)> {
    let mut list: Vec<(u8, When, Vec<u8>)> = Vec::new();
    while !choices.0.is_empty() {
        let (code, kind) = (choices.octet(), choices.octet());
        let when = [When::Always, When::Requested, When::RequestedInPlaceOf121][usize::from(kind % 3)];
        let part = option(code, choices.octet().into());
        let octets = part.repeat(1 + usize::from(kind >> 6));
        // User space lays out each code once.
        if list.iter().all(|(found, ..)| *found != code) && options.add(code, when, &octets) {
            list.push((code, when, octets));
        }
    }
    list
}

/// What is sent behind the fixed fields, made by shifting lists about.
fn chosen(list: &[(u8, When, Vec<u8>)], asked: &[u8], echo: &[u8], mandatory: &[u8], room: usize) -> (Vec<u8>, bool) {
    let mut sent = mandatory.to_vec();
    let has_echo = sent.len() + echo.len() < room;
    let room = if has_echo { room - 1 - echo.len() } else { room - 1 };
    let mut trimmed = !has_echo;
    let mut left: Vec<_> = list.iter().collect();
    let by_wish = asked.iter().map(|code| (Some(*code), true));
    let by_rank: Vec<_> = list.iter().map(|(code, ..)| (Some(*code), false)).collect();
    for (code, wished) in by_wish.chain(by_rank) {
        let Some(place) = left.iter().position(|(found, ..)| Some(*found) == code) else { continue };
        let (_, when, octets) = left[place];
        let wanted = match when {
            When::Always => true,
            When::Requested => wished,
            When::RequestedInPlaceOf121 => wished && !asked.contains(&121),
        };
        if !wanted {
            continue;
        }
        left.remove(place);
        if sent.len() + octets.len() > room {
            trimmed = true;
        } else {
            sent.extend(octets);
        }
    }
    if has_echo {
        sent.extend(echo);
    }
    sent.push(255);
    (sent, trimmed)
}
