//! One line of text for a captured frame, in the way of tcpdump. The frame is foreign bytes: `tombolo-wire` parses it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tombolo_wire::{Addresses, Fragment, Headers, L4, ParseError, ethertype, parse_frame, parse_link, tcp_flag};

/// Bytes that are shown of a frame without headers that anyone could read.
const BYTES_SHOWN: usize = 24;

/// `tcp 10.1.0.10:40000 > 10.2.0.10:80 syn`; what is no IP packet is named, or shown in hex.
pub(crate) fn summary(frame: &[u8]) -> String {
    match parse_frame(frame) {
        Ok((_, headers)) => ip(&headers),
        Err(ParseError::NotIp) => link(frame),
        Err(error) => format!("{error}: {}", hex(frame)),
    }
}

fn ip(headers: &Headers) -> String {
    let (source, destination): (IpAddr, IpAddr) = match headers.addresses {
        Addresses::V4 { source, destination } => (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into()),
        Addresses::V6 { source, destination } => (Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into()),
    };
    let (from, to) = (headers.source_port, headers.destination_port);
    let ports = || {
        format!(
            "{} > {}",
            SocketAddr::new(source, from),
            SocketAddr::new(destination, to)
        )
    };
    let text = match headers.l4_kind {
        L4::Tcp { flags } => format!("tcp {} {}", ports(), tcp_flags(flags)),
        L4::Udp => format!("udp {}", ports()),
        L4::Echo { reply: false } => format!("icmp echo request {source} > {destination} id {from}"),
        L4::Echo { reply: true } => format!("icmp echo reply {source} > {destination} id {from}"),
        L4::IcmpError | L4::IcmpOther => {
            let [kind, code] = to.to_be_bytes();
            format!("icmp type {kind} code {code} {source} > {destination}")
        }
        L4::Esp { spi } => format!("esp {spi:#010x} {source} > {destination}"),
        L4::Other | L4::Unseen => format!("protocol {} {source} > {destination}", headers.protocol),
    };
    match headers.fragment {
        Fragment::None => text,
        Fragment::First => text + ", first fragment",
        Fragment::Later => text + ", later fragment",
    }
}

/// The flags that open and close connections; `-` if there are none.
fn tcp_flags(flags: u8) -> String {
    let names = [
        (tcp_flag::SYN, "syn"),
        (tcp_flag::ACK, "ack"),
        (tcp_flag::FIN, "fin"),
        (tcp_flag::RST, "rst"),
    ];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() { "-".into() } else { set.join(" ") }
}

fn link(frame: &[u8]) -> String {
    match parse_link(frame) {
        Ok(link) if link.ethertype == ethertype::ARP => "arp".into(),
        Ok(link) => format!(
            "ethertype {:#06x}: {}",
            link.ethertype,
            hex(frame.get(usize::from(link.l3)..).unwrap_or(&[]))
        ),
        Err(error) => format!("{error}: {}", hex(frame)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(BYTES_SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet and IPv4 from 10.1.0.10 to 10.2.0.10, with its checksum.
    fn ipv4(protocol: u8, l4: &[u8]) -> Vec<u8> {
        let length = (20 + l4.len()) as u8;
        let mut header = vec![
            0x45, 0, 0, length, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 1, 0, 10, 10, 2, 0, 10,
        ];
        let sum = tombolo_wire::checksum::internet(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let link = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 0];
        [&link[..], &header, l4].concat()
    }

    #[test]
    fn packets_read_as_people_speak_of_them() {
        let mut tcp = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0];
        assert_eq!(summary(&ipv4(6, &tcp)), "tcp 10.1.0.10:40000 > 10.2.0.10:80 syn ack");
        tcp[13] = 0;
        assert_eq!(summary(&ipv4(6, &tcp)), "tcp 10.1.0.10:40000 > 10.2.0.10:80 -");
        let echo = ipv4(1, &[8, 0, 0, 0, 0, 7, 0, 1]);
        assert_eq!(summary(&echo), "icmp echo request 10.1.0.10 > 10.2.0.10 id 7");
        let esp = ipv4(50, &[0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(summary(&esp), "esp 0x00000100 10.1.0.10 > 10.2.0.10");
    }

    #[test]
    fn what_is_no_packet_is_shown_as_it_is() {
        assert_eq!(summary(&[1, 2, 3]), "frame shorter than its link header: 010203");
        let mut frame = ipv4(6, &[0; 20]);
        frame[24] ^= 1;
        assert!(summary(&frame).starts_with("wrong IPv4 header checksum: 0001"));
        frame[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(summary(&frame), "arp");
    }
}
