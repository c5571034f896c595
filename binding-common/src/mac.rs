//! Ethernet addresses.

use core::{fmt, str::FromStr};

/// An Ethernet MAC address, in the order in which its octets are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// All zeros: what devices without an Ethernet header report (a netkit in L3 mode, for one).
    pub const ZERO: Self = Self([0; 6]);

    /// The I/G bit of the first octet is set: broadcast and multicast (IEEE 802-2014, 8.2.2).
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The octets as one number, the first one the highest: what a map can hold in one access.
    #[inline(always)]
    pub fn to_number(self) -> u64 {
        let mut number = [0; 8];
        number.split_at_mut(2).1.copy_from_slice(&self.0);
        u64::from_be_bytes(number)
    }

    /// The address that [`Self::to_number`] was made of.
    #[inline(always)]
    pub const fn from_number(number: u64) -> Self {
        let [_, _, mac @ ..] = number.to_be_bytes();
        Self(mac)
    }

    /// The same octets as a locally administered, individual address: U/L set, I/G clear.
    #[must_use]
    pub const fn into_local_individual(mut self) -> Self {
        self.0[0] = (self.0[0] | 0b10) & !0b1;
        self
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

/// The text is not six pairs of hexadecimal digits with colons between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacParseError;

impl fmt::Display for MacParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address of the form 02:00:00:00:00:01")
    }
}

impl core::error::Error for MacParseError {}

impl FromStr for MacAddr {
    type Err = MacParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(MacParseError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacParseError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacParseError)?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(MacParseError),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn text_and_octets_are_the_same_address() {
        let mac: MacAddr = "02:00:5e:10:00:ff".parse().unwrap();
        assert_eq!(mac, MacAddr([2, 0, 0x5e, 0x10, 0, 0xff]));
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        assert_eq!(MacAddr::from_number(mac.to_number()), mac);
    }

    #[test]
    fn what_is_not_a_mac_address_is_refused() {
        for text in ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:01", "2:0:5e:10:0:ff", "+2:00:5e:10:00:ff"] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacParseError), "{text}");
        }
    }

    #[test]
    fn a_random_address_becomes_local_and_individual() {
        let mac = MacAddr([0xff, 1, 2, 3, 4, 5]).into_local_individual();
        assert_eq!(mac.0[0], 0xfe);
        assert!(!mac.is_group());
    }
}
