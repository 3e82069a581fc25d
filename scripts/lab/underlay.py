"""What passes through the underlay: a capture inside it, and what is in there.

The gateway's own devices show redirected frames to no tcpdump; the router's end of the link does.
"""

import struct

from .shell import alive, start, stop, until

ETHERNET_BYTES = 14
IPV4 = 0x0800
IPV6 = 0x86DD
IPV6_BYTES = 40
ESP = 50
UDP = 17
NAT_TRAVERSAL_PORT = 4500


class Capture:
    """tcpdump on a device of the router, into a file."""

    def __init__(self, namespace, device, file):
        self.file = file
        self.log = file.with_suffix(".log")
        # Not as another user (-Z): the file lies in a directory of root's.
        self.process = start(
            *("tcpdump", "-Z", "root", "-n", "-s", 0, "-U", "--immediate-mode", "-i", device, "-w", file),
            namespace=namespace,
            log=self.log,
        )
        until(self._listens, 5, "tcpdump in the underlay listens")

    def _listens(self):
        text = self.log.read_text(errors="replace")
        return True if "listening on" in text else text if alive(self.process.pid) else f"ended: {text}"

    def holds(self, text):
        """Whether a string was captured so far."""
        return text.encode() in self.file.read_bytes()

    def stop(self):
        """Ends tcpdump; the file is complete then."""
        stop([self.process.pid])

    def count_esp(self):
        """(ESP packets, ESP-in-UDP packets) in the file."""
        plain = encapsulated = 0
        for frame in frames(self.file.read_bytes()):
            protocol, payload = ip_payload(frame)
            if protocol == ESP:
                plain += 1
            elif protocol == UDP and NAT_TRAVERSAL_PORT in struct.unpack_from("!HH", payload.ljust(4, b"\0")):
                encapsulated += 1
        return plain, encapsulated


def frames(pcap):
    """Frames of a pcap file in this machine's byte order; a cut last one is left out."""
    return (frame for _, frame in records(pcap))


def records(pcap):
    """`(time.time(), frame)` of the same."""
    header, record = 24, 16
    at = header
    while at + record <= len(pcap):
        seconds, microseconds, captured = struct.unpack_from("=III", pcap, at)
        at += record
        if at + captured > len(pcap):
            return
        yield seconds + microseconds / 1e6, pcap[at : at + captured]
        at += captured


def ip_payload(frame):
    """(protocol, payload) of an Ethernet frame with IPv4 or IPv6 (no extension headers), else (None, b"")."""
    packet = frame[ETHERNET_BYTES:]
    ethertype = struct.unpack_from("!H", frame.ljust(ETHERNET_BYTES, b"\0"), 12)[0]
    if ethertype == IPV4 and len(packet) >= 20:
        return packet[9], packet[(packet[0] & 0xF) * 4 :]
    if ethertype == IPV6 and len(packet) >= IPV6_BYTES:
        return packet[6], packet[IPV6_BYTES:]
    return None, b""
