"""What passes on the router's links, as tcpdump and tshark see it."""

import dataclasses
import ipaddress
import re

from ..shell import Failed, ask, start, stop, until
from ..underlay import ETHERNET_BYTES, UDP, ip_payload, records

# RFC 7296's words in Wireshark's table of keys, by strongSwan's.
ENCRYPTION = {("AES_GCM_16", "256"): "AES-GCM-256 with 16 octet ICV [RFC5282]", ("AES_GCM_16", "128"): "AES-GCM-128 with 16 octet ICV [RFC5282]"}


IKE_PORT, NAT_TRAVERSAL_PORT = 500, 4500
# Ahead of an IKE message on port 4500 (RFC 3948 §2.2).
MARKER = bytes(4)
KEEPALIVE = b"\xff"


@dataclasses.dataclass(frozen=True)
class Datagram:
    """UDP: when, as time.time(), from which address and port, to which port."""

    time: float
    source: str
    source_port: int
    port: int
    payload: bytes

    @property
    def is_ike(self):
        """Whether it is an IKE message, of either port's form."""
        return IKE_PORT in (self.source_port, self.port) or len(self.payload) > 4 and self.payload[:4] == MARKER


class Capture:
    """A capture on one of the router's devices, from `start` to `stop`."""

    def __init__(self, lab, device, expression="udp port 500 or udp port 4500 or udp portrange 30000-40999"):
        self.file = lab.directory / f"{device}.pcap"
        self.log = lab.directory / f"{device}.tcpdump"
        for file in (self.file, self.log):
            file.unlink(missing_ok=True)
        command = ("tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", self.file, expression)
        self.process = start(*command, namespace=lab.namespace("router"), log=self.log)
        until(lambda: "listening on" in self.log.read_text(errors="replace"), 10, "tcpdump listens")

    def stop(self):
        """Ends it; whatever was seen is in the file."""
        stop([self.process.pid])

    def datagrams(self):
        """All UDP datagrams of the file, in order."""
        return list(_datagrams(self.file.read_bytes()))

    def sources(self, address):
        """UDP ports that packets from this address came from."""
        return {datagram.source_port for datagram in self.datagrams() if datagram.source == address}

    def decrypted(self, keys, *fields):
        """tshark with the keys of one IKE SA (`IkeKeys`): the values of these fields, a line for each message."""
        options = ("-o", f"uat:ikev2_decryption_table:{keys.row()}", "-Y", "isakmp", "-T", "fields")
        names = [word for field in fields for word in ("-e", field)]
        answer = ask("tshark", "-n", "-r", self.file, *options, *names, seconds=30)
        if not answer.ok:
            raise Failed(f"tshark: {answer.output.strip()[-300:]}")
        return answer.output.splitlines()


def _datagrams(pcap):
    for seconds, frame in records(pcap):
        protocol, payload = ip_payload(frame)
        if protocol != UDP or len(payload) < 8:
            continue
        packet = frame[ETHERNET_BYTES:]
        source = packet[8:24] if packet[0] >> 4 == 6 else packet[12:16]
        ports = (int.from_bytes(payload[at : at + 2], "big") for at in (0, 2))
        yield Datagram(seconds, str(ipaddress.ip_address(source)), *ports, payload[8:])


class IkeKeys:
    """Keys of an IKE SA as the peer's log shows them, which only this check asks for."""

    def __init__(self, initiator_spi, responder_spi, encryption, log):
        self.spis = (initiator_spi, responder_spi)
        self.encryption = ENCRYPTION[encryption]
        self.keys = {name: secret(log, name) for name in ("Sk_ei", "Sk_er")}

    def row(self):
        """A row of Wireshark's table; AEAD has no key of integrity."""
        words = (*self.spis, self.keys["Sk_ei"], self.keys["Sk_er"])
        integrity = "NONE [RFC4306]"
        return f'{words[0]},{words[1]},{words[2]},{words[3]},"{self.encryption}",,,"{integrity}"'


def secret(log, name):
    """The last secret of that name in a log of charon: `Sk_ei secret => 36 bytes @ …`, then lines of 16 bytes in hex."""
    found = re.findall(rf"{name} secret => (\d+) bytes @ \S+\n((?:.*?\b\d+: (?:[0-9A-F]{{2}} )+.*\n)+)", log)
    if not found:
        raise Failed(f"the peer's log has no {name}")
    length, lines = found[-1]
    octets = re.findall(r"\b\d+: ((?:[0-9A-F]{2} )+)", lines)
    return "".join(octets).replace(" ", "").lower()[: 2 * int(length)]
