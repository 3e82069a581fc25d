//! All that stands in front of the ciphertext of a packet straight in IPv4: link header, outer header, SPI, sequence number and IV.
//! What the packets of an SA have in common is put into words once; each packet then takes seven stores.
//!
//! The bytes are those that [`write_outer`](crate::outer::write_outer) and [`esp`](crate::esp) write.

use crate::aead::IV_BYTES;
use crate::esp::{HEADER_BYTES, Label, sealed_length};
use crate::outer::{DontFragment, Encapsulation, Inner, OuterTemplate, PROTOCOL_ESP};
use tombolo_wire::{Addresses, ecn};

const LINK: usize = 14;
const IPV4: usize = 20;
/// Where the ciphertext begins in the frame.
pub const BODY_AT: usize = LINK + IPV4 + HEADER_BYTES + IV_BYTES;
const DONT_FRAGMENT: u64 = 0x4000;

/// What the packets of an SA have in common. Words are numbers as they stand on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Bytes 0 to 15 of the frame, but for the TOS byte.
    link: [u64; 2],
    /// TTL and protocol.
    ttl_protocol: u64,
    /// Source and destination.
    addresses: u64,
    /// Sum of what never changes in the IPv4 header.
    sum: u64,
    /// Which bits of the outer TOS byte are the inner one's, and the others.
    tos_copied: u8,
    tos_fixed: u8,
    /// DF is set whatever the inner packet says; DF is the inner packet's.
    always_whole: bool,
    copies_whole: bool,
}

impl Envelope {
    /// For a link header and a template; none unless that is ESP straight in IPv4.
    #[inline]
    pub fn new(link: &[u8; LINK], template: &OuterTemplate) -> Option<Self> {
        let (Addresses::V4 { source, destination }, Encapsulation::Ip) = (template.addresses, template.encapsulation)
        else {
            return None;
        };
        let mut front = [0; 16];
        front[..LINK].copy_from_slice(link);
        front[LINK] = 0x45;
        let front = u128::from_be_bytes(front);
        let addresses = u64::from(source) << 32 | u64::from(destination);
        let ttl_protocol = u64::from(template.ttl) << 8 | u64::from(PROTOCOL_ESP);
        let quarters = [48, 32, 16, 0].map(|shift| addresses >> shift & 0xffff);
        let tos_fixed = ecn::encapsulate(0, template.dscp);
        Some(Envelope {
            link: [(front >> 64) as u64, front as u64],
            ttl_protocol,
            addresses,
            sum: 0x4500 + ttl_protocol + quarters.iter().sum::<u64>(),
            tos_copied: ecn::encapsulate(0xff, template.dscp) ^ tos_fixed,
            tos_fixed,
            always_whole: template.dont_fragment == DontFragment::Set,
            copies_whole: template.dont_fragment == DontFragment::Copy,
        })
    }

    /// Writes all that stands in front of an inner packet of `length` bytes; returns where the sealed packet ends in the frame. None,
    /// and nothing is written, if it exceeds 65,535 bytes.
    ///
    /// Without DF the low half of the sequence number's low half is the identification.
    #[inline(always)]
    pub fn write(&self, head: &mut [u8; 64], label: Label, length: usize, inner: Inner) -> Option<usize> {
        let total = u64::from(u16::try_from(IPV4 + sealed_length(length)).ok()?);
        let tos = u64::from(inner.tos & self.tos_copied | self.tos_fixed);
        let sequence = label.sequence;
        let whole = self.always_whole | self.copies_whole & inner.dont_fragment;
        let (identification, flags) = if whole {
            (0, DONT_FRAGMENT)
        } else {
            (sequence & 0xffff, 0)
        };
        // Two folds bring the sum of nine 16-bit words below 2¹⁶.
        let sum = self.sum + tos + total + identification + flags;
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !(sum + (sum >> 16)) & 0xffff;
        let low = sequence & 0xffff_ffff;
        let words = [
            self.link[0],
            self.link[1] | tos,
            total << 48 | identification << 32 | flags << 16 | self.ttl_protocol,
            checksum << 48 | self.addresses >> 16,
            self.addresses << 48 | u64::from(label.spi) << 16 | low >> 16,
            low << 48 | sequence >> 16,
        ];
        for (place, word) in head.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        head[48..BODY_AT].copy_from_slice(&(sequence as u16).to_be_bytes());
        Some(LINK + total as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outer::write_outer;
    use crate::{Cipher, SaKeys, esp};
    use proptest::prelude::*;
    use tombolo_wire::ecn::Dscp;

    proptest! {
        #[test]
        fn a_packet_is_what_its_parts_make_of_it(
            link: [u8; LINK],
            (source, destination) in any::<(u32, u32)>(),
            (ttl, tos, inner_dont_fragment) in any::<(u8, u8, bool)>(),
            dscp in prop_oneof![Just(Dscp::Copy), (0u8..64).prop_map(Dscp::Fixed)],
            dont_fragment in prop::sample::select(vec![DontFragment::Set, DontFragment::Copy, DontFragment::Clear]),
            (spi, esn) in any::<(u32, bool)>(),
            sequence in prop_oneof![1u64..0x2_0000, 1..=u64::MAX],
            length in 0usize..300,
        ) {
            let sequence = if esn { sequence } else { sequence & 0xffff_ffff | 1 };
            let addresses = Addresses::V4 { source, destination };
            let template = OuterTemplate { addresses, encapsulation: Encapsulation::Ip, dscp, dont_fragment, ttl };
            let inner = Inner { tos, dont_fragment: inner_dont_fragment };
            let label = Label { spi, sequence, esn, next_header: esp::NEXT_HEADER_IPV4 };
            let keys = SaKeys::new(Cipher::Aes256Gcm, &[3; 32], [4; 4]).expect("32 bytes");
            let packet: Vec<u8> = (0..length + esp::TRAILER_ROOM).map(|at| at as u8).collect();

            let mut parts = vec![0xee; 512];
            parts[..LINK].copy_from_slice(&link);
            let esp_length = esp::seal_from(&keys, label, &mut packet.clone(), length, &mut parts[34..]);
            let esp_length = esp_length.expect("it fits");
            let end = write_outer(&mut parts, LINK, &template, esp_length, inner, sequence as u16);

            let mut whole = vec![0xee; 512];
            let (head, _) = whole.split_first_chunk_mut().expect("512 bytes");
            let envelope = Envelope::new(&link, &template).expect("IPv4");
            prop_assert_eq!(envelope.write(head, label, length, inner), end.ok());
            let sealed = esp::seal_behind(&keys, label, &mut packet.clone(), length, &mut whole[BODY_AT..]);
            prop_assert_eq!(sealed, Ok(()));
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn what_is_not_straight_in_ipv4_has_none() {
        let template = |addresses, encapsulation| OuterTemplate {
            addresses,
            encapsulation,
            dscp: Dscp::Copy,
            dont_fragment: DontFragment::Set,
            ttl: 64,
        };
        let (v4, v6) = (
            Addresses::V4 {
                source: 1,
                destination: 2,
            },
            Addresses::V6 {
                source: [1; 16],
                destination: [2; 16],
            },
        );
        let udp = Encapsulation::Udp {
            source_port: 4500,
            destination_port: 4500,
        };
        assert!(Envelope::new(&[0; LINK], &template(v4, Encapsulation::Ip)).is_some());
        assert!(Envelope::new(&[0; LINK], &template(v4, udp)).is_none());
        assert!(Envelope::new(&[0; LINK], &template(v6, Encapsulation::Ip)).is_none());
    }

    #[test]
    fn too_long_packets_and_impossible_numbers_are_refused() {
        let template = OuterTemplate {
            addresses: Addresses::V4 {
                source: 1,
                destination: 2,
            },
            encapsulation: Encapsulation::Ip,
            dscp: Dscp::Copy,
            dont_fragment: DontFragment::Set,
            ttl: 64,
        };
        let envelope = Envelope::new(&[0; LINK], &template).expect("IPv4");
        let inner = Inner {
            tos: 0,
            dont_fragment: true,
        };
        let label = |sequence, esn| Label {
            spi: 1,
            sequence,
            esn,
            next_header: esp::NEXT_HEADER_IPV4,
        };
        let mut head = [0; 64];
        for length in 65_400..65_536 {
            let total = IPV4 + sealed_length(length);
            let end = (total <= 65_535).then_some(LINK + total);
            assert_eq!(envelope.write(&mut head, label(1, true), length, inner), end);
        }

        let keys = SaKeys::new(Cipher::Aes128Gcm, &[3; 16], [4; 4]).expect("16 bytes");
        let seal = |label, source: usize, behind: usize| {
            esp::seal_behind(&keys, label, &mut vec![0; source], 40, &mut vec![0; behind])
        };
        let (source, behind) = (40 + esp::TRAILER_ROOM, 44 + 16);
        assert_eq!(seal(label(1, false), source, behind), Ok(()));
        assert_eq!(seal(label(0, true), source, behind), Err(esp::SealError::Sequence));
        assert_eq!(
            seal(label(1 << 32, false), source, behind),
            Err(esp::SealError::Sequence)
        );
        assert_eq!(seal(label(1, false), source - 1, behind), Err(esp::SealError::NoRoom));
        assert_eq!(seal(label(1, false), source, behind - 1), Err(esp::SealError::NoRoom));
    }
}
