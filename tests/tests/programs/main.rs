//! The programs in the kernel, one frame at a time, through `BPF_PROG_TEST_RUN`: the verdict, the bytes, the counters.
//!
//! The kernel takes frames of 14 octets to about a page here and sends none of them; longer ones and real devices are in
//! `frames` and `conformance`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod alike;
mod arp;
mod dhcp;
mod fixup;
mod guard;
mod portal;

use aya::{TestRunOptions, maps::PerCpuArray, programs::TestRun as _};
use binding_common::{
    Counters, MacAddr, Reason,
    dhcp::{LINK_LOCAL_SERVER, Server},
    packet,
};
use binding_user::{
    datapath::{Constants, Programs},
    dhcp::Replies,
    guard::GuardConstants,
    guest_mac::GuestMac,
    lease::{Lease, LeaseRoute, PrivateOption},
    neighbours::ArpTable,
};

const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

const GUEST: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
const LEASE: [u8; 4] = [10, 244, 1, 5];
const GATEWAY: [u8; 4] = [10, 244, 1, 1];
const OTHER: [u8; 4] = [10, 9, 9, 9];
const ANY: [u8; 4] = [255; 4];
const TAP: u32 = 77;

fn lease(gateway: Option<[u8; 4]>) -> Lease {
    let gateway = gateway.map(Into::into);
    Lease {
        mac: GUEST,
        address: "10.244.1.5/24".parse().unwrap(),
        gateway,
        routes: gateway
            .map(|via| LeaseRoute { dst: "0.0.0.0/0".parse().unwrap(), via: Some(via) })
            .into_iter()
            .collect(),
        dns: vec!["10.96.0.10".parse().unwrap()],
        search: vec!["default.svc.cluster.local".to_owned(), "cluster.local".to_owned()],
        mtu: 1450,
        hostname: Some("vm".to_owned()),
        neighbours: Vec::new(),
        server_id: gateway.unwrap_or(LINK_LOCAL_SERVER.into()),
        seconds: 3600,
        ntp_servers: vec!["10.96.0.11".parse().unwrap()],
        tftp_server_name: Some("10.244.1.1".to_owned()),
        boot_file_name: Some("boot.ipxe".to_owned()),
        tftp_servers: vec!["10.244.1.1".parse().unwrap()],
        private_options: vec![PrivateOption { option: 240, value: "x".repeat(251) }],
    }
}

/// The programs of a binding, and what they are made of.
struct Binding {
    programs: Programs,
    replies: Replies,
    server: Server,
}

impl Binding {
    fn new() -> Self {
        Self::with_gateway(Some(GATEWAY))
    }

    fn with_gateway(gateway: Option<[u8; 4]>) -> Self {
        Self::of(&lease(gateway), &wire())
    }

    /// With a lease, and what else is fixed.
    fn of(lease: &Lease, wire: &Constants) -> Self {
        let replies = Replies::new(lease).unwrap();
        let server = Server { lease: LEASE, identifier: lease.server_id.octets(), guest: lease.mac };
        let constants = Constants { dhcp: Some(server), arp: ArpTable::of(lease, wire.arp.server), ..wire.clone() };
        Self { programs: Programs::load(&constants, Some(&replies), None).unwrap(), replies, server }
    }

    fn pure_wire() -> Self {
        let mut binding = Self::new();
        binding.programs = Programs::load(&wire(), None, None).unwrap();
        binding
    }

    /// Runs a program on a frame and gives its verdict and the frame as it left it.
    fn run(&mut self, program: &str, frame: &[u8]) -> (u32, Vec<u8>) {
        self.run_with(program, frame, &[])
    }

    /// The same with fields of `struct __sk_buff` set: (offset, value).
    fn run_with(&mut self, program: &str, frame: &[u8], context: &[(usize, u32)]) -> (u32, Vec<u8>) {
        let mut skb = [0; 192];
        for (offset, value) in context {
            skb[*offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        let mut out = vec![0; 4096];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&skb),
            ..TestRunOptions::default()
        };
        let result = self.programs.program(program).unwrap().test_run(options).unwrap();
        out.truncate(usize::try_from(result.data_size_out).unwrap());
        (result.return_value, out)
    }

    fn guest_sends(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.run("tapwire_tap_in", frame)
    }

    fn counters(&mut self) -> Counters {
        let map = self.programs.ebpf().map_mut("COUNTERS").unwrap();
        let map: PerCpuArray<_, Counters> = map.try_into().unwrap();
        let mut sum = Counters::ZERO;
        for counters in map.get(&0, 0).unwrap().iter() {
            sum.add(counters);
        }
        sum
    }

    fn dropped(&mut self, reason: Reason) -> u64 {
        self.counters().dropped[reason as usize]
    }
}

fn wire() -> Constants {
    Constants {
        nic: 1,
        tap: TAP,
        mtu: 1500,
        tap_mtu: 1500,
        peer: false,
        portal: None,
        from_peer: true,
        network_mac: GUEST,
        guest_mac: GuestMac::Nic,
        dhcp: None,
        arp: ArpTable::default(),
        guard: GuardConstants::OFF,
    }
}

/// Offsets in `struct __sk_buff` (include/uapi/linux/bpf.h).
const INGRESS_IFINDEX: usize = 36;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

fn ethernet(kind: [u8; 2], len: usize) -> Vec<u8> {
    let mut frame = vec![0; len.max(14)];
    frame[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 0xaa]);
    frame[6..12].copy_from_slice(&GUEST.0);
    frame[12..14].copy_from_slice(&kind);
    frame
}

/// A UDP datagram over IPv4.
fn udp(to: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(packet::ETH_P_IP, 42);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&u16::try_from(28 + payload.len()).unwrap().to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    frame[30..34].copy_from_slice(&to);
    frame[34..36].copy_from_slice(&ports.0.to_be_bytes());
    frame[36..38].copy_from_slice(&ports.1.to_be_bytes());
    frame[38..40].copy_from_slice(&u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame
}

/// A client's message with options of one octet of code and a value.
fn message(to: [u8; 4], ciaddr: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bootp = vec![0; 240];
    bootp[..3].copy_from_slice(&[1, 1, 6]);
    bootp[4..8].copy_from_slice(&[9, 8, 7, 6]);
    bootp[12..16].copy_from_slice(&ciaddr);
    bootp[28..34].copy_from_slice(&GUEST.0);
    bootp[236..].copy_from_slice(&[99, 130, 83, 99]);
    for (code, value) in options {
        bootp.extend([*code, u8::try_from(value.len()).unwrap()]);
        bootp.extend(*value);
    }
    bootp.push(255);
    bootp.resize(bootp.len().max(300), 0);
    udp(to, (68, 67), &bootp)
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let mut frame = ethernet(packet::ETH_P_ARP, 42);
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&GUEST.0);
    frame[28..32].copy_from_slice(&LEASE);
    frame[38..42].copy_from_slice(&target);
    frame
}

#[test]
fn frames_are_forwarded_as_they_are() {
    lab::require_root!();
    let mut binding = Binding::new();
    let mut arp = arp_request(GATEWAY);
    arp[28..32].copy_from_slice(&OTHER);
    let frames = [
        ethernet([0x88, 0xb5], 14),
        ethernet([0x88, 0xb5], 33),
        ethernet([0x86, 0xdd], 60),
        ethernet([0x88, 0xcc], 100),
        ethernet([0x00, 0x40], 78),
        ethernet([0x08, 0x00], 1514),
        arp,
        udp(OTHER, (5000, 53), &[1; 64]),
    ];
    for frame in &frames {
        for program in ["tapwire_tap_in", "tapwire_nic_in"] {
            let (verdict, out) = binding.run(program, frame);
            assert_eq!((verdict, &out), (TC_ACT_REDIRECT, frame), "{program}, {} octets", frame.len());
        }
    }
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let counters = binding.counters();
    assert_eq!(counters.to_network.frames, 8);
    assert_eq!(counters.to_network.bytes, u64::try_from(bytes).unwrap());
    assert_eq!(counters.to_guest, counters.to_network);
}

#[test]
fn a_frame_over_the_mtu_is_dropped_by_name_unless_it_is_gso() {
    lab::require_root!();
    let mut binding = Binding::new();
    for program in ["tapwire_tap_in", "tapwire_nic_in"] {
        let before = binding.dropped(Reason::TooBig);
        assert_eq!(binding.run(program, &ethernet([0x08, 0x00], 1515)).0, TC_ACT_SHOT);
        let gso = |size| [(GSO_SEGS, 2), (GSO_SIZE, size)];
        let frame = ethernet([0x08, 0x00], 2962);
        assert_eq!(binding.run_with(program, &frame, &gso(1448)).0, TC_ACT_REDIRECT);
        assert_eq!(binding.run_with(program, &frame, &gso(1473)).0, TC_ACT_SHOT);
        assert_eq!(binding.dropped(Reason::TooBig), before + 2);
    }
}

#[test]
fn the_pods_own_stack_is_silent_and_the_guest_is_not() {
    lab::require_root!();
    let mut binding = Binding::new();
    let frame = ethernet([0x08, 0x06], 60);
    assert_eq!(binding.run("tapwire_nic_out", &frame).0, TC_ACT_SHOT);
    assert_eq!(binding.dropped(Reason::PodStack), 1);
    let from_tap = [(INGRESS_IFINDEX, TAP)];
    assert_eq!(binding.run_with("tapwire_nic_out", &frame, &from_tap).0, TC_ACT_UNSPEC);
    assert_eq!(binding.dropped(Reason::PodStack), 1);
}
