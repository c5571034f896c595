//! A DHCPDISCOVER, for tests that want an answer and do not care about the question. Those about DHCP make their own.

/// The frame of a client with this MAC and transaction id: no options but the message's type.
pub fn discover(mac: [u8; 6], xid: u32) -> Vec<u8> {
    let mut frame = vec![0; 342];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&328_u16.to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    frame[30..34].fill(0xff);
    frame[34..40].copy_from_slice(&[0, 68, 0, 67, 1, 52]);
    frame[42..45].copy_from_slice(&[1, 1, 6]);
    frame[46..50].copy_from_slice(&xid.to_be_bytes());
    frame[70..76].copy_from_slice(&mac);
    frame[278..286].copy_from_slice(&[99, 130, 83, 99, 53, 1, 1, 255]);
    frame
}
