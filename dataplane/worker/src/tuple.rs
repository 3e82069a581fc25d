//! Session keys of both families seen alike: made from headers, turned into rewrites.

use tombolo_flow::{Key4, Key6, SessionKey};
use tombolo_tables::layout::SegmentIndex;
use tombolo_wire::{Addresses, Headers, Rewrite};

/// What the stages need of a session key.
pub trait Tuple: SessionKey {
    /// The key of a packet in `segment`; none if it is of the other family.
    fn of(segment: SegmentIndex, headers: &Headers) -> Option<Self> {
        Self::new(
            segment,
            &headers.addresses,
            headers.protocol,
            headers.source_port,
            headers.destination_port,
        )
    }

    /// A key from its parts; none if the addresses are of the other family.
    fn new(segment: SegmentIndex, addresses: &Addresses, protocol: u8, source: u16, destination: u16) -> Option<Self>;

    /// Its addresses.
    fn addresses(&self) -> Addresses;

    /// Source and destination port, or the ICMP id twice.
    fn ports(&self) -> (u16, u16);

    /// What a packet is rewritten to so that it carries this key.
    fn rewrite(&self) -> Rewrite {
        let (source_port, destination_port) = self.ports();
        Rewrite {
            addresses: self.addresses(),
            source_port,
            destination_port,
        }
    }
}

impl Tuple for Key4 {
    #[inline]
    fn new(segment: SegmentIndex, addresses: &Addresses, protocol: u8, source: u16, destination: u16) -> Option<Self> {
        let Addresses::V4 {
            source: from,
            destination: to,
        } = *addresses
        else {
            return None;
        };
        Some(Key4 {
            source: from,
            destination: to,
            source_port: source,
            destination_port: destination,
            protocol,
            segment: segment.0,
        })
    }

    #[inline]
    fn addresses(&self) -> Addresses {
        Addresses::V4 {
            source: self.source,
            destination: self.destination,
        }
    }

    #[inline]
    fn ports(&self) -> (u16, u16) {
        (self.source_port, self.destination_port)
    }
}

impl Tuple for Key6 {
    #[inline]
    fn new(segment: SegmentIndex, addresses: &Addresses, protocol: u8, source: u16, destination: u16) -> Option<Self> {
        let Addresses::V6 {
            source: from,
            destination: to,
        } = *addresses
        else {
            return None;
        };
        Some(Key6 {
            source: from,
            destination: to,
            source_port: source,
            destination_port: destination,
            protocol,
            segment: segment.0,
        })
    }

    #[inline]
    fn addresses(&self) -> Addresses {
        Addresses::V6 {
            source: self.source,
            destination: self.destination,
        }
    }

    #[inline]
    fn ports(&self) -> (u16, u16) {
        (self.source_port, self.destination_port)
    }
}

/// The headers of a reply to the packet that `headers` describe.
#[inline]
pub fn reversed(headers: &Headers) -> Headers {
    Headers {
        addresses: headers.addresses.reversed(),
        source_port: headers.destination_port,
        destination_port: headers.source_port,
        ..*headers
    }
}
