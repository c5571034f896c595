//! The programs on the host: the decisions of `binding-common` in the order in which `binding-ebpf/src/main.rs` takes them,
//! carried out on a vector of octets.
//!
//! What differs between this and the kernel is a compiler for another machine, a verifier, the helpers, and what the maps
//! keep from one frame to the next: that is what the comparison is for.

use binding_common::{
    Counters, DhcpMessage, MacAddr, Reason,
    arp::{self, SENDER_MAC, TARGET_MAC},
    checksum,
    dhcp::decide,
    fixup::{self, ICMPV6_CHECKSUM, SOURCE, ToNetwork},
    guard, packet, to_guest, to_network,
};
use binding_user::{datapath::Constants, guest_mac::GuestMac};

use crate::{
    bindings::Binding,
    dhcp::{Outcome, respond},
    guard::Known,
};

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `tapwire_tap_in`.
    TapIn,
    /// `tapwire_nic_in`.
    NicIn,
    /// `tapwire_nic_out`.
    NicOut,
    /// `tapwire_host_out`.
    HostOut,
    /// `tapwire_portal_in`.
    PortalIn,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::TapIn, Self::NicIn, Self::NicOut, Self::HostOut, Self::PortalIn];

    /// Its name in the object.
    pub fn name(self) -> &'static str {
        match self {
            Self::TapIn => "tapwire_tap_in",
            Self::NicIn => "tapwire_nic_in",
            Self::NicOut => "tapwire_nic_out",
            Self::HostOut => "tapwire_host_out",
            Self::PortalIn => "tapwire_portal_in",
        }
    }
}

/// What the kernel knows of a frame beside its octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Octets of payload in a segment; 0 is no GSO.
    pub gso_size: u16,
    /// It was received on the tap.
    pub from_tap: bool,
    /// The kernel holds it to be for this host.
    pub for_this_host: bool,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves by another device, with these octets.
    Redirect(Vec<u8>),
    /// It goes on as if there were no program.
    Pass,
    /// It ends here.
    Shot,
}

/// A configuration of the programs, and what they remember.
pub struct Model {
    /// What is fixed.
    pub constants: Constants,
    /// The lease; none is a pure wire.
    pub binding: Option<&'static Binding>,
    /// The MAC that was learnt; zero is none.
    pub learned: MacAddr,
    /// What was counted.
    pub counters: Counters,
}

impl Model {
    /// Programs that have seen nothing.
    pub fn new(constants: Constants, binding: Option<&'static Binding>) -> Self {
        Self { constants, binding, learned: MacAddr::ZERO, counters: Counters::ZERO }
    }

    /// Gives a frame to a program.
    pub fn run(&mut self, program: Program, beside: Beside, frame: &[u8]) -> Verdict {
        let result = match program {
            Program::TapIn => self.guest_sends(beside, frame),
            Program::NicIn => self.network_sends(beside, frame, self.constants.from_peer && beside.for_this_host),
            // Whatever the kernel holds the frame to be: that says nothing of what leaves. The portal is there, and carries
            // whatever length.
            Program::HostOut => self.network_sends(beside, frame, false),
            Program::PortalIn => Err(Reason::Portal),
            Program::NicOut if beside.from_tap => return Verdict::Pass,
            Program::NicOut => Err(Reason::PodStack),
        };
        match result {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.counters.dropped[reason as usize] += 1;
                Verdict::Shot
            }
        }
    }

    fn guest_mac(&self) -> MacAddr {
        match self.constants.guest_mac {
            GuestMac::Learn => self.learned,
            other => other.expected(self.constants.network_mac),
        }
    }

    fn known(&self) -> Known {
        Known {
            constants: self.constants.guard,
            guest: self.guest_mac(),
            network: self.constants.network_mac,
            lease: self.binding.map_or([0; 4], |binding| binding.server.lease),
        }
    }

    fn guest_may_differ(&self) -> bool {
        match self.constants.guest_mac {
            GuestMac::Learn => true,
            other => other.expected(self.constants.network_mac) != self.constants.network_mac,
        }
    }

    fn guest_sends(&mut self, beside: Beside, frame: &[u8]) -> Result<Verdict, Reason> {
        let source = MacAddr(frame.get(SOURCE..).and_then(|rest| rest.first_chunk().copied()).unwrap_or_default());
        if self.constants.guest_mac == GuestMac::Learn && self.learned == MacAddr::ZERO && !source.is_group() {
            self.learned = source;
        }
        guard::source(frame, &self.known())?;
        if let Some(binding) = self.binding {
            let answer = match to_network::classify(frame) {
                to_network::Class::Plain => None,
                to_network::Class::Arp => self.answer_arp(frame)?,
                to_network::Class::Dhcp(udp) => self.answer_dhcp(binding, frame, udp)?,
                to_network::Class::Hidden => return Err(Reason::DhcpMalformed),
            };
            if let Some(verdict) = answer {
                return Ok(verdict);
            }
        }
        match guard::to_network(frame, None, &self.known()) {
            Err(Reason::SpoofedArp) => return self.lead_to_server(frame),
            judged => judged?,
        }
        if too_big(frame, beside, self.constants.mtu) {
            return Err(Reason::TooBig);
        }
        let out = self.fix_to_network(frame)?;
        self.counters.to_network.frames += 1;
        self.counters.to_network.bytes += u64::try_from(out.len()).unwrap();
        Ok(Verdict::Redirect(out))
    }

    fn network_sends(&mut self, beside: Beside, frame: &[u8], for_this_host: bool) -> Result<Verdict, Reason> {
        guard::to_guest(frame, true, &self.known())?;
        if let Some(binding) = self.binding {
            to_guest::classify(frame, binding.server.lease)?;
        }
        if too_big(frame, beside, self.constants.tap_mtu) {
            return Err(Reason::TooBig);
        }
        let (guest, network) = (self.guest_mac(), self.constants.network_mac);
        let fix = fixup::to_guest(frame, guest, network, for_this_host);
        let mut out = frame.to_vec();
        if fix.destination {
            put(&mut out, 0, &guest.0)?;
        }
        if self.guest_may_differ() && fix.target {
            put(&mut out, TARGET_MAC, &guest.0)?;
        }
        self.counters.to_guest.frames += 1;
        self.counters.to_guest.bytes += u64::try_from(out.len()).unwrap();
        Ok(Verdict::Redirect(out))
    }

    fn answer_arp(&mut self, frame: &[u8]) -> Result<Option<Verdict>, Reason> {
        let table = &self.constants.arp;
        let (Some(request), Some(binding)) = (arp::Request::read(frame), self.binding) else { return Ok(None) };
        if table.answers() == arp::answers::NONE || !request.asks_for_another(binding.server.lease) {
            return Ok(None);
        }
        let listed = table.entries.iter().rev().find(|(address, _)| address.octets() == request.target);
        let mac = match (listed, table.others) {
            (Some((_, mac)), _) => *mac,
            (None, Some(mac)) if !request.is_probe() => mac,
            (None, _) => return Ok(None),
        };
        self.reply_arp(frame, &request, mac).map(Some)
    }

    fn lead_to_server(&mut self, frame: &[u8]) -> Result<Verdict, Reason> {
        let guest = self.guest_mac();
        let server = self.binding.map(|binding| binding.server.identifier);
        match (arp::Request::read(frame), server) {
            (Some(request), Some(server)) if request.looks_for(server, guest) => {
                self.reply_arp(frame, &request, self.constants.arp.gateway())
            }
            _ => Err(Reason::SpoofedArp),
        }
    }

    fn reply_arp(&mut self, frame: &[u8], request: &arp::Request, mac: MacAddr) -> Result<Verdict, Reason> {
        let mut out = frame.to_vec();
        put(&mut out, 0, &request.reply(mac))?;
        self.counters.arp_replies += 1;
        Ok(Verdict::Redirect(out))
    }

    fn answer_dhcp(&mut self, binding: &Binding, frame: &[u8], udp: packet::Udp) -> Result<Option<Verdict>, Reason> {
        let guest = self.guest_mac();
        let counters = &mut self.counters.dhcp;
        let mut count = |message: DhcpMessage| counters[message as usize] += 1;
        match respond(binding, guest, frame, udp) {
            Ok(Outcome::Passed) => Ok(None),
            Ok(Outcome::Consumed(request)) => {
                decide::received(&request).into_iter().for_each(&mut count);
                Ok(Some(Verdict::Shot))
            }
            Ok(Outcome::Answered { request, reply, frame, trimmed }) => {
                decide::received(&request).into_iter().for_each(&mut count);
                count(reply.counter());
                if trimmed {
                    count(DhcpMessage::Trimmed);
                }
                Ok(Some(Verdict::Redirect(frame)))
            }
            Err(failure) => {
                failure.read.as_deref().and_then(decide::received).into_iter().for_each(&mut count);
                Err(failure.reason)
            }
        }
    }

    fn fix_to_network(&self, frame: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut out = frame.to_vec();
        if !self.guest_may_differ() {
            return Ok(out);
        }
        let source = MacAddr(frame.get(SOURCE..).and_then(|rest| rest.first_chunk().copied()).unwrap_or_default());
        if self.constants.guard.exceptions.has_mac(source) {
            return Ok(out);
        }
        let network = self.constants.network_mac.0;
        let fix = fixup::to_network(frame, self.guest_mac());
        put(&mut out, SOURCE, &network)?;
        match fix {
            ToNetwork::SourceOnly => {}
            ToNetwork::Arp { target } => {
                put(&mut out, SENDER_MAC, &network)?;
                if target {
                    put(&mut out, TARGET_MAC, &network)?;
                }
            }
            ToNetwork::Neighbour { at, mac } => {
                replace_in_checksum(&mut out, mac.0, network);
                put(&mut out, at, &network)?;
            }
        }
        Ok(out)
    }
}

/// `Frame::put_mac` and `Frame::store`.
fn put(frame: &mut [u8], at: usize, octets: &[u8]) -> Result<(), Reason> {
    let place = frame.get_mut(at..at + octets.len()).ok_or(Reason::Unwritable)?;
    place.copy_from_slice(octets);
    Ok(())
}

/// `bpf_l4_csum_replace`: `csum_replace2` three times (RFC 1624, 3).
fn replace_in_checksum(frame: &mut [u8], old: [u8; 6], new: [u8; 6]) {
    for word in [0, 2, 4] {
        let check = u16::from_be_bytes([frame[ICMPV6_CHECKSUM], frame[ICMPV6_CHECKSUM + 1]]);
        let sum = checksum::add(u32::from(!check), &[!old[word], !old[word + 1]]);
        let sum = checksum::add(sum, &[new[word], new[word + 1]]);
        frame[ICMPV6_CHECKSUM..ICMPV6_CHECKSUM + 2].copy_from_slice(&checksum::finish(sum));
    }
}

fn too_big(frame: &[u8], beside: Beside, mtu: u32) -> bool {
    packet::too_big(frame, u32::try_from(frame.len()).unwrap_or(u32::MAX), beside.gso_size.into(), mtu)
}
