//! The change itself: no answer is of both leases, no frame is lost, and the guest's MAC follows.

use std::{collections::BTreeMap, time::Duration};

use lab::{BINDING, Offloads, Pod, RawPort, TapPort, Tapwire, pod::POD_MAC, stop::Stop};

use crate::{SOON, set};

const OWN: &str = "02:00:00:00:00:77";
const OTHER: &str = "02:00:00:00:00:78";

fn octets(mac: &str) -> Vec<u8> {
    mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

/// An answer's address and its DNS server: the first and the last thing that the programs write.
pub(crate) fn address_and_dns(frame: &[u8]) -> Option<([u8; 4], [u8; 4])> {
    let yiaddr = frame.get(58..62)?.try_into().ok()?;
    let mut options = frame.get(282..)?;
    while let [code, len, rest @ ..] = options {
        let value = rest.get(..usize::from(*len))?;
        if *code == 6 {
            return Some((yiaddr, value.try_into().ok()?));
        }
        options = &rest[usize::from(*len)..];
    }
    None
}

/// DHCPDISCOVER of the guest.
pub(crate) fn discover(xid: u32) -> Vec<u8> {
    lab::discover(octets(POD_MAC).try_into().unwrap(), xid)
}

/// Asks for an offer again and again until told to stop, and counts what the offers said.
fn ask(tap: &TapPort, stop: &Stop) -> BTreeMap<([u8; 4], [u8; 4]), usize> {
    let mut said = BTreeMap::new();
    for xid in 1_u32.. {
        if stop.is_said() {
            break;
        }
        tap.send(&discover(xid)).unwrap();
        let is_offer = |frame: &[u8]| frame.get(46..50) == Some(&xid.to_be_bytes()) && frame[42] == 2;
        let (_, offer) = tap.expect("the offer", SOON, is_offer).unwrap();
        *said.entry(address_and_dns(&offer).unwrap()).or_default() += 1;
    }
    said
}

fn answers_are_of_one_lease(options: &[&str]) {
    let pod = Pod::new("torn").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &[&["--dns", "10.96.0.5"], options].concat()).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let stop = Stop::default();
    let said = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&tap, &stop));
        let ends = stop.guard();
        for change in 0..10 {
            let (address, dns) =
                if change % 2 == 0 { ("10.244.1.6/24", "10.96.0.6") } else { ("10.244.1.5/24", "10.96.0.5") };
            set(&tapwire, &["--address", address, "--dns", dns]);
        }
        drop(ends);
        asking.join().unwrap()
    });
    let leases: Vec<_> = said.keys().copied().collect();
    assert_eq!(leases, [([10, 244, 1, 5], [10, 96, 0, 5]), ([10, 244, 1, 6], [10, 96, 0, 6])], "{said:?}");
}

#[test]
fn every_answer_is_of_the_old_lease_or_of_the_new_one() {
    lab::require_root!();
    answers_are_of_one_lease(&[]);
}

#[test]
fn every_answer_is_of_one_lease_on_clsact() {
    lab::require_root!();
    answers_are_of_one_lease(&["--hook", "clsact"]);
}

/// A numbered frame of the experimental type.
fn numbered(to: &[u8], from: &[u8], number: u32) -> Vec<u8> {
    [to, from, &[0x88, 0xb5], &number.to_be_bytes(), &[0; 42]].concat()
}

/// The same as a datagram over IPv4 of a protocol for experiments (RFC 3692), with these source and destination.
fn datagram(to: &[u8], from: &[u8], number: u32, addresses: [[u8; 4]; 2]) -> Vec<u8> {
    let header = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 253, 0, 0];
    [to, from, &[8, 0], &header, addresses.as_flattened(), &number.to_be_bytes(), &[0; 22]].concat()
}

/// The address of the lease, or the one that it is changed to and fro.
fn either(number: u32) -> [u8; 4] {
    [10, 244, 1, if number.is_multiple_of(2) { 5 } else { 6 }]
}

fn no_frame_is_lost(options: &[&str]) {
    let pod = Pod::new("lossless").unwrap();
    let tapwire = Tapwire::new().unwrap();
    // Both addresses are the guest's, whatever the lease says: what is looked for is what a swap loses.
    let options = [&["--allow-address", "10.244.1.5,10.244.1.6"], options].concat();
    tapwire.attach(&pod, BINDING, &options).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let (guest, node) = (octets(POD_MAC), octets(lab::pod::HOST_MAC));
    let stop = Stop::default();
    let frames = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ends = stop.guard();
            for change in 0..6 {
                set(&tapwire, &["--address", if change % 2 == 0 { "10.244.1.6/24" } else { "10.244.1.5/24" }]);
            }
        });
        let mut number = 0;
        while !stop.is_said() || number < 100 {
            // In step with the receiver, so that what is lost is lost between the two.
            number += 1;
            // A host of the subnet, which the node itself is not: nobody answers.
            let (address, other) = (either(number), [10, 244, 1, 99]);
            let to = datagram(&node, &guest, number, [address, other]);
            let back = datagram(&guest, &node, number, [other, address]);
            tap.send(&to).unwrap();
            host.expect(&format!("frame {number} of the guest"), SOON, |seen| !seen.outgoing && seen.data == to)
                .unwrap();
            host.send(&back).unwrap();
            tap.expect(&format!("frame {number} to the guest"), SOON, |seen| seen == back).unwrap();
        }
        number
    });
    let counted = |way: &str| tapwire.counter(BINDING, &[way, "frames"]).unwrap();
    let frames = u64::from(frames);
    assert!(counted("to_network") >= frames && counted("to_guest") >= frames, "the counters go on");
}

#[test]
fn no_frame_is_lost_while_the_lease_changes() {
    lab::require_root!();
    no_frame_is_lost(&[]);
}

#[test]
fn no_frame_is_lost_while_the_lease_changes_on_clsact() {
    lab::require_root!();
    no_frame_is_lost(&["--hook", "clsact", "--mac-mode", "keep"]);
}

#[test]
fn another_guest_mac_counts_from_then_on() {
    lab::require_root!();
    let pod = Pod::new("new-mac").unwrap();
    let tapwire = Tapwire::new().unwrap();
    tapwire.attach(&pod, BINDING, &["--allow-ethertype", "0x88b5"]).unwrap();
    let host = RawPort::open(&pod.node, &pod.host_side).unwrap();
    let tap = TapPort::behind(&pod, "tap0", Offloads::None).unwrap();
    let (nic, node) = (octets(POD_MAC), octets(lab::pod::HOST_MAC));
    let mut number = 0;
    let mut speaks_as = |mac: &str| {
        number += 1;
        tap.send(&numbered(&node, &octets(mac), number)).unwrap();
        let expected = numbered(&node, &nic, number);
        host.expect("the guest's frame", SOON, |seen| !seen.outgoing && seen.data == expected).unwrap();
        host.send(&numbered(&nic, &node, number)).unwrap();
        let expected = numbered(&octets(mac), &node, number);
        tap.expect("the frame for the guest", SOON, |seen| seen == expected).unwrap();
        tapwire.show(BINDING).unwrap()["lease"]["mac"].as_str().unwrap().to_owned()
    };
    assert_eq!(speaks_as(POD_MAC), POD_MAC);
    set(&tapwire, &["--guest-mac", OWN]);
    assert_eq!(speaks_as(OWN), OWN);
    set(&tapwire, &["--guest-mac", "learn"]);
    assert_eq!(speaks_as(OTHER), OTHER);
    // What was learnt outlives another change; asked to learn, the programs learn anew.
    set(&tapwire, &["--hostname", "vm"]);
    assert_eq!(speaks_as(OTHER), OTHER);
    set(&tapwire, &["--guest-mac", "learn"]);
    assert_eq!(speaks_as(OWN), OWN);
    set(&tapwire, &["--guest-mac", "nic"]);
    assert_eq!(speaks_as(POD_MAC), POD_MAC);
    while let Some((_, frame)) = tap.receive(Duration::ZERO).unwrap() {
        assert_ne!(frame[12..14], [0x88, 0xb5], "a frame came twice");
    }
}
