//! Lays out the DHCP replies that the programs stamp.
//!
//! Single options are encoded by `dhcproto`; their order, the padding and the size are ours. `dhcproto` would sort them
//! by code, and there are clients that look for 53 in the first place. What no lease does without is in every reply, and
//! must fit into the 576 octets that every client takes (RFC 2131, 2); of the rest a client gets what it has room for,
//! see [`binding_common::dhcp::options`].

use std::net::Ipv4Addr;

use binding_common::dhcp::{
    Options, SERVER_MAC, Template,
    decide::Reply,
    options::{MIN_DATAGRAM, MIN_FRAME, When},
};
use bytes::{BufMut as _, BytesMut};
use dhcproto::{
    Encodable as _, Encoder, Name,
    v4::{DhcpOption, MessageType, UnknownOption},
};

use crate::{
    error::{Context as _, Error, Result},
    lease::{INFINITE_SECONDS, Lease},
};

/// Octets of the IPv4 and UDP headers.
const HEADERS: usize = 28;
/// Octets of Ethernet's header.
const ETHERNET: usize = 14;
/// Octets of a datagram on a link of the usual MTU: more is never sent.
const MAX_DATAGRAM: u32 = 1500;
/// Octets of the fields before the options, without the cookie.
const FIXED: usize = 236;
/// Offset of `siaddr`, the server that the guest boots from (RFC 2131, 2).
const SIADDR: usize = 20;
/// Offset and octets of `file`, the last of which is always zero.
const FILE: usize = 108;
const FILE_OCTETS: usize = 128;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];

/// iPXE's encapsulated options, and in them "do not wait for the offers of a `ProxyDHCP` server": there is none.
const IPXE: u8 = 175;
const IPXE_NO_PXEDHCP: [u8; 3] = [176, 1, 1];
/// RFC 5859.
const TFTP_SERVERS: u8 = 150;
/// What Windows calls option 121.
const MICROSOFT_CLASSLESS_ROUTES: u8 = 249;

/// The replies of a binding.
#[derive(Clone)]
pub struct Replies {
    /// Their beginnings, in the order of [`Reply`], for the map of the programs.
    pub templates: [Template; Reply::COUNT as usize],
    /// What follows them.
    pub options: Box<Options>,
    /// Codes of the options that find no room in 576 octets.
    pub left_out: Vec<u8>,
}

impl Replies {
    /// Lays out all replies for a lease.
    pub fn new(lease: &Lease) -> Result<Self> {
        check_mtu(lease)?;
        let address = lease.address.addr();
        let timed = |kind| [head(lease, kind), times(lease), facts(lease)].concat();
        let rapid = [timed(MessageType::Ack), vec![DhcpOption::RapidCommit]].concat();
        let inform = [head(lease, MessageType::Ack), facts(lease)].concat();
        let nak = [head(lease, MessageType::Nak), vec![nak_reason()]].concat();
        let templates = [
            template(lease, address, &timed(MessageType::Offer))?,
            template(lease, address, &timed(MessageType::Ack))?,
            template(lease, Ipv4Addr::UNSPECIFIED, &nak)?,
            template(lease, Ipv4Addr::UNSPECIFIED, &inform)?,
            template(lease, address, &rapid)?,
        ];
        let options = options(lease)?;
        let left_out = left_out(&options, &templates[Reply::Offer as usize]);
        Ok(Self { templates, options, left_out })
    }
}

/// The least that a reply can be must fit.
fn check_mtu(lease: &Lease) -> Result<()> {
    let least = MIN_FRAME - ETHERNET;
    if usize::try_from(lease.mtu).is_ok_and(|mtu| mtu >= least) {
        return Ok(());
    }
    let why = format!("they have {least} octets at least, and the guest's MTU is {}", lease.mtu);
    Err(Error::new("lay out the DHCP replies", why)
        .with_hint(format!("choose an MTU of {least} or more; --dhcp off answers no DHCP")))
}

/// What every message begins with.
fn head(lease: &Lease, kind: MessageType) -> Vec<DhcpOption> {
    vec![DhcpOption::MessageType(kind), DhcpOption::ServerIdentifier(lease.server_id)]
}

/// The lease time, and the times after which the client renews and rebinds (RFC 2131, 4.4.5).
fn times(lease: &Lease) -> Vec<DhcpOption> {
    let seconds = lease.seconds;
    let mut options = vec![DhcpOption::AddressLeaseTime(seconds)];
    if seconds != INFINITE_SECONDS {
        options.push(DhcpOption::Renewal(seconds / 2));
        options.push(DhcpOption::Rebinding(seconds - seconds / 8));
    }
    options
}

/// What no lease does without: how to reach the network, and its names. The mask stands before the router (RFC 2132, 3.3).
fn facts(lease: &Lease) -> Vec<DhcpOption> {
    let mut options = vec![DhcpOption::SubnetMask(lease.address.netmask())];
    if let Some(gateway) = lease.gateway {
        // Also beside option 121: for the clients that do not know it. The others ignore this one (RFC 3442).
        options.push(DhcpOption::Router(vec![gateway]));
    }
    if lease.needs_classless_routes() {
        options.push(DhcpOption::ClasslessStaticRoute(classless(lease)));
    }
    if !lease.dns.is_empty() {
        options.push(DhcpOption::DomainNameServer(lease.dns.clone()));
    }
    options
}

fn classless(lease: &Lease) -> Vec<(ipnet::Ipv4Net, Ipv4Addr)> {
    lease.routes.iter().map(|route| (route.dst, route.via.unwrap_or(Ipv4Addr::UNSPECIFIED))).collect()
}

fn nak_reason() -> DhcpOption {
    DhcpOption::Message("this address is not yours here".to_owned())
}

/// What a client gets where there is room, the most important first.
fn options(lease: &Lease) -> Result<Box<Options>> {
    let mut options = Box::new(Options::EMPTY);
    options.limit = lease.mtu.min(MAX_DATAGRAM);
    for (when, option) in optional(lease)? {
        let encoded = encode(&option)?;
        let code = encoded.first().copied().unwrap_or_default();
        if !options.add(code, when, &encoded) {
            return Err(Error::new(
                "lay out the DHCP replies",
                format!("option {code} of {} octets is too much for them", encoded.len()),
            )
            .with_hint("give the guest fewer search domains or private options"));
        }
    }
    Ok(options)
}

fn optional(lease: &Lease) -> Result<Vec<(When, DhcpOption)>> {
    let unknown = |code: u8, octets: Vec<u8>| DhcpOption::Unknown(UnknownOption::new(code.into(), octets));
    let mut always = Vec::new();
    if let Ok(mtu) = u16::try_from(lease.mtu) {
        always.push(DhcpOption::InterfaceMtu(mtu));
    }
    // The longest domain is the most specific one, `NAMESPACE.svc.cluster.local` in a cluster.
    always.extend(lease.search.iter().max_by_key(|domain| domain.len()).cloned().map(DhcpOption::DomainName));
    always.extend(lease.tftp_server_name.clone().map(|name| DhcpOption::TFTPServerName(name.into_bytes())));
    always.extend(lease.boot_file_name.clone().map(|name| DhcpOption::BootfileName(name.into_bytes())));
    if !lease.tftp_servers.is_empty() {
        always.push(unknown(TFTP_SERVERS, lease.tftp_servers.iter().flat_map(Ipv4Addr::octets).collect()));
    }
    always.extend(lease.private_options.iter().map(|private| unknown(private.option, private.value.clone().into())));
    if !lease.ntp_servers.is_empty() {
        always.push(DhcpOption::NtpServers(lease.ntp_servers.clone()));
    }
    always.extend(lease.hostname.clone().map(DhcpOption::Hostname));
    if !lease.search.is_empty() {
        always.push(DhcpOption::DomainSearch(domains(&lease.search)?));
    }
    let mut options: Vec<_> = always.into_iter().map(|option| (When::Always, option)).collect();
    if lease.needs_classless_routes() {
        let value = value_of(&encode(&DhcpOption::ClasslessStaticRoute(classless(lease)))?);
        options.push((When::RequestedInPlaceOf121, unknown(MICROSOFT_CLASSLESS_ROUTES, value)));
    }
    options.push((When::Requested, unknown(IPXE, IPXE_NO_PXEDHCP.to_vec())));
    Ok(options)
}

fn domains(search: &[String]) -> Result<Vec<Name>> {
    search
        .iter()
        .map(|domain| Name::from_ascii(domain).context(|| format!("use the search domain {domain:?}")))
        .collect()
}

/// An option with its code and length; one that is too long for a length comes in parts (RFC 3396).
fn encode(option: &DhcpOption) -> Result<Vec<u8>> {
    let mut encoded = Vec::new();
    option.encode(&mut Encoder::new(&mut encoded)).context(|| "encode a DHCP option")?;
    Ok(encoded)
}

/// The value of an encoded option, its parts put together.
fn value_of(mut encoded: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    while let [_, len, rest @ ..] = encoded {
        let (part, next) = rest.split_at(usize::from(*len).min(rest.len()));
        value.extend_from_slice(part);
        encoded = next;
    }
    value
}

/// A message up to its last mandatory option.
fn template(lease: &Lease, yiaddr: Ipv4Addr, options: &[DhcpOption]) -> Result<Template> {
    let mut message = BytesMut::zeroed(FIXED);
    // BOOTREPLY, Ethernet, six octets of hardware address.
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[16..20].copy_from_slice(&yiaddr.octets());
    if !options.contains(&DhcpOption::MessageType(MessageType::Nak)) {
        put_boot(lease, &mut message);
    }
    message.put_slice(&MAGIC_COOKIE);
    let limit = usize::from(MIN_DATAGRAM).min(usize::try_from(lease.mtu).unwrap_or(usize::MAX));
    for option in options {
        let encoded = encode(option)?;
        message.put_slice(&encoded);
        // One octet is for END.
        if HEADERS + message.len() >= limit {
            let code = encoded.first().copied().unwrap_or_default();
            let why = format!("option {code} of {} octets does not fit into {limit}", encoded.len());
            let hint = "give the guest fewer DNS servers or routes";
            return Err(Error::new("lay out the DHCP replies", why).with_hint(hint));
        }
    }
    Template::new(SERVER_MAC, lease.server_id.octets(), &message)
        .ok_or_else(|| Error::new("lay out the DHCP replies", "a message is longer than a frame"))
}

/// Where the guest boots from, in the fields that firmware reads which knows no options 66 and 67.
fn put_boot(lease: &Lease, message: &mut BytesMut) {
    let server = lease.tftp_server_name.as_deref().and_then(|name| name.parse::<Ipv4Addr>().ok());
    if let Some(server) = server {
        message[SIADDR..SIADDR + 4].copy_from_slice(&server.octets());
    }
    match &lease.boot_file_name {
        Some(name) if name.len() < FILE_OCTETS => message[FILE..FILE + name.len()].copy_from_slice(name.as_bytes()),
        _ => {}
    }
}

/// Codes of the options that a client does not get which takes no more than every client does.
fn left_out(options: &Options, template: &Template) -> Vec<u8> {
    let end = ETHERNET + options.limit.min(MIN_DATAGRAM.into()) as usize - 1;
    let mut at = template.len as usize;
    let mut codes = Vec::new();
    for entry in options.entries.iter().take(usize::try_from(options.count).unwrap_or(0)) {
        if entry.when != When::Always as u8 {
            continue;
        }
        let len = usize::from(entry.len);
        if at + len > end {
            codes.push(entry.code);
        } else {
            at += len;
        }
    }
    codes
}

#[cfg(test)]
mod tests {
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
        let named = Lease {
            tftp_server_name: Some("tftp.example".to_owned()),
            boot_file_name: Some("x".repeat(128)),
            ..booting()
        };
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
        let Some(DhcpOption::DomainSearch(names)) = offer.opts().get(OptionCode::DomainSearch) else {
            panic!("no 119")
        };
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
}
