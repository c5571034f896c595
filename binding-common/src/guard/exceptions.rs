//! What the guest may send beside its own: the operator's exceptions, and addresses that are somebody else's.
//!
//! Read-only for the programs, like their other constants, and of a fixed size: the verifier knows every value and leaves
//! out what is empty. Each list is looked at only when the guest's own address does not match, so an ordinary frame pays
//! nothing for it.

use crate::{MacAddr, in_memory::InMemory};

/// Prefixes of one family at the most. For IPv6 the pod's own addresses are among them.
pub const MAX_PREFIXES: usize = 16;
/// Further MACs at the most.
pub const MAX_MACS: usize = 16;
/// Further `EtherType`s at the most.
pub const MAX_ETHER_TYPES: usize = 16;
/// Link-local addresses of others at the most.
pub const MAX_OTHERS: usize = 8;
/// Words of the bitmap of VLANs, which are 0 to 4095.
const VLAN_WORDS: usize = 64;

/// An IPv4 prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix4 {
    network: InMemory<u32>,
    mask: InMemory<u32>,
}

/// An IPv6 address as two numbers, the first octet the highest of the first one.
pub type Ipv6 = [u64; 2];

/// An IPv6 prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix6 {
    network: [InMemory<u64>; 2],
    mask: [InMemory<u64>; 2],
}

impl Prefix6 {
    #[inline(always)]
    fn contains(&self, address: Ipv6) -> bool {
        let differs = |half: usize| (address[half] ^ self.network[half].get()) & self.mask[half].get() != 0;
        !differs(0) && !differs(1)
    }
}

/// A list is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The exceptions. Empty lists allow nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceptions {
    ipv6: [Prefix6; MAX_PREFIXES],
    others: [[InMemory<u64>; 2]; MAX_OTHERS],
    macs: [InMemory<u64>; MAX_MACS],
    vlans: [InMemory<u64>; VLAN_WORDS],
    ipv4: [Prefix4; MAX_PREFIXES],
    ether_types: [InMemory<u32>; MAX_ETHER_TYPES],
    ipv6_count: InMemory<u32>,
    others_count: InMemory<u32>,
    macs_count: InMemory<u32>,
    ipv4_count: InMemory<u32>,
    ether_types_count: InMemory<u32>,
    lldp: InMemory<u32>,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, `u64`s before `u32`s of an even number: no padding, and any bits are valid.
unsafe impl aya::Pod for Exceptions {}

impl Default for Exceptions {
    fn default() -> Self {
        Self::NONE
    }
}

/// Adds to a list with a count.
fn push<T>(list: &mut [T], count: &mut InMemory<u32>, item: T) -> Result<(), Full> {
    let place = list.get_mut(count.get() as usize).ok_or(Full)?;
    *place = item;
    count.set(count.get() + 1);
    Ok(())
}

/// The highest `length` bits of 64.
const fn mask(length: u32) -> u64 {
    match length {
        0 => 0,
        1..=63 => !0 << (64 - length),
        _ => !0,
    }
}

/// The lists, for user space to fill.
impl Exceptions {
    /// Nothing beside the guest's own.
    pub const NONE: Self = {
        const NUMBER: InMemory<u64> = InMemory::new(0);
        const SHORT: InMemory<u32> = InMemory::new(0);
        const PREFIX6: Prefix6 = Prefix6 { network: [NUMBER; 2], mask: [NUMBER; 2] };
        const PREFIX4: Prefix4 = Prefix4 { network: SHORT, mask: SHORT };
        Self {
            ipv6: [PREFIX6; MAX_PREFIXES],
            others: [[NUMBER; 2]; MAX_OTHERS],
            macs: [NUMBER; MAX_MACS],
            vlans: [NUMBER; VLAN_WORDS],
            ipv4: [PREFIX4; MAX_PREFIXES],
            ether_types: [SHORT; MAX_ETHER_TYPES],
            ipv6_count: SHORT,
            others_count: SHORT,
            macs_count: SHORT,
            ipv4_count: SHORT,
            ether_types_count: SHORT,
            lldp: SHORT,
        }
    };

    /// Allows the addresses of an IPv4 prefix.
    pub fn allow_ipv4(&mut self, network: [u8; 4], length: u32) -> Result<(), Full> {
        let mask = u32::try_from(mask(length) >> 32).unwrap_or_default();
        let prefix = Prefix4 { network: InMemory::new(u32::from_be_bytes(network) & mask), mask: InMemory::new(mask) };
        push(&mut self.ipv4, &mut self.ipv4_count, prefix)
    }

    /// Allows the addresses of an IPv6 prefix; the first is found without a loop, so that is the pod's own.
    pub fn allow_ipv6(&mut self, network: [u8; 16], length: u32) -> Result<(), Full> {
        let network = to_numbers(network);
        let masks = [mask(length.min(64)), mask(length.saturating_sub(64))];
        let prefix = Prefix6 {
            network: [InMemory::new(network[0] & masks[0]), InMemory::new(network[1] & masks[1])],
            mask: masks.map(InMemory::new),
        };
        push(&mut self.ipv6, &mut self.ipv6_count, prefix)
    }

    /// Notes that a link-local address is somebody else's.
    pub fn forbid_link_local(&mut self, address: [u8; 16]) -> Result<(), Full> {
        push(&mut self.others, &mut self.others_count, to_numbers(address).map(InMemory::new))
    }

    /// Allows frames from a MAC.
    pub fn allow_mac(&mut self, mac: MacAddr) -> Result<(), Full> {
        push(&mut self.macs, &mut self.macs_count, InMemory::new(mac.to_number()))
    }

    /// Allows an `EtherType`.
    pub fn allow_ether_type(&mut self, kind: u16) -> Result<(), Full> {
        push(&mut self.ether_types, &mut self.ether_types_count, InMemory::new(u32::from(kind)))
    }

    /// Allows frames with the tag of a VLAN, 0 to 4095.
    pub fn allow_vlan(&mut self, vlan: u16) {
        let word = &mut self.vlans[usize::from(vlan >> 6) % VLAN_WORDS];
        word.set(word.get() | 1 << (vlan & 63));
    }

    /// Allows LLDP, and frames to the addresses that it uses.
    pub fn allow_lldp(&mut self) {
        self.lldp.set(1);
    }
}

/// Whether one of the first `count` items of a list is looked for.
///
/// The count by reference: the compiler of the programs knows what the table holds before user space writes it, and a copy
/// would be of that.
#[inline(always)]
fn any<T>(list: &[T], count: &InMemory<u32>, is_it: impl Fn(&T) -> bool) -> bool {
    let count = count.get() as usize;
    for (index, item) in list.iter().enumerate() {
        if index >= count {
            break;
        }
        if is_it(item) {
            return true;
        }
    }
    false
}

/// What the rules ask.
impl Exceptions {
    /// An IPv4 address is in the list.
    #[inline(always)]
    pub fn has_ipv4(&self, address: [u8; 4]) -> bool {
        let address = u32::from_be_bytes(address);
        any(&self.ipv4, &self.ipv4_count, |prefix| (address ^ prefix.network.get()) & prefix.mask.get() == 0)
    }

    /// An IPv6 address is the first of the list, as the pod's own is.
    #[inline(always)]
    pub fn has_first_ipv6(&self, address: Ipv6) -> bool {
        let [own, ..] = &self.ipv6;
        self.ipv6_count.get() != 0 && own.contains(address)
    }

    /// An IPv6 address is in the list.
    #[inline(always)]
    pub fn has_ipv6(&self, address: Ipv6) -> bool {
        any(&self.ipv6, &self.ipv6_count, |prefix| prefix.contains(address))
    }

    /// A link-local address is somebody else's.
    #[inline(always)]
    pub fn is_anothers(&self, address: Ipv6) -> bool {
        any(&self.others, &self.others_count, |other| other[0].get() == address[0] && other[1].get() == address[1])
    }

    /// Whether a MAC that is not the guest's is allowed.
    #[inline(always)]
    pub fn has_mac(&self, mac: MacAddr) -> bool {
        let number = mac.to_number();
        any(&self.macs, &self.macs_count, |allowed| allowed.get() == number)
    }

    /// An `EtherType` is in the list.
    #[inline(always)]
    pub fn has_ether_type(&self, kind: [u8; 2]) -> bool {
        let kind = u32::from(u16::from_be_bytes(kind));
        any(&self.ether_types, &self.ether_types_count, |allowed| allowed.get() == kind)
    }

    #[inline(always)]
    pub(super) fn has_vlan(&self, vlan: u16) -> bool {
        let word = self.vlans[usize::from(vlan >> 6) % VLAN_WORDS].get();
        word >> (vlan & 63) & 1 != 0
    }

    #[inline(always)]
    pub(super) fn has_lldp(&self) -> bool {
        self.lldp.get() != 0
    }
}

/// An address as numbers.
#[inline(always)]
pub(super) fn to_numbers(address: [u8; 16]) -> Ipv6 {
    let (mut high, mut low) = ([0; 8], [0; 8]);
    high.copy_from_slice(&address[..8]);
    low.copy_from_slice(&address[8..]);
    [u64::from_be_bytes(high), u64::from_be_bytes(low)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_length_hold_what_they_should() {
        for length in 0..=32 {
            let mut exceptions = Exceptions::NONE;
            assert!(!exceptions.has_ipv4([10, 1, 2, 3]));
            exceptions.allow_ipv4([10, 1, 2, 3], length).unwrap();
            assert!(exceptions.has_ipv4([10, 1, 2, 3]));
            for bit in 0..32 {
                let other = (u32::from_be_bytes([10, 1, 2, 3]) ^ 1 << (31 - bit)).to_be_bytes();
                assert_eq!(exceptions.has_ipv4(other), bit >= length, "{length} {bit}");
            }
        }
        for length in 0..=128 {
            let mut exceptions = Exceptions::NONE;
            let address = 0x2001_0db8_u128 << 96 | 7;
            assert!(!exceptions.has_ipv6(to_numbers(address.to_be_bytes())));
            exceptions.allow_ipv6(address.to_be_bytes(), length).unwrap();
            for bit in 0..128 {
                let other = to_numbers((address ^ 1 << (127 - bit)).to_be_bytes());
                assert_eq!(exceptions.has_ipv6(other), bit >= length, "{length} {bit}");
            }
        }
    }

    #[test]
    fn every_place_of_a_list_counts_and_a_full_one_takes_no_more() {
        let mut exceptions = Exceptions::NONE;
        for number in 0..16 {
            let mac = MacAddr([2, 0, 0, 0, 0, number]);
            assert!(!exceptions.has_mac(mac) && !exceptions.has_ether_type([0x88, number]));
            exceptions.allow_mac(mac).unwrap();
            exceptions.allow_ether_type(0x8800 | u16::from(number)).unwrap();
            exceptions.allow_ipv4([10, 0, 0, number], 32).unwrap();
            exceptions.allow_ipv6([number; 16], 128).unwrap();
        }
        for number in 0..16 {
            assert!(exceptions.has_mac(MacAddr([2, 0, 0, 0, 0, number])));
            assert!(exceptions.has_ether_type([0x88, number]) && exceptions.has_ipv4([10, 0, 0, number]));
            assert!(exceptions.has_ipv6(to_numbers([number; 16])));
        }
        assert_eq!(exceptions.allow_mac(MacAddr::ZERO), Err(Full));
        assert_eq!(exceptions.allow_ether_type(1), Err(Full));
        assert_eq!(exceptions.allow_ipv4([0; 4], 0), Err(Full));
        assert_eq!(exceptions.allow_ipv6([0; 16], 0), Err(Full));
        for number in 0..8 {
            exceptions.forbid_link_local([number; 16]).unwrap();
        }
        assert!((0..8).all(|number| exceptions.is_anothers(to_numbers([number; 16]))));
        assert_eq!(exceptions.forbid_link_local([9; 16]), Err(Full));
    }

    #[test]
    fn each_vlan_has_a_bit_of_its_own() {
        let mut exceptions = Exceptions::NONE;
        for vlan in [0, 1, 63, 64, 4094, 4095] {
            assert!(!exceptions.has_vlan(vlan));
            exceptions.allow_vlan(vlan);
        }
        let allowed: u64 = (0..4096).filter(|vlan| exceptions.has_vlan(*vlan)).map(u64::from).sum();
        assert_eq!(allowed, 1 + 63 + 64 + 4094 + 4095);
    }
}
