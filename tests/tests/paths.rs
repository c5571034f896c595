//! The paths that the benchmark compares: a figure is worth something only if the frames came where they should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use lab::{
    Guest,
    bench::{
        frame::{self, Size},
        path::{Joined, Kind},
    },
    pod::POD_MAC,
    raw::RawPort,
    tap::{FRAME_MAX, HEADER, Offloads, TapFile},
    wait_for,
};

const DEADLINE: Duration = Duration::from_secs(5);

/// The payload that all frames of a size share, whatever addresses a path gives them.
fn payload(frame: &[u8]) -> &[u8] {
    &frame[34..]
}

fn carries_to_network(path: &Joined, tap: &TapFile, size: Size) {
    let far = RawPort::open(path.far_namespace(), &path.far_link).unwrap();
    let sent = frame::to_network(path, size).unwrap();
    let wanted = |data: &[u8]| data.len() == sent.len && data[12..14] == [8, 0];
    let seen = wait_for(&format!("{size:?} of {} at the far end", path.kind), DEADLINE, || {
        // Again and again: a bridge may not forward yet.
        assert!(tap.write(&sent.octets), "{}: the tap did not take a frame", path.kind);
        let seen = far.receive(Duration::from_millis(100))?;
        Ok(seen.filter(|seen| !seen.outgoing && wanted(&seen.data)))
    });
    let seen = seen.unwrap();
    assert_eq!(seen.data[30..34], path.far.address.octets(), "{}: for somebody else", path.kind);
    assert_eq!(seen.data[26..30], path.seen.address.octets(), "{}: from somebody else", path.kind);
    assert_eq!(payload(&seen.data).len(), sent.len - 34);
}

fn carries_to_guest(path: &Joined, tap: &TapFile, size: Size) {
    let far = RawPort::open(path.far_namespace(), &path.far_link).unwrap();
    let sent = frame::to_guest(path, size).unwrap();
    let mut buffer = vec![0; FRAME_MAX];
    let len = wait_for(&format!("{size:?} of {} at the tap", path.kind), DEADLINE, || {
        far.send(&sent.octets[HEADER..])?;
        Ok(tap.read(&mut buffer)?.filter(|len| *len == sent.len + HEADER))
    });
    let frame = &buffer[HEADER..len.unwrap()];
    assert_eq!(frame[..6], path.guest.mac, "{}: for another MAC", path.kind);
    assert_eq!(frame[30..34], path.guest.address.octets(), "{}: for another address", path.kind);
}

/// Every path that this machine has carries frames from the guest to the far end and back.
#[test]
fn every_path_carries_frames_both_ways() {
    lab::require_root!();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.carries_frames()) {
        if let Some(why) = kind.missing() {
            eprintln!("{kind} is left out: {why}");
            continue;
        }
        let path = kind.join("paths").unwrap();
        let tap = path.open(Offloads::Virtio).unwrap();
        for size in [Size::Small, Size::Large] {
            carries_to_network(&path, &tap, size);
            carries_to_guest(&path, &tap, size);
        }
        carries_to_network(&path, &tap, Size::Gso);
    }
}

/// passt, which carries no frames but ends connections, lets a guest reach the far end as the others do.
#[test]
fn a_guest_behind_passt_reaches_the_far_end() {
    lab::require_root!();
    if let Some(why) = Kind::Passt.missing() {
        eprintln!("passt is left out: {why}");
        return;
    }
    let path = Kind::Passt.join("paths").unwrap();
    let guest = Guest::behind(path.port().unwrap(), POD_MAC, Kind::Passt.offloads()).unwrap();
    let (address, gateway) = (path.guest.address, path.gateway.address.to_string());
    guest.configure(&format!("{address}/{}", path.prefix), Some(&gateway)).unwrap();
    guest.namespace.ip(&["link", "set", "eth0", "mtu", &path.mtu.to_string()]).unwrap();
    let server = path.far_namespace().run(|| Ok(TcpListener::bind((path.far.address, 7000))?)).unwrap();
    let sent = vec![7; 1 << 20];
    let received = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut all = Vec::new();
            server.accept()?.0.read_to_end(&mut all)?;
            std::io::Result::Ok(all)
        });
        let mut client = guest.namespace.run(|| Ok(TcpStream::connect((path.far.address, 7000))?)).unwrap();
        client.write_all(&sent).unwrap();
        drop(client);
        reader.join().unwrap().unwrap()
    });
    assert!(received == sent, "{} of {} octets came", received.len(), sent.len());
}
