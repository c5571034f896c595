//! Firmware boots from the network: iPXE, the ROM of QEMU's NICs, leases from the programs and gets its script by TFTP.
//!
//! The TFTP server is the node's, on the other side of the wire. So one boot shows both: what the guest asks of DHCP stays
//! on this side of it, and everything else passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeMap, time::Duration};

use lab::{BINDING, Firmware, Pod, RawPort, Tapwire, TftpServer, raw::Seen, wait::wait_until, watch};

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

/// A message's fields that firmware boots by, and its options.
struct Message {
    siaddr: Vec<u8>,
    file: Vec<u8>,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    fn of(frame: &[u8]) -> Self {
        let message = &frame[HEADERS..];
        let mut options = BTreeMap::new();
        let mut rest = &message[240..];
        while let [code, len, after @ ..] = rest
            && *code != 255
        {
            let (value, next) = after.split_at(usize::from(*len));
            options.insert(*code, value.to_vec());
            rest = next;
        }
        let file = message[108..236].split(|octet| *octet == 0).next().unwrap_or_default();
        Self { siaddr: message[20..24].to_vec(), file: file.to_vec(), options }
    }

    fn kind(&self) -> u8 {
        self.options[&53][0]
    }
}

/// The DHCP messages among frames of the tap, in their order.
fn messages(seen: &[Seen]) -> Vec<Message> {
    let is_dhcp = |seen: &&Seen| watch::datagram(&seen.data).is_some_and(|udp| [67, 68].contains(&udp.ports.1));
    seen.iter().filter(is_dhcp).map(|seen| Message::of(&seen.data)).collect()
}

/// What a reply must have to be booted from, by clients that read the fields and by those that read the options.
fn assert_names_the_boot_file(reply: &Message) {
    assert_eq!(reply.siaddr, [10, 244, 1, 1]);
    assert_eq!(reply.file, b"boot.ipxe");
    assert_eq!(reply.options[&66], b"10.244.1.1");
    assert_eq!(reply.options[&67], b"boot.ipxe");
    // No ProxyDHCP.
    assert_eq!(reply.options[&175], [176, 1, 1]);
}

fn boots_a_script(model: &str) {
    let pod = Pod::builder(model).node_addresses(&["10.244.1.1/24", "fd00:244:1::1/64"]).build().unwrap();
    let server = TftpServer::start(&pod.node, &pod.host_side, &[("boot.ipxe", SCRIPT), ("second", "more")]).unwrap();
    let tapwire = Tapwire::private().unwrap();
    let options = ["--tftp-server-name", "10.244.1.1", "--boot-file-name", "boot.ipxe", "--hostname", "vm-1"];
    tapwire.attach(&pod, BINDING, &options).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = RawPort::open(&pod.namespace, "tap0").unwrap();

    let mut firmware = Firmware::start(&pod.namespace, model, "tap0", &pod.mac).unwrap();
    firmware.wait_to_print("the script has ended", BOOT).unwrap();

    let screen = firmware.screen();
    for line in [
        "address 10.244.1.5 255.255.255.0 10.244.1.1",
        "names 10.96.0.10 default.svc.cluster.local vm-1",
        "server 10.244.1.1 10.244.1.1",
        "file boot.ipxe boot.ipxe",
    ] {
        assert!(screen.contains(line), "no {line:?} in {screen}");
    }
    for file in ["boot.ipxe", "second"] {
        // The server's last word comes after the guest's.
        wait_until(file, BOOT, || server.has_sent(file, "10.244.1.5")).unwrap();
    }
    let messages = messages(&watch::all(&tap).unwrap());
    // A client that waits for a ProxyDHCP asks a second time before it goes on.
    let kinds: Vec<_> = messages.iter().map(Message::kind).collect();
    assert_eq!(kinds, [1, 2, 3, 5], "DISCOVER, OFFER, REQUEST, ACK");
    assert_names_the_boot_file(&messages[1]);
    assert_names_the_boot_file(&messages[3]);
    let passed = watch::all(&host).unwrap();
    assert!(!passed.iter().any(|seen| watch::is_of_a_client(&seen.data)), "DHCP of the guest on the network");
    assert!(passed.iter().any(|seen| watch::datagram(&seen.data).is_some_and(|udp| udp.ports.1 == 69)));
    assert!(tapwire.processes().unwrap().is_empty());
}

#[test]
fn a_virtio_nic_boots_a_script_from_the_network() {
    lab::require_root!();
    boots_a_script("virtio-net-pci");
}

/// It leaves every checksum to the machine.
#[test]
fn an_e1000_boots_a_script_from_the_network() {
    lab::require_root!();
    boots_a_script("e1000");
}
