//! ICMP errors, transit, and headers that cannot be.

use super::build::*;
use super::*;
use Verdict::*;

pub(crate) fn errors() -> Vec<Case> {
    let error = |kind, quoted: &[u8]| frame(&ip(OWN, ICMP, &icmp(kind, 0, quoted)));
    let error6 = |kind, quoted: &[u8]| frame(&ip(OWN6, ICMPV6, &icmp(kind, 0, quoted)));
    let esp = own_ip(FAR, ESP, &[7; 8]);
    let host = own_ip(FAR, TCP, &tcp(40000, 443));
    let nat = own_ip(FAR, TCP, &tcp(25000, 443)[..8]);
    let nat_udp = own_ip(FAR, UDP, &udp(25000, 53, &[]));
    cases([
        ("error about ESP", error(3, &esp), WorkIcmpError),
        ("time exceeded about ESP", error(11, &esp), WorkIcmpError),
        (
            "error about ESP over IPv6",
            error6(2, &own_ip(FAR6, ESP, &[7; 8])),
            WorkIcmpError,
        ),
        ("error about ESP, header alone", error(3, &esp[..20]), WorkIcmpError),
        (
            "error about ESP in UDP",
            error(3, &own_ip(FAR, UDP, &udp(4500, 4500, &[]))),
            WorkIcmpError,
        ),
        (
            "error about ESP in UDP from a floated port",
            error(3, &own_ip(FAR, UDP, &udp(4500, 61000, &[]))),
            WorkIcmpError,
        ),
        (
            "error about IKE",
            error(3, &own_ip(FAR, UDP, &udp(500, 500, &[]))),
            WorkIcmpError,
        ),
        (
            "error about WireGuard",
            error(3, &own_ip(FAR, UDP, &udp(51820, 51821, &[]))),
            WorkIcmpError,
        ),
        (
            "error about WireGuard over IPv6",
            error6(1, &own_ip(FAR6, UDP, &udp(40000, 51820, &[]))),
            WorkIcmpError,
        ),
        ("error about a translated TCP flow", error(3, &nat), WorkIcmpError),
        ("error about a translated UDP flow", error(12, &nat_udp), WorkIcmpError),
        (
            "error about a translated flow with options",
            error(3, &with_options(&nat, 2)),
            WorkIcmpError,
        ),
        (
            "error about a translated ping",
            error(11, &own_ip(FAR, ICMP, &icmp(8, 20005, &[]))),
            WorkIcmpError,
        ),
        (
            "error about a translated ping over IPv6",
            error6(3, &own_ip(FAR6, ICMPV6, &icmp(128, 20005, &[]))),
            WorkIcmpError,
        ),
        (
            "error about the host's ping",
            error(11, &own_ip(FAR, ICMP, &icmp(8, 5, &[]))),
            PassIcmpError,
        ),
        (
            "error about our echo reply",
            error(3, &own_ip(FAR, ICMP, &icmp(0, 20005, &[]))),
            PassIcmpError,
        ),
        ("error about the host's TCP", error(3, &host), PassIcmpError),
        (
            "error about the host's TCP over IPv6",
            error6(1, &own_ip(FAR6, TCP, &tcp(40000, 443))),
            PassIcmpError,
        ),
        (
            "error whose quote is cut in the IP header",
            error(3, &esp[..19]),
            PassIcmpError,
        ),
        (
            "error whose quote is cut in the ports",
            error(3, &nat[..27]),
            PassIcmpError,
        ),
        (
            "error about a later fragment",
            error(3, &fragment(nat.clone(), 0x00b9)),
            PassIcmpError,
        ),
        (
            "error that quotes the wrong version",
            error(3, &set(esp.clone(), 0, 0x55)),
            PassIcmpError,
        ),
        (
            "error that quotes a short header",
            error(3, &set(esp.clone(), 0, 0x44)),
            PassIcmpError,
        ),
        (
            "error6 that quotes IPv4",
            error6(1, &[esp.clone(), vec![0; 30]].concat()),
            PassIcmpError,
        ),
        (
            "error on the VLAN port, no NAT there",
            tagged(&frame(&ip("10.1.0.1", ICMP, &icmp(3, 0, &nat))), 7),
            PassIcmpError,
        ),
        ("redirect", error(5, &host), WorkOwn),
        ("source quench", error(4, &host), WorkOwn),
        (
            "error through us",
            frame(&ip(FAR, ICMP, &icmp(3, 0, &esp))),
            WorkTransit,
        ),
        ("ICMPv6 type 5", error6(5, &own_ip(FAR6, ESP, &[7; 8])), WorkOwn),
    ])
}

pub(crate) fn transit_and_malformed() -> Vec<Case> {
    let short_tcp = ip(OWN, TCP, &tcp(1, 22)[..19]);
    cases([
        ("TCP through us", frame(&ip(FAR, TCP, &tcp(1, 80))), WorkTransit),
        ("IPv6 through us", frame(&ip(FAR6, UDP, &udp(1, 2, &[]))), WorkTransit),
        ("BGP through us", frame(&ip(FAR, TCP, &tcp(1, 179))), WorkTransit),
        (
            "neighbour discovery through us",
            frame(&ip(FAR6, ICMPV6, &icmp(135, 0, &[0; 20]))),
            WorkTransit,
        ),
        (
            "subnet broadcast is not known here",
            frame(&ip("192.0.2.255", UDP, &udp(1, 2, &[]))),
            WorkTransit,
        ),
        (
            "IPv4 version 5",
            frame(&set(ip(OWN, TCP, &tcp(1, 22)), 0, 0x55)),
            WorkMalformed,
        ),
        (
            "IPv4 header of 16 bytes",
            frame(&set(ip(OWN, TCP, &tcp(1, 22)), 0, 0x44)),
            WorkMalformed,
        ),
        ("IPv4 header cut off", frame(&ip(OWN, TCP, &[])[..19]), WorkMalformed),
        (
            "IPv4 longer than the frame",
            frame(&set(ip(OWN, TCP, &tcp(1, 22)), 3, 41)),
            WorkMalformed,
        ),
        (
            "IPv4 shorter than its header",
            frame(&set(ip(OWN, TCP, &tcp(1, 22)), 3, 19)),
            WorkMalformed,
        ),
        (
            "IPv4 options beyond the packet",
            frame(&set(ip(OWN, UDP, &[0; 8]), 0, 0x4f)),
            WorkMalformed,
        ),
        ("IPv6 header cut off", frame(&ip(OWN6, TCP, &[])[..39]), WorkMalformed),
        (
            "IPv6 longer than the frame",
            frame(&set(ip(OWN6, TCP, &tcp(1, 22)), 5, 21)),
            WorkMalformed,
        ),
        (
            "IPv6 version 4 in the header",
            set(frame(&ip(OWN6, TCP, &tcp(1, 22))), 14, 0x40),
            WorkMalformed,
        ),
        ("TCP header cut off", frame(&short_tcp), WorkMalformed),
        ("UDP header cut off", frame(&ip(OWN, UDP, &[1; 7])), WorkMalformed),
        ("ICMP header cut off", frame(&ip(OWN, ICMP, &[8; 7])), WorkMalformed),
        (
            "ICMPv6 header cut off",
            frame(&ip(OWN6, ICMPV6, &[128; 7])),
            WorkMalformed,
        ),
        ("TCP cut off, through us", frame(&ip(FAR, TCP, &[1; 3])), WorkTransit),
        (
            "UDP length 0",
            frame(&set(set(ip(OWN, UDP, &udp(4500, 4500, &[0; 8])), 24, 0), 25, 0)),
            WorkEspUdp,
        ),
    ])
}
