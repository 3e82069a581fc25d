#!/usr/bin/env python3
"""Makes cloud.pcap and uplink.pcap beside itself, by scapy: packets of a program that is not ours.

Needs python3-scapy and python3-cryptography. The same bytes at every run.
"""

import pathlib

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import ARP, Ether
from scapy.utils import wrpcap

HERE = pathlib.Path(__file__).parent
ETHER = Ether(src="02:01:00:00:00:0a", dst="02:aa:aa:aa:aa:aa")
HOST, PEER, WEB = "10.1.0.10", "10.2.0.10", "203.0.113.80"
# As in prod-to-b.sa, its inbound half.
KEY = bytes.fromhex("22" * 32) + bytes.fromhex("44444444")


def write(name, packets):
    for number, packet in enumerate(packets):
        packet.time = 1_700_000_000 + number * 0.25
    wrpcap(str(HERE / name), packets)


def cloud():
    """What a host of cloud A sends."""
    wrong = Ether(bytes(ETHER / IP(src=HOST, dst=WEB, id=1) / UDP(sport=4000, dport=53) / b"?"))
    wrong[IP].chksum ^= 1
    return [
        ETHER / IP(src=HOST, dst=WEB, id=1) / TCP(sport=40000, dport=80, flags="S", options=[("MSS", 1460)]),
        ETHER / IP(src=HOST, dst=WEB, id=2) / UDP(sport=4000, dport=53) / b"query",
        ETHER / IP(src=HOST, dst=PEER, id=3) / ICMP(id=7, seq=1) / b"through the tunnel",
        ETHER / IP(src=HOST, dst="10.1.1.10", id=4) / UDP(sport=1, dport=2),
        ETHER / IP(src=HOST, dst="10.1.0.1", id=5) / ICMP(id=8, seq=1),
        ETHER / IP(src=HOST, dst="10.1.0.77", id=6) / UDP(sport=3, dport=4) / b"a host that nobody resolved",
        ETHER / IP(src=HOST, dst=WEB, id=7, ttl=1) / UDP(sport=33434, dport=33434),
        ETHER / IPv6(src="fd00:1::a", dst="2001:db8:c::80") / ICMPv6EchoRequest(id=9, seq=1),
        wrong,
        Ether(src=ETHER.src, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=HOST, pdst="10.1.0.1"),
        ETHER / IP(src=HOST, dst=WEB, id=8) / TCP(sport=40001, dport=80, flags="A"),
    ]


def uplink():
    """What comes to gateway A from the underlay."""
    sa = SecurityAssociation(
        ESP, spi=0x2001, crypt_algo="AES-GCM", crypt_key=KEY, tunnel_header=IP(src="198.51.100.1", dst="192.0.2.1", id=1)
    )
    inner = IP(src=PEER, dst=HOST, id=1) / UDP(sport=2000, dport=1000) / b"from cloud B"
    sealed = [bytes(sa.encrypt(inner, seq_num=number, iv=number.to_bytes(8, "big"))) for number in (1, 2)]
    forged = bytearray(sealed[1])
    forged[-1] ^= 1
    return [
        ETHER / IP(sealed[0]),
        ETHER / IP(sealed[0]),
        ETHER / IP(bytes(forged)),
        ETHER / IP(src="203.0.113.80", dst="192.0.2.1", id=9) / TCP(sport=80, dport=20000, flags="SA"),
        ETHER / IP(src=PEER, dst=HOST, id=1) / UDP(sport=2000, dport=1000) / b"not sealed",
    ]


write("cloud.pcap", cloud())
write("uplink.pcap", uplink())
