//! The Internet checksum (RFC 1071), in the two steps that a template needs: the sum over what never changes is taken in
//! user space, the sum over what a request decides is added in the kernel.

/// Adds octets to a sum of 16-bit words. An odd last octet is padded with zero.
///
/// The sum is not folded: it holds 65,536 words without overflow, a frame has 760.
#[inline(always)]
pub fn add<const N: usize>(mut sum: u32, octets: &[u8; N]) -> u32 {
    let mut i = 0;
    while i + 1 < N {
        sum += u32::from(u16::from_be_bytes([octets[i], octets[i + 1]]));
        i += 2;
    }
    if N % 2 == 1 {
        sum += u32::from(octets[N - 1]) << 8;
    }
    sum
}

/// Adds octets of any number, for user space.
pub fn add_slice(mut sum: u32, octets: &[u8]) -> u32 {
    for pair in octets.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    sum
}

/// Folds a sum to one word, with the carries added to it.
#[inline(always)]
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // After two folds the sum has 16 bits.
    let [_, _, high, low] = sum.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Folds a sum to the checksum that goes into a header.
#[inline(always)]
pub fn finish(sum: u32) -> [u8; 2] {
    (!fold(sum)).to_be_bytes()
}

/// The same for UDP over IPv4, where zero means "no checksum" (RFC 768) and is sent as its other form.
#[inline(always)]
pub fn finish_udp(sum: u32) -> [u8; 2] {
    match finish(sum) {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_to_its_result() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(add(0, &octets)), [!0xdd, !0xf2]);
        assert_eq!(finish(add_slice(0, &octets)), [!0xdd, !0xf2]);
    }

    #[test]
    fn an_odd_octet_is_the_high_half_of_a_word() {
        assert_eq!(add(0, &[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
        assert_eq!(add_slice(0, &[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        assert_eq!(finish_udp(0xffff), [0xff, 0xff]);
        assert_eq!(finish_udp(0), [0xff, 0xff]);
    }
}
