//! ARP: only what is a request for another's address is answered, and the answer is one.

use binding_common::{MacAddr, arp};

use crate::{bindings::LEASE, oracle};

const MAC: [u8; 6] = [2, 0x74, 0x77, 0, 0, 1];

pub(super) fn run(frame: &[u8]) {
    let read = oracle::frame(frame).filter(|read| read.tags == 0 && read.kind == 0x0806);
    let packet = read.as_ref().and_then(|read| oracle::arp(read.rest));
    let request = arp::Request::read(frame);
    if read.is_none() {
        assert_eq!(request, None);
        // Whoever asks for claims has looked at the EtherType.
        return;
    }
    // Only what is of Ethernet in every word is answered.
    let ethernet = frame.get(15) == Some(&1);
    let asks = packet.clone().filter(|packet| ethernet && packet.operation == 1);
    assert_eq!(request.is_some(), asks.is_some());
    if let (Some(request), Some(asks)) = (request, asks) {
        assert_eq!((request.sender_mac.0, request.sender), asks.sender);
        assert_eq!(request.target, asks.target.1);
        assert_eq!(request.is_probe(), asks.sender.1 == [0; 4]);
        assert_eq!(request.asks_for_another(LEASE), asks.target.1 != LEASE && asks.target.1 != asks.sender.1);
        let reply = request.reply(MacAddr(MAC));
        let read = oracle::frame(&reply).unwrap();
        assert_eq!((read.to, read.from, read.kind), (asks.sender.0, MAC, 0x0806));
        let answer = oracle::Arp { operation: 2, sender: (MAC, asks.target.1), target: asks.sender };
        assert_eq!(oracle::arp(read.rest), Some(answer));
    }
    let claims = arp::claims(frame, LEASE);
    if let Some(packet) = packet {
        assert_eq!(claims, packet.sender.1 == LEASE);
    }
}
