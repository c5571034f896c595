//! Everything that a reply must be: what its row says, and what holds for each.

use dhcproto::{Decodable as _, Decoder, v4};

use crate::{
    answer::{Answer, Kind},
    request::Request,
};

impl Answer {
    /// What is wrong with a frame as the answer to a request; nothing, if it is right.
    pub(crate) fn faults(&self, request: &Request, mtu: usize, frame: &[u8]) -> Vec<String> {
        let mut faults = Faults::default();
        if frame.len() < 42 + 300 {
            faults.0.push(format!("{} octets: BOOTP has 300 and their headers 42", frame.len()));
            return faults.0;
        }
        self.check_headers(&mut faults, frame);
        self.check_fields(&mut faults, request, &frame[42..]);
        let Some(options) = options(&frame[42 + 240..]) else {
            faults.0.push(format!("no END, or something other than zeros behind it: {:02x?}", &frame[282..]));
            return faults.0;
        };
        let written = 240 + options.iter().map(|(_, value)| 2 + value.len()).sum::<usize>() + 1;
        faults.check("octets of the message, padded to 300", frame.len() - 42, written.max(300));
        let taken = request.value(57).and_then(|value| value.try_into().ok());
        let taken = taken.map_or(0, |octets| usize::from(u16::from_be_bytes(octets)));
        let limit = taken.max(576).min(mtu);
        faults.check("within the client's limit", frame.len() - 14 <= limit, true);
        self.check_options(&mut faults, request, &options);
        self.check_order(&mut faults, &options);
        self.check_with_dhcproto(&mut faults, &frame[42..]);
        faults.0
    }

    fn check_headers(&self, faults: &mut Faults, frame: &[u8]) {
        let len = u16::try_from(frame.len()).unwrap();
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (mac, address, port) = self.to;
        faults.check("destination MAC", &frame[..6], mac.as_slice());
        faults.check("source MAC", &frame[6..12], [0x02, 0x74, 0x77, 0, 0, 1].as_slice());
        faults.check("EtherType", word(12), 0x0800);
        faults.check("version and IHL", frame[14], 0x45);
        faults.check("TOS", frame[15], 0);
        faults.check("total length", word(16), len - 14);
        faults.check("don't fragment", word(20), 0x4000);
        faults.check("TTL", frame[22], 64);
        faults.check("source address", &frame[26..30], self.server.as_slice());
        faults.check("destination address", &frame[30..34], address.as_slice());
        faults.check("ports", (word(34), word(36)), (67, port));
        faults.check("UDP length", word(38), len - 34);
    }

    fn check_fields(&self, faults: &mut Faults, request: &Request, message: &[u8]) {
        let flags = (request.flags | self.flags_set).to_be_bytes();
        let mut file = self.file.clone();
        file.resize(128, 0);
        if let Some(len) = self.len {
            faults.check("octets of the message", message.len(), len);
        }
        faults.check("op, htype, hlen, hops", &message[..4], [2, 1, 6, 0].as_slice());
        faults.check("xid", &message[4..8], request.xid.as_slice());
        faults.check("secs", &message[8..10], [0, 0].as_slice());
        faults.check("flags", &message[10..12], flags.as_slice());
        faults.check("ciaddr", &message[12..16], self.ciaddr.as_slice());
        faults.check("yiaddr", &message[16..20], self.yiaddr.as_slice());
        faults.check("siaddr", &message[20..24], self.siaddr.as_slice());
        faults.check("giaddr", &message[24..28], request.giaddr.as_slice());
        faults.check("chaddr", &message[28..44], request.chaddr.as_slice());
        faults.check("sname", &message[44..108], [0; 64].as_slice());
        faults.check("file", &message[108..236], file.as_slice());
        faults.check("cookie", &message[236..240], [99, 130, 83, 99].as_slice());
    }

    fn check_options(&self, faults: &mut Faults, request: &Request, options: &[(u8, Vec<u8>)]) {
        let has = |code: u8| options.iter().any(|(found, _)| *found == code);
        faults.check("option 53", value(options, 53), Some(vec![self.kind.message_type()]));
        faults.check("option 54", value(options, 54), Some(self.server.to_vec()));
        // RFC 6842: as the client sent it, or not at all. One that finds no room says so by `trimmed`.
        let echo = request.value(61).map(<[u8]>::to_vec).filter(|_| !self.without.contains(&61));
        faults.check("option 61", value(options, 61), echo);
        // RFC 2131, table 3, and what only clients and relays send.
        let mut never = vec![50, 55, 57, 60, 77, 81, 82, 93, 94, 97, 108, 116];
        match self.kind {
            Kind::Offer => never.push(80),
            Kind::Ack => {}
            Kind::Facts => never.extend([51, 58, 59, 80]),
            Kind::Nak => never.extend((1..=254).filter(|code| ![53, 54, 56, 61].contains(code))),
        }
        for code in never.into_iter().chain(self.without.iter().copied()) {
            faults.check(&format!("has option {code}"), has(code), false);
        }
        for (code, wanted) in &self.with {
            faults.check(&format!("option {code}"), value(options, *code), Some(wanted.clone()));
        }
        if !self.search.is_empty() {
            faults.check(
                "option 119",
                value(options, 119).and_then(|octets| names(&octets)).as_ref(),
                Some(&self.search),
            );
        }
        // Windows takes a list of addresses whose length is not a multiple of four for a broken message.
        for code in [1, 3, 6, 42, 150] {
            let len = value(options, code).map_or(4, |value| value.len());
            faults.check(&format!("octets of option {code}, beyond whole addresses"), (len % 4, len == 0), (0, false));
        }
    }

    fn check_order(&self, faults: &mut Faults, options: &[(u8, Vec<u8>)]) {
        let codes: Vec<u8> = options.iter().map(|(code, _)| *code).collect();
        let place = |code: u8| codes.iter().position(|found| *found == code);
        let leases = matches!(self.kind, Kind::Offer | Kind::Ack);
        let first: &[u8] = if leases { &[53, 54, 51] } else { &[53, 54] };
        faults.check("the first options", codes.get(..first.len()), Some(first));
        if let (Some(mask), Some(router)) = (place(1), place(3)) {
            faults.check("the mask stands before the router", mask < router, true);
        }
        if let Some(wanted) = &self.codes {
            faults.check("options in their order", &codes, wanted);
        }
        // Parts of one option lie side by side, or a reader that knows nothing of RFC 3396 sees two.
        let mut runs = codes.clone();
        runs.dedup();
        let mut distinct = runs.clone();
        distinct.sort_unstable();
        distinct.dedup();
        faults.check("each option in one place", runs.len(), distinct.len());
    }

    /// Somebody else's decoder reads the same.
    fn check_with_dhcproto(&self, faults: &mut Faults, message: &[u8]) {
        match v4::Message::decode(&mut Decoder::new(message)) {
            Err(error) => faults.0.push(format!("dhcproto does not decode it: {error}")),
            Ok(decoded) => {
                let kind = decoded.opts().msg_type().map(u8::from);
                faults.check("type, to dhcproto", kind, Some(self.kind.message_type()));
                faults.check("yiaddr, to dhcproto", decoded.yiaddr().octets(), self.yiaddr);
                let codes: Vec<u8> = decoded.opts().iter().map(|(code, _)| (*code).into()).collect();
                let lost: Vec<u8> =
                    self.with.iter().map(|(code, _)| *code).filter(|code| !codes.contains(code)).collect();
                // It takes option 150 for one address, and stops reading at a longer one.
                let lost = if codes.contains(&150) || !lost.contains(&150) { lost } else { Vec::new() };
                faults.check("options that dhcproto does not find", lost.as_slice(), [].as_slice());
            }
        }
    }
}

/// The options up to END as (code, value); `None` where there is no END or not only zeros behind it.
fn options(mut rest: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut all = Vec::new();
    loop {
        let (code, tail) = rest.split_first()?;
        if *code == 255 {
            return tail.iter().all(|octet| *octet == 0).then_some(all);
        }
        let (len, tail) = tail.split_first()?;
        let (value, tail) = tail.split_at_checked(usize::from(*len))?;
        all.push((*code, value.to_vec()));
        rest = tail;
    }
}

/// The value of an option, its parts put together (RFC 3396).
fn value(options: &[(u8, Vec<u8>)], code: u8) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> =
        options.iter().filter(|(found, _)| *found == code).map(|(_, value)| value.as_slice()).collect();
    (!parts.is_empty()).then(|| parts.concat())
}

/// The names in a search list (RFC 3397): labels with their lengths, and pointers to names before (RFC 1035, 4.1.4).
fn names(octets: &[u8]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let (mut labels, mut at, mut end) = (Vec::new(), octets.len() - rest.len(), None);
        while *octets.get(at)? != 0 {
            let len = usize::from(octets[at]);
            if len & 0xc0 == 0xc0 {
                end = end.or(Some(at + 2));
                let to = (len & 0x3f) << 8 | usize::from(*octets.get(at + 1)?);
                // Only backwards, or it may never end.
                at = Some(to).filter(|to| *to < at)?;
            } else {
                labels.push(String::from_utf8_lossy(octets.get(at + 1..at + 1 + len)?).into_owned());
                at += 1 + len;
            }
        }
        rest = &octets[end.unwrap_or(at + 1)..];
        all.push(labels.join("."));
    }
    Some(all)
}

/// What was found to be otherwise than it should be.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    #[expect(clippy::needless_pass_by_value, reason = "both are made for this call")]
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, wanted: T) {
        if found != wanted {
            self.0.push(format!("{what}: {found:?}, not {wanted:?}"));
        }
    }
}
