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
/// Octets of a client identifier, which goes back to the client: IAID and a DUID of a UUID (RFC 4361, RFC 6355).
const CLIENT_ID: usize = 2 + 1 + 4 + 18;
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
    /// Codes of the options that only some clients get: they find no room behind the others in [`Self::usual`] octets.
    pub left_out: Vec<u8>,
    /// Codes of the options that no client gets: they are too long for any reply.
    pub too_long: Vec<u8>,
    /// Octets of the datagram that every client takes, and the link carries.
    pub usual: u32,
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
        let (options, not_stored) = options(lease)?;
        // The longest one: what fits into it fits into all.
        let room = Room::of(&options, &templates[Reply::RapidCommit as usize]);
        let (mut too_long, left_out) = room.misfits(&options);
        too_long.extend(not_stored);
        Ok(Self { templates, options, left_out, too_long, usual: room.usual })
    }

    /// What the guest may not get of its lease, each as one line for the operator.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.left_out.is_empty() {
            warnings.push(format!(
                "no room for the options {:?} in DHCP replies of {} octets: only clients that take more, or ask for \
                 them first, get them",
                self.left_out, self.usual
            ));
        }
        if !self.too_long.is_empty() {
            warnings.push(format!("no DHCP reply has room for the options {:?}: no client gets them", self.too_long));
        }
        warnings
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

/// What a client gets where there is room, the most important first; and the codes of what cannot even be stored.
fn options(lease: &Lease) -> Result<(Box<Options>, Vec<u8>)> {
    let mut options = Box::new(Options::EMPTY);
    let mut not_stored = Vec::new();
    options.limit = lease.mtu.min(MAX_DATAGRAM);
    for (when, option) in optional(lease)? {
        let encoded = encode(&option)?;
        let code = encoded.first().copied().unwrap_or_default();
        if !options.add(code, when, &encoded) {
            not_stored.push(code);
        }
    }
    Ok((options, not_stored))
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
    // Those on request first: only then is there always place for them in the store.
    let mut options = vec![(When::Requested, unknown(IPXE, IPXE_NO_PXEDHCP.to_vec()))];
    if lease.needs_classless_routes() {
        let value = value_of(&encode(&DhcpOption::ClasslessStaticRoute(classless(lease)))?);
        options.push((When::RequestedInPlaceOf121, unknown(MICROSOFT_CLASSLESS_ROUTES, value)));
    }
    options.extend(always.into_iter().map(|option| (When::Always, option)));
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

/// What there is room for behind a template, in octets of the frame.
struct Room {
    start: usize,
    /// End of the longest reply there can be.
    longest: usize,
    /// Octets of the datagram that every client takes.
    usual: u32,
}

impl Room {
    fn of(options: &Options, template: &Template) -> Self {
        let usual = options.limit.min(MIN_DATAGRAM.into());
        Self { start: template.len as usize, longest: ETHERNET + options.limit as usize - 1, usual }
    }

    /// Codes of the options that fit into no reply, and of those that a client does not get which takes no more than
    /// every client does, asks for nothing in particular, and has the longest identifier that is usual.
    fn misfits(&self, options: &Options) -> (Vec<u8>, Vec<u8>) {
        let end = ETHERNET + self.usual as usize - 1 - CLIENT_ID;
        let mut at = self.start;
        let (mut never, mut left_out) = (Vec::new(), Vec::new());
        let entries = options.entries.iter().take(usize::try_from(options.count).unwrap_or(0));
        for entry in entries.filter(|entry| entry.when == When::Always as u8) {
            let len = usize::from(entry.len);
            if self.start + len > self.longest {
                never.push(entry.code);
            } else if at + len > end {
                left_out.push(entry.code);
            } else {
                at += len;
            }
        }
        (never, left_out)
    }
}

#[cfg(test)]
mod kubevirt;
#[cfg(test)]
mod tests;
