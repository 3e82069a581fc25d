"""The program of the packet peer: IKE by `packet_ike`, ESP straight in IP by scapy, echoes answered inside the tunnel.

    python3 packet_peer.py LOCAL REMOTE ESN SEQUENCES < SECRET

ESN: 0 or 1. SEQUENCES: numbers of the first packets it sends, with commas; it counts on from the last. Each event is a line of JSON
on standard output: a child SA, a packet that scapy opened, one that it could not.
"""

import json
import logging
import select
import socket
import sys

import packet_ike

logging.getLogger("scapy").setLevel(logging.CRITICAL)
from scapy.layers.inet import ICMP, IP  # noqa: E402
from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation  # noqa: E402

ECHO, ECHO_REPLY = 8, 0


def say(**event):
    print(json.dumps(event), flush=True)


class Tunnel:
    """ESP of all child SAs."""

    def __init__(self, local, remote, sequences):
        self.outer = IP(src=local, dst=remote)
        self.sequences = sequences
        self.inbound, self.outbounds, self.outbound, self.counted = {}, {}, None, 0

    def add(self, child):
        """A child SA that IKE made. In place of another one it is sent through once a packet has come through it: until then the other
        side may not have it yet (RFC 7296 §2.8)."""
        extended = dict(esn_en=child.esn)
        common = dict(crypt_algo="AES-GCM", tunnel_header=self.outer)
        own, far = (int.from_bytes(spi, "big") for spi in (child.own_spi, child.far_spi))
        self.inbound[own] = SecurityAssociation(ESP, spi=own, crypt_key=child.inbound, **common, **extended), child
        self.outbounds[own] = SecurityAssociation(ESP, spi=far, crypt_key=child.outbound, **common), child
        if self.outbound is None:
            self.send_through(own)
        say(event="child", spi=own, esn=child.esn)

    def send_through(self, own):
        """From now on."""
        self.outbound, self.counted = self.outbounds.pop(own), 0

    def answer(self, datagram):
        """The sealed answer to a sealed echo."""
        packet = IP(datagram)
        spi, sequence = packet[ESP].spi, packet[ESP].seq
        if spi not in self.inbound:
            say(event="unknown", spi=spi)
            return None
        association, child = self.inbound[spi]
        try:
            # Nobody sends 2^32 packets here: the high half is 0, and in the ICV only with ESN.
            inner = association.decrypt(packet, esn_en=child.esn, esn=0)
        except IPSecIntegrityError:
            say(event="forged", spi=spi, sequence=sequence)
            return None
        if spi in self.outbounds:
            self.send_through(spi)
        say(event="opened", spi=spi, sequence=sequence, bytes=len(inner))
        if ICMP not in inner or inner[ICMP].type != ECHO:
            return None
        reply = IP(src=inner.dst, dst=inner.src) / ICMP(type=ECHO_REPLY, id=inner[ICMP].id, seq=inner[ICMP].seq) / inner[ICMP].payload
        return self.seal(reply)

    def seal(self, inner):
        """With the next sequence number; the high half is not on the wire."""
        association, child = self.outbound
        listed = self.counted < len(self.sequences)
        self.sequence = self.sequences[self.counted] if listed else self.sequence + 1
        self.counted += 1
        high, low = divmod(self.sequence, 1 << 32)
        say(event="sealed", sequence=self.sequence)
        # scapy takes a number of 0 for none.
        association.seq_num = low
        return bytes(association.encrypt(IP(bytes(inner)), seq_num=low or None, esn_en=child.esn, esn=high))


def main():
    local, remote, esn, sequences = sys.argv[1:]
    secret = sys.stdin.read().encode()
    tunnel = Tunnel(local, remote, [int(number) for number in sequences.split(",")])
    ike = packet_ike.Ike(local, remote, secret, esn == "1", tunnel.add)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((local, 500))
    esp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ESP)
    esp.bind((local, 0))
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    say(event="listening")
    while True:
        for ready in select.select([udp, esp], [], [])[0]:
            datagram, sender = ready.recvfrom(65535)
            if ready is udp:
                if answer := ike.handle(datagram):
                    udp.sendto(answer, sender)
            elif answer := tunnel.answer(datagram):
                raw.sendto(answer, (remote, 0))


if __name__ == "__main__":
    main()
