//! What speaks to an own address: the host's services and connections, NAT.

use super::build::*;
use super::*;
use Verdict::*;

pub(crate) fn kernel() -> Vec<Case> {
    cases([
        ("SSH", frame(&ip(OWN, TCP, &tcp(50000, 22))), PassSsh),
        ("SSH over IPv6", frame(&ip(OWN6, TCP, &tcp(50000, 22))), PassSsh),
        (
            "SSH to a link-local address",
            frame(&ip(LINK_LOCAL, TCP, &tcp(50000, 22))),
            PassSsh,
        ),
        ("SSH through us", frame(&ip(FAR, TCP, &tcp(50000, 22))), WorkTransit),
        (
            "SSH with IP options",
            frame(&with_options(&ip(OWN, TCP, &tcp(50000, 22)), 3)),
            PassSsh,
        ),
        (
            "SSH with all IP options",
            frame(&with_options(&ip(OWN, TCP, &tcp(50000, 22)), 10)),
            PassSsh,
        ),
        ("UDP port 22", frame(&ip(OWN, UDP, &udp(50000, 22, &[]))), WorkOwn),
        ("BGP", frame(&ip(OWN, TCP, &tcp(50000, 179))), PassBgp),
        (
            "BGP answer to our connection",
            frame(&ip(OWN6, TCP, &tcp(179, 40000))),
            PassHostReply,
        ),
        ("service over TCP", frame(&ip(OWN, TCP, &tcp(50000, 9100))), PassService),
        (
            "the same port over UDP",
            frame(&ip(OWN, UDP, &udp(50000, 9100, &[]))),
            WorkOwn,
        ),
        (
            "service over UDP",
            frame(&ip(OWN6, UDP, &udp(50000, 3784, &[]))),
            PassService,
        ),
        (
            "host's connection, first port",
            frame(&ip(OWN, TCP, &tcp(443, 32768))),
            PassHostReply,
        ),
        (
            "host's connection, last port",
            frame(&ip(OWN, UDP, &udp(53, 60999, &[]))),
            PassHostReply,
        ),
        (
            "below the host's ports",
            frame(&ip(OWN, TCP, &tcp(443, 32767))),
            WorkOwn,
        ),
        (
            "above the host's ports",
            frame(&ip(OWN, TCP, &tcp(443, 61000))),
            WorkOwn,
        ),
        ("a port forward", frame(&ip(OWN, TCP, &tcp(50000, 8080))), WorkOwn),
        (
            "echo request",
            frame(&ip(OWN, ICMP, &icmp(8, 20000, &[0; 56]))),
            PassEcho,
        ),
        (
            "echo request over IPv6",
            frame(&ip(OWN6, ICMPV6, &icmp(128, 20000, &[0; 56]))),
            PassEcho,
        ),
        (
            "echo request through us",
            frame(&ip(FAR, ICMP, &icmp(8, 1, &[0; 56]))),
            WorkTransit,
        ),
        (
            "echo reply to the host",
            frame(&ip(OWN, ICMP, &icmp(0, 19999, &[0; 56]))),
            PassHostReply,
        ),
        (
            "echo reply to the host over IPv6",
            frame(&ip(OWN6, ICMPV6, &icmp(129, 30000, &[]))),
            PassHostReply,
        ),
        (
            "timestamp request",
            frame(&ip(OWN, ICMP, &icmp(13, 1, &[0; 12]))),
            WorkOwn,
        ),
        ("ICMPv6 over IPv4", frame(&ip(OWN, ICMPV6, &icmp(128, 1, &[]))), WorkOwn),
        ("ICMP over IPv6", frame(&ip(OWN6, ICMP, &icmp(8, 1, &[]))), WorkOwn),
        ("GRE", frame(&ip(OWN, 47, &[0; 8])), WorkOwn),
        (
            "padding to 60 bytes",
            [frame(&ip(OWN, TCP, &tcp(50000, 22))), vec![0; 6]].concat(),
            PassSsh,
        ),
    ])
}

pub(crate) fn nat() -> Vec<Case> {
    cases([
        ("NAT, first port", frame(&ip(OWN, TCP, &tcp(443, 20000))), WorkNat),
        ("NAT, last port", frame(&ip(OWN, UDP, &udp(53, 29999, &[1]))), WorkNat),
        ("below NAT's ports", frame(&ip(OWN, TCP, &tcp(443, 19999))), WorkOwn),
        ("above NAT's ports", frame(&ip(OWN, TCP, &tcp(443, 30000))), WorkOwn),
        ("NAT over IPv6", frame(&ip(OWN6, TCP, &tcp(443, 25000))), WorkNat),
        (
            "NAT's port on a port without NAT",
            tagged(&frame(&ip("10.1.0.1", TCP, &tcp(1, 25000))), 7),
            WorkOwn,
        ),
        (
            "NAT's echo reply",
            frame(&ip(OWN, ICMP, &icmp(0, 20001, &[0; 56]))),
            WorkNat,
        ),
        (
            "NAT's echo reply over IPv6",
            frame(&ip(OWN6, ICMPV6, &icmp(129, 29999, &[]))),
            WorkNat,
        ),
    ])
}
