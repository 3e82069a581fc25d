//! Frames as other programs would send them, built by a library that is not ours.

use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, PacketBuilder, TcpOptionElement};
use std::net::IpAddr;

/// A station on a link: MAC and IP address.
#[derive(Clone, Copy, Debug)]
pub struct Station {
    /// MAC address.
    pub mac: [u8; 6],
    /// IP address.
    pub ip: IpAddr,
}

/// Where a frame goes: from a station, by the MAC address of the next hop, to an address.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// Sender.
    pub from: Station,
    /// MAC address of the next hop.
    pub via: [u8; 6],
    /// Destination.
    pub to: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Trip {
    fn ip(&self) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        let link = PacketBuilder::ethernet2(self.from.mac, self.via);
        match (self.from.ip, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), self.ttl),
            (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), self.ttl),
            (from, to) => panic!("{from} and {to} are of two families"),
        }
    }

    /// A UDP datagram.
    pub fn udp(&self, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.ip()
            .udp(source, destination)
            .write(&mut frame, payload)
            .expect("a datagram of legal size");
        frame
    }

    /// A TCP segment with these flags and, if given, an MSS option.
    pub fn tcp(&self, source: u16, destination: u16, flags: TcpFlags, mss: Option<u16>, payload: &[u8]) -> Vec<u8> {
        let mut step = self.ip().tcp(source, destination, 1000, 65_000);
        if flags.syn {
            step = step.syn();
        }
        if flags.ack {
            step = step.ack(2000);
        }
        if flags.fin {
            step = step.fin();
        }
        if flags.rst {
            step = step.rst();
        }
        if let Some(mss) = mss {
            step = step
                .options(&[TcpOptionElement::MaximumSegmentSize(mss)])
                .expect("one option fits");
        }
        let mut frame = Vec::new();
        step.write(&mut frame, payload).expect("a segment of legal size");
        frame
    }

    /// An ICMP or ICMPv6 message of any type: the four bytes behind its checksum, and the rest.
    pub fn icmp(&self, icmp_type: u8, code: u8, word: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let written = if self.from.ip.is_ipv6() {
            let message = self.ip().icmpv6_raw(icmp_type, code, word);
            message.write(&mut frame, rest)
        } else {
            let message = self.ip().icmpv4_raw(icmp_type, code, word);
            message.write(&mut frame, rest)
        };
        written.expect("a message of legal size");
        frame
    }

    /// An ICMP or ICMPv6 echo request or reply.
    pub fn echo(&self, reply: bool, id: u16, payload: &[u8]) -> Vec<u8> {
        let header = IcmpEchoHeader { id, seq: 1 };
        let mut frame = Vec::new();
        let written = match (self.from.ip, reply) {
            (IpAddr::V4(_), false) => self
                .ip()
                .icmpv4(Icmpv4Type::EchoRequest(header))
                .write(&mut frame, payload),
            (IpAddr::V4(_), true) => self
                .ip()
                .icmpv4(Icmpv4Type::EchoReply(header))
                .write(&mut frame, payload),
            (IpAddr::V6(_), false) => self
                .ip()
                .icmpv6(Icmpv6Type::EchoRequest(header))
                .write(&mut frame, payload),
            (IpAddr::V6(_), true) => self
                .ip()
                .icmpv6(Icmpv6Type::EchoReply(header))
                .write(&mut frame, payload),
        };
        written.expect("an echo of legal size");
        frame
    }
}

/// Flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpFlags {
    /// Synchronize.
    pub syn: bool,
    /// Acknowledge.
    pub ack: bool,
    /// Finish.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
}

impl TcpFlags {
    /// The first segment of a connection.
    pub const SYN: TcpFlags = TcpFlags {
        syn: true,
        ack: false,
        fin: false,
        rst: false,
    };
    /// Its answer.
    pub const SYN_ACK: TcpFlags = TcpFlags {
        syn: true,
        ack: true,
        fin: false,
        rst: false,
    };
    /// One side has no more to say.
    pub const FIN: TcpFlags = TcpFlags {
        syn: false,
        ack: true,
        fin: true,
        rst: false,
    };
    /// Something went wrong.
    pub const RST: TcpFlags = TcpFlags {
        syn: false,
        ack: false,
        fin: false,
        rst: true,
    };
    /// Everything after.
    pub const ACK: TcpFlags = TcpFlags {
        syn: false,
        ack: true,
        fin: false,
        rst: false,
    };
}
