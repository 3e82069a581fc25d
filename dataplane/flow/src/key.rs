//! What names one direction of a session: addresses, ports, protocol and segment.
//!
//! A key is made by the worker from parsed headers; all its fields but the segment come off the wire.

use core::fmt::Debug;
use core::hash::Hash;

/// One direction of an IPv4 flow; addresses and ports in host order. An ICMP echo has its identifier in both ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key4 {
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source port or ICMP identifier; 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port or ICMP identifier; 0 where the protocol has none.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// `SegmentIndex` in which a packet with this key arrives.
    pub segment: u16,
}

/// One direction of an IPv6 flow; addresses in network order, ports in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key6 {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Source port or ICMPv6 identifier; 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port or ICMPv6 identifier; 0 where the protocol has none.
    pub destination_port: u16,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// `SegmentIndex` in which a packet with this key arrives.
    pub segment: u16,
}

mod sealed {
    /// Keeps [`super::Key`] to the two families.
    pub trait Sealed {}
    impl Sealed for super::Key4 {}
    impl Sealed for super::Key6 {}
}

/// The two families of keys, as the session table stores and hashes them.
pub trait Key: Copy + Eq + Ord + Hash + Debug + Default + sealed::Sealed + 'static {
    /// The key as words; the lowest byte of the last word is zero and free for the entry's flags.
    type Words: Copy + PartialEq + Default + AsRef<[u64]> + AsMut<[u64]>;
    /// An address of the family.
    type Address: crate::mapping::Address;
    /// Words of one session entry: one cache line for IPv4, two for IPv6.
    const ENTRY_WORDS: usize;
    /// Words of one key.
    const KEY_WORDS: usize;

    /// As stored and hashed.
    fn to_words(&self) -> Self::Words;
    /// The inverse of [`to_words`](Self::to_words); the lowest byte of the last word is ignored.
    fn from_words(words: &Self::Words) -> Self;
    /// Source and destination exchanged; the segment stays.
    fn swapped(&self) -> Self;
    /// IP protocol.
    fn protocol(&self) -> u8;
    /// Segment in which it arrives.
    fn segment(&self) -> u16;
    /// Source address and port.
    fn source(&self) -> (Self::Address, u16);
    /// Destination address and port.
    fn destination(&self) -> (Self::Address, u16);
}

fn pack_rest(source_port: u16, destination_port: u16, segment: u16, protocol: u8) -> u64 {
    (u64::from(source_port) << 48)
        | (u64::from(destination_port) << 32)
        | (u64::from(segment) << 16)
        | (u64::from(protocol) << 8)
}

fn high_low(address: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(address);
    [(whole >> 64) as u64, whole as u64]
}

fn address_of(high: u64, low: u64) -> [u8; 16] {
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

/// What the two families say in the same words.
macro_rules! same_for_both {
    ($address:ty) => {
        #[inline]
        fn swapped(&self) -> Self {
            Self {
                source: self.destination,
                destination: self.source,
                source_port: self.destination_port,
                destination_port: self.source_port,
                ..*self
            }
        }

        #[inline]
        fn protocol(&self) -> u8 {
            self.protocol
        }

        #[inline]
        fn segment(&self) -> u16 {
            self.segment
        }

        #[inline]
        fn source(&self) -> ($address, u16) {
            (self.source, self.source_port)
        }

        #[inline]
        fn destination(&self) -> ($address, u16) {
            (self.destination, self.destination_port)
        }
    };
}

impl Key for Key4 {
    type Words = [u64; 2];
    type Address = u32;
    const ENTRY_WORDS: usize = 8;
    const KEY_WORDS: usize = 2;

    #[inline]
    fn to_words(&self) -> [u64; 2] {
        [
            (u64::from(self.source) << 32) | u64::from(self.destination),
            pack_rest(self.source_port, self.destination_port, self.segment, self.protocol),
        ]
    }

    #[inline]
    fn from_words(words: &[u64; 2]) -> Self {
        let [addresses, rest] = *words;
        Key4 {
            source: (addresses >> 32) as u32,
            destination: addresses as u32,
            source_port: (rest >> 48) as u16,
            destination_port: (rest >> 32) as u16,
            segment: (rest >> 16) as u16,
            protocol: (rest >> 8) as u8,
        }
    }

    same_for_both!(u32);
}

impl Key for Key6 {
    type Words = [u64; 5];
    type Address = [u8; 16];
    const ENTRY_WORDS: usize = 16;
    const KEY_WORDS: usize = 5;

    #[inline]
    fn to_words(&self) -> [u64; 5] {
        let [source_high, source_low] = high_low(self.source);
        let [destination_high, destination_low] = high_low(self.destination);
        let rest = pack_rest(self.source_port, self.destination_port, self.segment, self.protocol);
        [source_high, source_low, destination_high, destination_low, rest]
    }

    #[inline]
    fn from_words(words: &[u64; 5]) -> Self {
        let [source_high, source_low, destination_high, destination_low, rest] = *words;
        Key6 {
            source: address_of(source_high, source_low),
            destination: address_of(destination_high, destination_low),
            source_port: (rest >> 48) as u16,
            destination_port: (rest >> 32) as u16,
            segment: (rest >> 16) as u16,
            protocol: (rest >> 8) as u8,
        }
    }

    same_for_both!([u8; 16]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_survive_the_trip_through_words(
            source: u128, destination: u128, source_port: u16, destination_port: u16, protocol: u8, segment: u16, flags: u8,
        ) {
            let four = Key4 { source: source as u32, destination: destination as u32, source_port, destination_port, protocol, segment };
            let mut words = four.to_words();
            prop_assert_eq!(words[1] & 0xff, 0);
            words[1] |= u64::from(flags);
            prop_assert_eq!(Key4::from_words(&words), four);
            let six = Key6 {
                source: source.to_be_bytes(), destination: destination.to_be_bytes(), source_port, destination_port, protocol, segment,
            };
            prop_assert_eq!(Key6::from_words(&six.to_words()), six);
            prop_assert_eq!(six.swapped().swapped(), six);
        }
    }
}
