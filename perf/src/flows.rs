//! Flows and their frames: the generator, which is never inside a measured part.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tombolo_sim::packets::{Station, Trip};
use tombolo_wire::{Addresses, Headers, Rewrite, edit, parse_frame};

/// Bytes of an IPv4 and a UDP header.
const HEADERS: usize = 28;
/// Bytes of an IPv6 and a UDP header.
const HEADERS6: usize = 48;

/// One direction of a UDP flow over IPv4, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl Flow {
    /// Flow `number` of the hosts `first` to `first + hosts - 1`, each with ports of its own from 1024 on, to one server.
    pub fn of_clients(number: u32, first: Ipv4Addr, hosts: u32, destination: Ipv4Addr, destination_port: u16) -> Self {
        Flow {
            source: u32::from(first) + number % hosts,
            destination: destination.into(),
            source_port: 1024 + (number / hosts) as u16,
            destination_port,
        }
    }
}

/// Writes frames of one length for any flow.
pub struct Frames {
    template: Vec<u8>,
    headers: Headers,
    frame: Vec<u8>,
}

impl Frames {
    /// Frames with an IP packet of `length` bytes (at least 28), from station `from` to station `to`.
    pub fn new(from: [u8; 6], to: [u8; 6], length: usize) -> Self {
        let station = Station {
            mac: from,
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        };
        let trip = Trip {
            from: station,
            via: to,
            to: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
            ttl: 64,
        };
        let template = trip.udp(1, 2, &vec![0xa5; length - HEADERS]);
        let (_, headers) = parse_frame(&template).expect("a frame made by a library that knows how");
        Frames {
            frame: template.clone(),
            template,
            headers,
        }
    }

    /// The frame of a flow's next packet, checksums right.
    pub fn of(&mut self, flow: &Flow) -> &[u8] {
        self.frame.copy_from_slice(&self.template);
        let to = Rewrite {
            addresses: Addresses::V4 {
                source: flow.source,
                destination: flow.destination,
            },
            source_port: flow.source_port,
            destination_port: flow.destination_port,
        };
        edit::rewrite(&mut self.frame, &self.headers, &to);
        &self.frame
    }
}

/// Writes 64-byte IPv6 packets to any destination.
pub struct Frames6 {
    headers: Headers,
    frame: Vec<u8>,
    source: u128,
}

impl Frames6 {
    /// Frames from station `from` to station `to`.
    pub fn new(from: [u8; 6], to: [u8; 6]) -> Self {
        let source = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
        let station = Station {
            mac: from,
            ip: IpAddr::V6(source),
        };
        let trip = Trip {
            from: station,
            via: to,
            to: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            ttl: 64,
        };
        let frame = trip.udp(1024, 53, &[0xa5; 64 - HEADERS6]);
        let (_, headers) = parse_frame(&frame).expect("a frame made by a library that knows how");
        Frames6 {
            headers,
            frame,
            source: source.into(),
        }
    }

    /// The frame of a packet to `destination`, its checksum right.
    pub fn to(&mut self, destination: u128) -> &[u8] {
        let to = Rewrite {
            addresses: Addresses::V6 {
                source: self.source.to_be_bytes(),
                destination: destination.to_be_bytes(),
            },
            source_port: 1024,
            destination_port: 53,
        };
        edit::rewrite(&mut self.frame, &self.headers, &to);
        (_, self.headers) = parse_frame(&self.frame).expect("still the same frame");
        &self.frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_wire::checksum;

    #[test]
    fn an_ipv6_frame_goes_where_it_should_with_a_right_checksum() {
        let mut frames = Frames6::new([2; 6], [4; 6]);
        for destination in [0x2001_u128 << 112 | 5, 0x2a00_u128 << 112 | 7] {
            let frame = frames.to(destination).to_vec();
            let (_, headers) = parse_frame(&frame).expect("a right frame");
            assert_eq!(headers.ip_len(), 64);
            let wanted = destination.to_be_bytes();
            assert!(matches!(headers.addresses, Addresses::V6 { destination, .. } if destination == wanted));
            assert!(checksum::transport_valid(&frame, &headers));
        }
    }

    #[test]
    fn a_frame_carries_its_flow_and_right_checksums() {
        let mut frames = Frames::new([2; 6], [4; 6], 64);
        let flow = Flow::of_clients(1000, Ipv4Addr::new(10, 1, 0, 2), 250, Ipv4Addr::new(192, 0, 2, 1), 53);
        for _ in 0..2 {
            let frame = frames.of(&flow).to_vec();
            let (_, headers) = parse_frame(&frame).expect("a right frame");
            assert_eq!(headers.ip_len(), 64);
            assert_eq!((headers.source_port, headers.destination_port), (1028, 53));
            assert!(checksum::transport_valid(&frame, &headers));
        }
    }
}
