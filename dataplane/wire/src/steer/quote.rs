//! ICMP errors: the packet they quote is one of ours, and its ports say who sent it.

use super::{ESP, ICMP, ICMPV6, PORT_IKE, PORT_IKE_NAT, SteerConfig, SteerPort, TCP, UDP, Verdict, be16};

/// An error to an own address with `quoted` behind its ICMP header. An error whose quote is too short to tell is the
/// kernel's.
pub(super) fn error(config: &SteerConfig, port: &SteerPort, v6: bool, quoted: &[u8]) -> Verdict {
    match quoted_l4(v6, quoted) {
        Some((ESP, _)) => Verdict::WorkIcmpError,
        Some((protocol, Some(l4))) if is_ours(config, port, v6, protocol, l4) => Verdict::WorkIcmpError,
        _ => Verdict::PassIcmpError,
    }
}

/// Protocol of the quoted packet, and the first 8 bytes of its L4 header if they are there.
fn quoted_l4(v6: bool, quoted: &[u8]) -> Option<(u8, Option<&[u8; 8]>)> {
    if v6 {
        let header: &[u8; 40] = quoted.first_chunk()?;
        return (header[0] >> 4 == 6).then(|| (header[6], quoted[40..].first_chunk()));
    }
    let header: &[u8; 20] = quoted.first_chunk()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < 20 {
        return None;
    }
    let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    let l4 = quoted
        .get(header_length..)
        .and_then(|l4| l4.first_chunk())
        .filter(|_| !later_fragment);
    Some((header[9], l4))
}

/// Whether a worker sent the quoted packet: a tunnel's UDP, or a flow translated to the port's own address.
fn is_ours(config: &SteerConfig, port: &SteerPort, v6: bool, protocol: u8, l4: &[u8; 8]) -> bool {
    let source_port = be16(l4, 0).unwrap_or(0);
    let destination_port = be16(l4, 2).unwrap_or(0);
    let tunnel = |number| matches!(number, PORT_IKE | PORT_IKE_NAT) || config.wireguard_ports.contains(&number);
    match (protocol, v6) {
        (UDP, _) => tunnel(source_port) || tunnel(destination_port) || port.is_nat_port(source_port),
        (TCP, _) => port.is_nat_port(source_port),
        (ICMP, false) => l4[0] == 8 && port.is_nat_port(be16(l4, 4).unwrap_or(0)),
        (ICMPV6, true) => l4[0] == 128 && port.is_nat_port(be16(l4, 4).unwrap_or(0)),
        _ => false,
    }
}
