"""The nonces of ESP packets in a capture inside the underlay: (SPI, sequence number) and (SPI, IV) name them. And what must
not be there at all: packets with addresses of the clouds."""

import re
import struct
import time

from .shell import alive, start, stop, until
from .underlay import ESP, ETHERNET_BYTES, IPV4, IPV6, NAT_TRAVERSAL_PORT, UDP, frames, ip_payload

# Ethernet, IPv6, UDP and the first 16 bytes of ESP, rounded up.
SNAP_BYTES = 96
BUFFER_KIB = 64 * 1024
# The kernel hands packets over in blocks; one that is not full comes after up to a second, or is lost with tcpdump's end.
LAST_BLOCK_SECONDS = 1.5
FILE_HEADER = 24
RECORD_HEADER = 16
UDP_BYTES = 8
ESP_HEAD = 16
CLOUDS = ("10.0.0.0/8", "fd00::/8")


class NonceCapture:
    """tcpdump of ESP's heads on a device of the router, with a buffer that stands a loaded machine."""

    def __init__(self, namespace, device, file):
        self.file = file
        self.log = file.with_suffix(".log")
        self.log.write_bytes(b"")
        self.process = start(
            *("tcpdump", "-Z", "root", "-n", "-s", SNAP_BYTES, "-B", BUFFER_KIB, "-i", device, "-w", file),
            " or ".join(["esp", f"udp port {NAT_TRAVERSAL_PORT}", *(f"net {prefix}" for prefix in CLOUDS)]),
            namespace=namespace,
            log=self.log,
        )
        until(self._listens, 5, "tcpdump in the underlay listens")

    def _listens(self):
        text = self.log.read_text(errors="replace")
        return True if "listening on" in text else text if alive(self.process.pid) else f"ended: {text}"

    def stop(self):
        """Ends tcpdump; how many packets it missed: the kernel's drops, and what it was given but did not write."""
        time.sleep(LAST_BLOCK_SECONDS)
        stop([self.process.pid])
        text = self.log.read_text(errors="replace")
        counts = [re.search(rf"(\d+) packets {what}", text) for what in ("captured", "received by filter", "dropped by kernel")]
        if not all(counts):
            return None
        captured, received, dropped = (int(count[1]) for count in counts)
        return received - captured + dropped

    def packets(self):
        """All ESP packets of the file."""
        return list(esp_packets(self.file.read_bytes()))

    def clear(self):
        """How many packets bear addresses of the clouds, which nothing outside a tunnel may."""
        return sum(is_of_clouds(frame) for frame in frames(self.file.read_bytes()))


class Esp:
    """One packet's head; `time` as time.time()."""

    __slots__ = ("time", "spi", "sequence", "iv")

    def __init__(self, time, spi, sequence, iv):
        self.time = time
        self.spi = spi
        self.sequence = sequence
        self.iv = iv


def esp_packets(pcap):
    """ESP packets, bare or in UDP, of a pcap file in this machine's byte order."""
    at = FILE_HEADER
    while at + RECORD_HEADER <= len(pcap):
        seconds, microseconds, captured = struct.unpack_from("=III", pcap, at)
        at += RECORD_HEADER
        if at + captured > len(pcap):
            return
        protocol, payload = ip_payload(pcap[at : at + captured])
        at += captured
        if protocol == UDP and NAT_TRAVERSAL_PORT in struct.unpack_from("!HH", payload.ljust(4, b"\0")):
            payload = payload[UDP_BYTES:]
        elif protocol != ESP:
            continue
        if len(payload) >= ESP_HEAD:
            # SPI 0 in UDP is IKE (RFC 3948 §2.2); AES-GCM and ChaCha20-Poly1305 have an IV of 8 bytes.
            spi, sequence, iv = struct.unpack_from("!IIQ", payload)
            if spi != 0:
                yield Esp(seconds + microseconds / 1e6, spi, sequence, iv)


def repeated(packets):
    """The (SPI, sequence number) and (SPI, IV) pairs that come more than once."""
    sequences, ivs, twice = set(), set(), []
    for packet in packets:
        for kind, seen, pair in (
            ("sequence", sequences, (packet.spi, packet.sequence)),
            ("IV", ivs, (packet.spi, packet.iv)),
        ):
            if pair in seen:
                twice.append((kind, *pair))
            seen.add(pair)
    return twice


def is_of_clouds(frame):
    """Whether source or destination lies in one of `CLOUDS`."""
    ethertype = int.from_bytes(frame[ETHERNET_BYTES - 2 : ETHERNET_BYTES], "big")
    packet = frame[ETHERNET_BYTES:]
    if ethertype == IPV4:
        return 10 in (packet[12], packet[16])
    return ethertype == IPV6 and 0xFD in (packet[8], packet[24])
