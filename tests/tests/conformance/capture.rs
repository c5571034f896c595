//! The replies as tcpdump reads them: checksums, structure and type, by somebody else's code.

use std::{
    io::{Seek as _, Write as _},
    process::Command,
};

use crate::bench::Captured;

/// Longest frame of a capture.
const SNAPLEN: u32 = 65_535;
const LINKTYPE_ETHERNET: u32 = 1;

/// What tcpdump says when it finds something wrong. It says "[bad udp cksum" and ", bad cksum".
const COMPLAINTS: [&str; 5] = ["bad ", "[|", "invalid", "ERROR", "wrong"];

/// What is wrong with captured replies.
pub(crate) fn faults(captured: &[Captured]) -> Vec<String> {
    let text = tcpdump(captured);
    let packets = packets(&text);
    if packets.len() != captured.len() {
        return vec![format!("tcpdump reads {} packets of {}:\n{text}", packets.len(), captured.len())];
    }
    let mut faults = Vec::new();
    for (Captured { row, answer, .. }, packet) in captured.iter().zip(packets) {
        // An identifier of no octets is the client's own, and is sent back all the same.
        let packet = packet.replace("Client-ID (61), length 0[ERROR: length < 1 bytes]", "");
        let kind = format!("DHCP-Message (53), length 1: {}\n", answer.kind.name());
        let praised = packet.contains("[udp sum ok]") && packet.contains(&kind);
        if !praised || COMPLAINTS.iter().any(|complaint| packet.contains(complaint)) {
            faults.push(format!("{row}: tcpdump says: {packet}"));
        }
    }
    faults
}

/// The text of each packet: its first line and the indented ones below it.
fn packets(text: &str) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in text.lines() {
        match packets.last_mut() {
            Some(packet) if line.starts_with(char::is_whitespace) => packet.extend([line, "\n"]),
            _ => packets.push(format!("{line}\n")),
        }
    }
    packets
}

fn tcpdump(captured: &[Captured]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    // Magic number, version 2.4, time zone, accuracy.
    let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAPLEN, LINKTYPE_ETHERNET];
    file.write_all(&header.map(u32::to_le_bytes).concat()).unwrap();
    for Captured { frame, .. } in captured {
        let len = u32::try_from(frame.len()).unwrap();
        file.write_all(&[0, 0, len, len].map(u32::to_le_bytes).concat()).unwrap();
        file.write_all(frame).unwrap();
    }
    file.rewind().unwrap();
    let mut command = Command::new("tcpdump");
    let output = command.args(["-t", "-nn", "-vvv", "-r", "-"]).stdin(file).output().expect("tcpdump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
