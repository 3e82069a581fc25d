"""A peer for tests/scapy_peer.rs: scapy's IPsec on one line of text per request and answer.

seal CIPHER KEY SPI SEQUENCE ESN OUTER UDP INNER   -> ok OUTER-PACKET
open CIPHER KEY SPI SEQUENCE ESN OUTER UDP PACKET  -> ok INNER
anything that goes wrong                           -> error TEXT

KEY (with the salt at its end), INNER and packets are hex; SEQUENCE is all 64 bits; ESN and UDP are 0 or 1; OUTER is 4 or 6.
"""

import sys

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation

CIPHERS = {"aes-gcm": "AES-GCM", "chacha20-poly1305": "CHACHA20-POLY1305"}


def association(cipher, key, spi, esn, outer, udp):
    tunnel = IP(src="192.0.2.1", dst="198.51.100.1") if outer == "4" else IPv6(src="2001:db8:a::1", dst="2001:db8:b::1")
    return SecurityAssociation(
        ESP,
        spi=int(spi),
        crypt_algo=CIPHERS[cipher],
        crypt_key=bytes.fromhex(key),
        tunnel_header=tunnel,
        nat_t_header=UDP(sport=4500, dport=4500) if udp == "1" else None,
        esn_en=esn == "1",
    )


def packet(data):
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def answer(verb, cipher, key, spi, sequence, esn, outer, udp, data):
    peer = association(cipher, key, spi, esn, outer, udp)
    sequence = int(sequence)
    # scapy takes a high or low half of 0 as "not given" and falls back to these.
    peer.seq_num, peer.esn = sequence & 0xFFFFFFFF, sequence >> 32
    data = bytes.fromhex(data)
    if verb == "seal":
        return bytes(peer.encrypt(packet(data), iv=sequence.to_bytes(8, "big")))
    if verb == "open":
        return bytes(peer.decrypt(packet(data)))
    raise ValueError(verb)


for line in sys.stdin:
    try:
        print("ok", answer(*line.split()).hex(), flush=True)
    except Exception as error:  # the other side decides whether a refusal was expected
        print("error", type(error).__name__, str(error).replace("\n", " "), flush=True)
