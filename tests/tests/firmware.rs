//! Firmware boots from the network: it leases from the programs, and gets what it boots by TFTP.
//!
//! The TFTP server is the node's, on the other side of the wire. So one boot shows both: what the guest asks of DHCP stays
//! on this side of it, and everything else passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeMap, time::Duration};

use lab::{
    BINDING, Firmware, FirmwareKind, Pod, RawPort, Tapwire, TftpServer, Uefi,
    raw::Seen,
    wait::wait_until,
    watch::{self, Datagram},
};

const BOOT: Duration = Duration::from_mins(1);
/// It prints the lease as iPXE has it, in lines that fit on its screen.
const SCRIPT: &str = "#!ipxe
echo address ${net0/ip} ${net0/netmask} ${net0/gateway}
echo names ${net0/dns} ${net0/domain} ${net0/hostname}
echo server ${next-server} ${net0/66:string}
echo file ${filename} ${net0/67:string}
imgfetch tftp://${next-server}/second && echo the script has ended
";
/// Octets before the message: the headers of Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
/// A whole exchange, in values of option 53: DISCOVER, OFFER, REQUEST, ACK.
const EXCHANGE: [u8; 4] = [1, 2, 3, 5];

/// A DHCP message: where it went, the fields that firmware boots by, and its options.
struct Message {
    datagram: Datagram,
    siaddr: Vec<u8>,
    file: Vec<u8>,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// Reads it off a frame, if there is one in it.
    fn of(seen: &Seen) -> Option<Self> {
        let datagram = watch::datagram(&seen.data).filter(|udp| [67, 68].contains(&udp.ports.1))?;
        let message = &seen.data[HEADERS..];
        let mut options = BTreeMap::new();
        let mut rest = &message[240..];
        while let [code, len, after @ ..] = rest
            && *code != 255
        {
            let (value, next) = after.split_at(usize::from(*len));
            options.insert(*code, value.to_vec());
            rest = next;
        }
        let file = message[108..236].split(|octet| *octet == 0).next().unwrap_or_default().to_vec();
        Some(Self { datagram, siaddr: message[20..24].to_vec(), file, options })
    }

    fn kind(&self) -> u8 {
        self.options[&53][0]
    }

    /// It must have what clients boot by that read the fields, and what those do that read the options.
    fn assert_names(&self, file: &str) {
        assert_eq!(self.siaddr, [10, 244, 1, 1]);
        assert_eq!(self.file, file.as_bytes());
        assert_eq!(self.options[&66], b"10.244.1.1");
        assert_eq!(self.options[&67], file.as_bytes());
    }
}

/// A machine that boots over tapwire from the node.
struct Boot {
    // QEMU first: it holds the tap.
    firmware: Firmware,
    server: TftpServer,
    host: RawPort,
    tap: RawPort,
    tapwire: Tapwire,
    _pod: Pod,
}

impl Boot {
    /// Starts a machine that is told to boot the first of these files.
    fn start(kind: FirmwareKind, model: &str, files: &[(&str, &[u8])]) -> Self {
        let pod = Pod::builder(model).node_addresses(&["10.244.1.1/24", "fd00:244:1::1/64"]).build().unwrap();
        let server = TftpServer::start(&pod.node, &pod.host_side, files).unwrap();
        let tapwire = Tapwire::private().unwrap();
        let options = ["--tftp-server-name", "10.244.1.1", "--boot-file-name", files[0].0, "--hostname", "vm-1"];
        tapwire.attach(&pod, BINDING, &options).unwrap();
        let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
        let tap = RawPort::open(&pod.namespace, "tap0").unwrap();
        let firmware = Firmware::start(&pod.namespace, kind, model, "tap0", &pod.mac).unwrap();
        Self { firmware, server, host, tap, tapwire, _pod: pod }
    }

    fn wait_for_file(&self, name: &str) {
        // The server's last word comes after the guest's.
        wait_until(name, BOOT, || self.server.has_sent(name, "10.244.1.5")).unwrap();
    }

    /// The DHCP messages at the tap so far; none may be in the network, and no process may be needed for them.
    fn messages(&self) -> Vec<Message> {
        let passed = watch::all(&self.host).unwrap();
        assert!(!passed.iter().any(|seen| watch::is_of_a_client(&seen.data)), "DHCP of the guest on the network");
        let is_tftp = |seen: &Seen| watch::datagram(&seen.data).is_some_and(|udp| udp.ports.1 == 69);
        assert!(passed.iter().any(is_tftp), "the watch was at the wrong link");
        assert!(self.tapwire.processes().unwrap().is_empty());
        watch::all(&self.tap).unwrap().iter().filter_map(Message::of).collect()
    }
}

fn kinds(messages: &[Message]) -> Vec<u8> {
    messages.iter().map(Message::kind).collect()
}

fn boots_a_script(model: &str) {
    let files: [(&str, &[u8]); 2] = [("boot.ipxe", SCRIPT.as_bytes()), ("second", b"more")];
    let mut boot = Boot::start(FirmwareKind::Bios, model, &files);
    boot.firmware.wait_to_print("the script has ended", BOOT).unwrap();
    let screen = boot.firmware.screen();
    for line in [
        "address 10.244.1.5 255.255.255.0 10.244.1.1",
        "names 10.96.0.10 default.svc.cluster.local vm-1",
        "server 10.244.1.1 10.244.1.1",
        "file boot.ipxe boot.ipxe",
    ] {
        assert!(screen.contains(line), "no {line:?} in {screen}");
    }
    boot.wait_for_file("boot.ipxe");
    boot.wait_for_file("second");
    let messages = boot.messages();
    // A client that waits for a ProxyDHCP asks a second time before it goes on.
    assert_eq!(kinds(&messages), EXCHANGE);
    for reply in [&messages[1], &messages[3]] {
        reply.assert_names("boot.ipxe");
        assert_eq!(reply.options[&175], [176, 1, 1], "no ProxyDHCP");
    }
}

#[test]
fn a_virtio_nic_boots_a_script_from_the_network() {
    lab::require_root!();
    boots_a_script("virtio-net-pci");
}

/// This NIC leaves every checksum to the machine.
#[test]
fn an_e1000_boots_a_script_from_the_network() {
    lab::require_root!();
    boots_a_script("e1000");
}

/// Each stage of a boot is another DHCP client, with identifiers of its own, on one MAC.
#[test]
fn uefi_boots_a_program_from_the_network_that_leases_again() {
    lab::require_root!();
    let program = std::fs::read(Uefi::debian().unwrap().program).unwrap();
    let mut boot = Boot::start(FirmwareKind::Uefi, "virtio-net-pci", &[("program.efi", &program)]);
    // The program says so once it has its lease.
    boot.firmware.wait_to_print("Filename: program.efi", BOOT).unwrap();
    boot.wait_for_file("program.efi");
    let messages = boot.messages();
    assert_eq!(kinds(&messages)[..8], [EXCHANGE, EXCHANGE].concat());
    let (firmware, program) = messages.split_at(4);
    assert!(firmware[0].options[&60].starts_with(b"PXEClient:Arch:00007"));
    assert!(!firmware[0].options.contains_key(&77));
    assert_eq!(program[0].options[&77], b"iPXE");
    for (asked, stage) in [(false, firmware), (true, program)] {
        for reply in [&stage[1], &stage[3]] {
            reply.assert_names("program.efi");
            assert_eq!(reply.options.contains_key(&175), asked);
            // The firmware wants a broadcast.
            assert_eq!(reply.datagram.to.is_broadcast(), !asked);
        }
    }
}
