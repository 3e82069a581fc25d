//! What the link itself decides: Ethernet, VLAN, broadcast and multicast.

use super::build::*;
use super::*;
use Verdict::*;

pub(crate) fn link() -> Vec<Case> {
    let arp = ethernet(BROADCAST, 0x0806, &[0; 28]);
    let ssh = frame(&ip(OWN, TCP, &tcp(50000, 22)));
    let vlan_echo = frame(&ip("10.1.0.1", ICMP, &icmp(8, 1, &[])));
    cases([
        ("ARP request", arp.clone(), PassArp),
        ("ARP reply to us", ethernet(MAC, 0x0806, &[0; 28]), PassArp),
        (
            "ARP for another station",
            ethernet(STRANGER, 0x0806, &[0; 28]),
            DropWrongMac,
        ),
        ("ARP in the VLAN", tagged(&arp, 7), PassArp),
        (
            "ARP reply in the VLAN",
            tagged(&ethernet(MAC, 0x0806, &[0; 28]), 7),
            PassArp,
        ),
        ("ARP in an unknown VLAN", tagged(&arp, 8), DropUnknownPort),
        (
            "ARP for another station of the VLAN",
            tagged(&ethernet(STRANGER, 0x0806, &[0; 28]), 7),
            DropWrongMac,
        ),
        ("priority tag counts as untagged", tagged(&ssh, 0xe000), PassSsh),
        ("VLAN port's own address", tagged(&vlan_echo, 7), PassEcho),
        ("VLAN with priority bits", tagged(&vlan_echo, 0xa007), PassEcho),
        (
            "VLAN port's own address without the tag",
            vlan_echo.clone(),
            WorkTransit,
        ),
        (
            "BGP to the VLAN port",
            tagged(&frame(&ip("10.1.0.1", TCP, &tcp(50000, 179))), 7),
            PassBgp,
        ),
        (
            "IKE to the VLAN port",
            tagged(&frame(&ip("10.1.0.1", UDP, &udp(500, 500, &[1; 28]))), 7),
            PassIke,
        ),
        (
            "ESP to the VLAN port",
            tagged(&frame(&ip("10.1.0.1", ESP, &[1; 40])), 7),
            WorkEsp,
        ),
        (
            "neighbour solicitation in the VLAN",
            tagged(
                &frame_to(MULTICAST6, &ip("ff02::1:ff00:1", ICMPV6, &icmp(135, 0, &[0; 20]))),
                7,
            ),
            PassNeighbour,
        ),
        (
            "link-local ping in the VLAN",
            tagged(&frame(&ip(LINK_LOCAL, ICMPV6, &icmp(128, 1, &[]))), 7),
            PassEcho,
        ),
        ("untagged port's own address in the VLAN", tagged(&ssh, 7), WorkTransit),
        (
            "service tag",
            set(set(tagged(&vlan_echo, 7), 12, 0x88), 13, 0xa8),
            PassEcho,
        ),
        ("two tags", tagged(&tagged(&ssh, 5), 7), DropEthertype),
        ("tag cut off", ethernet(MAC, 0x8100, &[0, 7]), DropTruncated),
        ("bare Ethernet header", ethernet(MAC, 0x0800, &[]), WorkMalformed),
        (
            "LLDP",
            ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc, &[0; 46]),
            DropEthertype,
        ),
        (
            "spanning tree (length field)",
            ethernet([1, 0x80, 0xc2, 0, 0, 0], 0x0026, &[0; 46]),
            DropEthertype,
        ),
        ("PPPoE", ethernet(MAC, 0x8864, &[0; 46]), DropEthertype),
        (
            "another station's MAC",
            frame_to(STRANGER, &ip(FAR, TCP, &tcp(1, 80))),
            DropWrongMac,
        ),
        (
            "SSH to another station's MAC",
            frame_to(STRANGER, &ip(OWN, TCP, &tcp(1, 22))),
            DropWrongMac,
        ),
    ])
}

pub(crate) fn group() -> Vec<Case> {
    let solicitation = icmp(135, 0, &[0; 20]);
    let discover = ip("255.255.255.255", UDP, &udp(68, 67, &[0; 240]));
    let hop_254 = set(ip("ff02::1:ff00:1", ICMPV6, &solicitation), 7, 254);
    cases([
        ("DHCP discover", frame_to(BROADCAST, &discover), PassDhcp),
        (
            "DHCP offer, broadcast",
            frame_to(BROADCAST, &ip("255.255.255.255", UDP, &udp(67, 68, &[0; 240]))),
            PassDhcp,
        ),
        ("DHCP to the broadcast address, our MAC", frame(&discover), PassDhcp),
        (
            "DHCP offer, own address",
            frame(&ip(OWN, UDP, &udp(67, 68, &[0; 240]))),
            PassDhcp,
        ),
        (
            "DHCP renewal of a host behind us",
            frame(&ip(FAR, UDP, &udp(67, 68, &[0; 240]))),
            WorkTransit,
        ),
        (
            "DHCP fragment",
            frame_to(BROADCAST, &fragment(discover.clone(), 0x2000)),
            DropGroup,
        ),
        (
            "DHCPv6 solicit",
            frame_to(MULTICAST6, &ip("ff02::1:2", UDP, &udp(546, 547, &[0; 20]))),
            PassDhcp,
        ),
        (
            "DHCPv6 reply",
            frame(&ip(LINK_LOCAL, UDP, &udp(547, 546, &[0; 20]))),
            PassDhcp,
        ),
        (
            "DHCPv4 ports over IPv6",
            frame_to(MULTICAST6, &ip("ff02::1", UDP, &udp(68, 67, &[0; 20]))),
            DropGroup,
        ),
        (
            "neighbour solicitation",
            frame_to(MULTICAST6, &ip("ff02::1:ff00:1", ICMPV6, &solicitation)),
            PassNeighbour,
        ),
        (
            "neighbour solicitation, unicast",
            frame(&ip(OWN6, ICMPV6, &solicitation)),
            PassNeighbour,
        ),
        (
            "neighbour advertisement",
            frame(&ip(LINK_LOCAL, ICMPV6, &icmp(136, 0, &[0; 20]))),
            PassNeighbour,
        ),
        (
            "router advertisement",
            frame_to(MULTICAST6, &ip("ff02::1", ICMPV6, &icmp(134, 0, &[0; 8]))),
            PassNeighbour,
        ),
        (
            "router solicitation",
            frame_to(MULTICAST6, &ip("ff02::2", ICMPV6, &icmp(133, 0, &[]))),
            PassNeighbour,
        ),
        (
            "neighbour solicitation that was routed",
            frame_to(MULTICAST6, &hop_254),
            DropGroup,
        ),
        (
            "the same, unicast",
            frame(&set(ip(OWN6, ICMPV6, &solicitation), 7, 64)),
            WorkOwn,
        ),
        (
            "MLD report",
            frame_to(MULTICAST6, &ip("ff02::16", 0, &[58, 0, 5, 2, 0, 0, 1, 0, 143, 0])),
            DropGroup,
        ),
        (
            "multicast ping",
            frame_to(MULTICAST6, &ip("ff02::1", ICMPV6, &icmp(128, 1, &[]))),
            DropGroup,
        ),
        (
            "mDNS",
            frame_to(
                [1, 0, 0x5e, 0, 0, 0xfb],
                &ip("224.0.0.251", UDP, &udp(5353, 5353, &[0; 9])),
            ),
            DropGroup,
        ),
        (
            "OSPF hello",
            frame_to([1, 0, 0x5e, 0, 0, 5], &ip("224.0.0.5", 89, &[0; 44])),
            DropGroup,
        ),
        (
            "unicast in a broadcast frame",
            frame_to(BROADCAST, &ip(OWN, TCP, &tcp(1, 22))),
            DropGroup,
        ),
        (
            "multicast to our MAC",
            frame(&ip("239.1.2.3", UDP, &udp(1, 2, &[]))),
            DropGroup,
        ),
        (
            "broadcast, IP cut off",
            ethernet(BROADCAST, 0x0800, &[0x45; 10]),
            DropGroup,
        ),
        (
            "broadcast UDP cut off",
            frame_to(BROADCAST, &ip("255.255.255.255", UDP, &[0, 68, 0, 67])),
            DropGroup,
        ),
    ])
}
