//! Builds frames byte by byte. Checksums stay zero: steering does not look at them.

use std::net::IpAddr;

/// MAC address of the port under test.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 99];
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];
pub(crate) const MULTICAST6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

pub(crate) fn ethernet(destination: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &[2, 9, 9, 9, 9, 9], &ethertype.to_be_bytes(), payload].concat()
}

/// The frame with a VLAN tag pushed in; `tag` is the whole TCI.
pub(crate) fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &tag.to_be_bytes(), &frame[12..]].concat()
}

/// An IP packet from a stranger, of the family of `destination`.
pub(crate) fn ip(destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    packet("198.51.100.9", "2001:db8:b::9", destination, protocol, payload)
}

/// An IP packet that we sent, as an ICMP error quotes it.
pub(crate) fn own_ip(destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    packet("192.0.2.1", "2001:db8:a::1", destination, protocol, payload)
}

fn packet(source4: &str, source6: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match destination.parse().expect("an address") {
        IpAddr::V4(v4) => {
            let length = (20 + payload.len() as u16).to_be_bytes();
            let source: std::net::Ipv4Addr = source4.parse().expect("an address");
            let head = [0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0];
            [&head[..], &source.octets(), &v4.octets(), payload].concat()
        }
        IpAddr::V6(v6) => {
            let length = (payload.len() as u16).to_be_bytes();
            let source: std::net::Ipv6Addr = source6.parse().expect("an address");
            let head = [0x60, 0, 0, 0, length[0], length[1], protocol, 255];
            [&head[..], &source.octets(), &v6.octets(), payload].concat()
        }
    }
}

/// An IP packet in a frame for the port.
pub(crate) fn frame(ip: &[u8]) -> Vec<u8> {
    frame_to(MAC, ip)
}

pub(crate) fn frame_to(destination: [u8; 6], ip: &[u8]) -> Vec<u8> {
    ethernet(destination, if ip[0] >> 4 == 6 { 0x86dd } else { 0x0800 }, ip)
}

pub(crate) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &length,
        &[0, 0],
        payload,
    ]
    .concat()
}

pub(crate) fn tcp(source: u16, destination: u16) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &[0; 8],
        &[0x50, 2, 0xff, 0xff, 0, 0, 0, 0],
    ]
    .concat()
}

/// ICMP or ICMPv6 with an identifier (or whatever is in bytes 4 and 5).
pub(crate) fn icmp(kind: u8, identifier: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &identifier.to_be_bytes(), &[0, 1], payload].concat()
}

/// An IPv4 packet with `words` words of options (no-operation).
pub(crate) fn with_options(ip: &[u8], words: u8) -> Vec<u8> {
    let mut packet = [&ip[..20], &vec![1; usize::from(words) * 4], &ip[20..]].concat();
    packet[0] += words;
    let length = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    packet
}

/// Sets flags and offset of an IPv4 header.
pub(crate) fn fragment(mut ip: Vec<u8>, field: u16) -> Vec<u8> {
    ip[6..8].copy_from_slice(&field.to_be_bytes());
    ip
}

pub(crate) fn set(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    bytes
}
