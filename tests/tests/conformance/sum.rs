//! The Internet checksum (RFC 1071), written once more: the tests shall not take it from what they test.

pub(crate) const PROTOCOL_UDP: u8 = 17;

/// Adds octets as 16-bit words.
pub(crate) fn add(sum: u32, octets: &[u8]) -> u32 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    sum + words.sum::<u32>()
}

/// With the carries added, until there are none.
pub(crate) fn folded(mut sum: u32) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    [high, low]
}

/// The complement, which is what stands in a header.
pub(crate) fn finish(sum: u32) -> [u8; 2] {
    folded(sum).map(|octet| !octet)
}

/// The checksum of octets.
pub(crate) fn checksum(octets: &[u8]) -> [u8; 2] {
    finish(add(0, octets))
}

/// The sum of the pseudo header of UDP: both addresses, the protocol, the length.
pub(crate) fn pseudo_header(addresses: &[u8], udp_len: usize) -> u32 {
    add(0, addresses) + u32::from(PROTOCOL_UDP) + u32::try_from(udp_len).unwrap()
}
