//! Lays out the DHCP replies that the programs stamp.
//!
//! Single options are encoded by `dhcproto`; their order, the padding and the size are ours. `dhcproto` would sort them
//! by code, and there are clients that look for 53 in the first place. A message is never longer than the 576 octets
//! that every client must take (RFC 2131, 2), so the least important options give way.

use std::net::Ipv4Addr;

use binding_common::dhcp::{SERVER_MAC, Template, decide::Reply};
use bytes::{BufMut as _, BytesMut};
use dhcproto::{
    Encodable as _, Encoder, Name,
    v4::{DhcpOption, MessageType},
};

use crate::{
    error::{Context as _, Error, Result},
    lease::{INFINITE_SECONDS, Lease},
};

/// Octets of an IPv4 packet that every client takes, less the IPv4 and UDP headers.
const MAX_MESSAGE: usize = 576 - 28;
/// Octets that a message has at least: BOOTP's `vend` of 64 octets (RFC 1542, 2.1).
const MIN_MESSAGE: usize = 300;
/// Octets of the fields before the options, without the cookie.
const FIXED: usize = 236;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const END: u8 = 255;

/// The replies of a binding, in the order of [`Reply`], and the options that found no room in them.
#[derive(Clone)]
pub struct Replies {
    /// For the map of the programs.
    pub templates: [Template; Reply::COUNT as usize],
    /// Codes of the options that were left out.
    pub left_out: Vec<u8>,
}

/// An option and whether a lease without it is worth giving.
struct Entry {
    option: DhcpOption,
    mandatory: bool,
}

impl Replies {
    /// Lays out all replies for a lease.
    pub fn new(lease: &Lease) -> Result<Self> {
        let mut left_out = Vec::new();
        let facts = facts_of(lease)?;
        let mut lay_out = |kind, yiaddr, options: Vec<Entry>| {
            message(yiaddr, head(lease, kind).chain(options)).and_then(|(message, dropped)| {
                left_out.extend(dropped);
                Template::new(SERVER_MAC, lease.server_id.octets(), &message)
                    .ok_or_else(|| Error::new("lay out a DHCP reply", "the message is longer than a frame"))
            })
        };
        let address = lease.address.addr();
        let templates = [
            lay_out(MessageType::Offer, address, timed(lease, &facts))?,
            lay_out(MessageType::Ack, address, timed(lease, &facts))?,
            lay_out(MessageType::Nak, Ipv4Addr::UNSPECIFIED, vec![nak_reason()])?,
            lay_out(MessageType::Ack, Ipv4Addr::UNSPECIFIED, facts.iter().map(Entry::again).collect())?,
        ];
        left_out.sort_unstable();
        left_out.dedup();
        Ok(Self { templates, left_out })
    }
}

impl Entry {
    fn must(option: DhcpOption) -> Self {
        Self { option, mandatory: true }
    }

    fn may(option: DhcpOption) -> Self {
        Self { option, mandatory: false }
    }

    fn again(&self) -> Self {
        Self { option: self.option.clone(), mandatory: self.mandatory }
    }
}

/// What every message begins with.
fn head(lease: &Lease, kind: MessageType) -> impl Iterator<Item = Entry> + use<> {
    let server = lease.server_id;
    [DhcpOption::MessageType(kind), DhcpOption::ServerIdentifier(server)].into_iter().map(Entry::must)
}

/// The lease time and the times after which the client renews and rebinds (RFC 2131, 4.4.5), then the facts.
fn timed(lease: &Lease, facts: &[Entry]) -> Vec<Entry> {
    let seconds = lease.seconds;
    let mut entries = vec![Entry::must(DhcpOption::AddressLeaseTime(seconds))];
    if seconds != INFINITE_SECONDS {
        entries.push(Entry::may(DhcpOption::Renewal(seconds / 2)));
        entries.push(Entry::may(DhcpOption::Rebinding(seconds - seconds / 8)));
    }
    entries.extend(facts.iter().map(Entry::again));
    entries
}

/// What the guest is told of its network, the most important first: when room runs out, the last ones go.
fn facts_of(lease: &Lease) -> Result<Vec<Entry>> {
    let mut entries = vec![Entry::must(DhcpOption::SubnetMask(lease.address.netmask()))];
    if let Some(gateway) = lease.gateway {
        // Also beside option 121: for the clients that do not know it. The others ignore this one (RFC 3442).
        entries.push(Entry::must(DhcpOption::Router(vec![gateway])));
    }
    if lease.needs_classless_routes() {
        let routes = lease.routes.iter().map(|route| (route.dst, route.via.unwrap_or(Ipv4Addr::UNSPECIFIED)));
        entries.push(Entry::must(DhcpOption::ClasslessStaticRoute(routes.collect())));
    }
    if !lease.dns.is_empty() {
        entries.push(Entry::must(DhcpOption::DomainNameServer(lease.dns.clone())));
    }
    if let Ok(mtu) = u16::try_from(lease.mtu) {
        entries.push(Entry::may(DhcpOption::InterfaceMtu(mtu)));
    }
    // The longest domain is the most specific one, `NAMESPACE.svc.cluster.local` in a cluster.
    if let Some(domain) = lease.search.iter().max_by_key(|domain| domain.len()) {
        entries.push(Entry::may(DhcpOption::DomainName(domain.clone())));
    }
    if let Some(hostname) = &lease.hostname {
        entries.push(Entry::may(DhcpOption::Hostname(hostname.clone())));
    }
    if !lease.search.is_empty() {
        entries.push(Entry::may(DhcpOption::DomainSearch(domains(&lease.search)?)));
    }
    Ok(entries)
}

fn domains(search: &[String]) -> Result<Vec<Name>> {
    search
        .iter()
        .map(|domain| Name::from_ascii(domain).context(|| format!("use the search domain {domain:?}")))
        .collect()
}

fn nak_reason() -> Entry {
    Entry::may(DhcpOption::Message("this address is not yours here".to_owned()))
}

/// A whole message, and the codes of the options that were left out of it.
fn message(yiaddr: Ipv4Addr, entries: impl Iterator<Item = Entry>) -> Result<(BytesMut, Vec<u8>)> {
    let mut message = BytesMut::zeroed(FIXED);
    // BOOTREPLY, Ethernet, six octets of hardware address.
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[16..20].copy_from_slice(&yiaddr.octets());
    message.put_slice(&MAGIC_COOKIE);
    let mut left_out = Vec::new();
    for Entry { option, mandatory } in entries {
        let mut encoded = Vec::new();
        option.encode(&mut Encoder::new(&mut encoded)).context(|| "encode a DHCP option")?;
        let code = encoded.first().copied().unwrap_or_default();
        if message.len() + encoded.len() < MAX_MESSAGE {
            message.put_slice(&encoded);
        } else if mandatory {
            return Err(Error::new(
                "lay out the DHCP replies",
                format!("option {code} of {} octets does not fit into the 576 that every client takes", encoded.len()),
            )
            .with_hint("give the guest fewer DNS servers or routes"));
        } else {
            left_out.push(code);
        }
    }
    message.put_u8(END);
    let padding = MIN_MESSAGE.saturating_sub(message.len());
    message.put_bytes(0, padding);
    Ok((message, left_out))
}

#[cfg(test)]
mod tests {
    use dhcproto::{
        Decodable as _, Decoder,
        v4::{Message, OptionCode},
    };

    use super::*;
    use crate::lease::tests::lease;

    /// The message of a reply, as somebody else's decoder reads it.
    fn decode(replies: &Replies, reply: Reply) -> (Message, Vec<u8>) {
        let template = &replies.templates[reply as usize];
        let bytes = &template.frame[42..usize::try_from(template.len).unwrap()];
        (Message::decode(&mut Decoder::new(bytes)).unwrap(), bytes.to_vec())
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
    fn type_server_and_time_come_first() {
        let (_, bytes) = decode(&Replies::new(&full()).unwrap(), Reply::Ack);
        assert_eq!(bytes[240..243], [53, 1, 5]);
        assert_eq!(bytes[243..245], [54, 4]);
        assert_eq!(bytes[249..251], [51, 4]);
    }

    #[test]
    fn a_nak_gives_nothing_and_says_why() {
        let (nak, bytes) = decode(&Replies::new(&full()).unwrap(), Reply::Nak);
        assert_eq!(nak.yiaddr(), Ipv4Addr::UNSPECIFIED);
        let codes: Vec<u8> = nak.opts().iter().map(|(code, _)| (*code).into()).filter(|code| *code != 255).collect();
        assert_eq!(codes, [53, 54, 56]);
        assert_eq!(bytes.len(), MIN_MESSAGE);
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
    fn when_room_runs_out_the_least_important_options_go() {
        let search = (0..40).map(|n| format!("a-rather-long-name-{n}.example.org")).collect();
        let replies = Replies::new(&Lease { search, ..full() }).unwrap();
        assert_eq!(replies.left_out, [119]);
        let (offer, bytes) = decode(&replies, Reply::Offer);
        assert!(bytes.len() <= MAX_MESSAGE);
        assert!(offer.opts().get(OptionCode::ClasslessStaticRoute).is_some());
    }

    #[test]
    fn a_lease_whose_mandatory_options_do_not_fit_is_refused() {
        let routes: Vec<_> = (0..60).map(|n| format!("10.{n}.0.0/16")).collect();
        let routes: Vec<_> = routes.iter().map(|dst| (dst.as_str(), "10.244.1.1")).collect();
        let error = Replies::new(&lease("10.244.1.5/24", &routes)).err().unwrap();
        assert!(error.to_string().contains("option 121"), "{error}");
        assert!(error.hint().is_some());
    }
}
