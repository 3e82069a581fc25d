"""First messages of IKE from strangers, many in a second, out of the namespace that this runs in.

    flood.py FROM TO PORT KIND SOURCES RATE SECONDS

FROM, TO: IPv4 addresses. KIND: `message`, a whole IKE_SA_INIT that could begin an IKE SA, or `garbage`, which has its header alone and
random bytes. SOURCES: addresses from FROM on that take turns. Prints how many were sent.
"""

import os
import socket
import struct
import sys
import time

MADE = 8192
IKE_HEADER, UDP_HEADER = 28, 8
SA_INIT, INITIATOR = 34, 8
# AES-256-GCM with SHA-384 and with SHA-256, X25519: what profiles offer first, and what the lab's peers do.
PROPOSAL = (
    (1, struct.pack("!HHH", 20, 0x800E, 256)),
    (2, struct.pack("!H", 6)),
    (2, struct.pack("!H", 5)),
    (4, struct.pack("!H", 31)),
)
GARBAGE_BYTES = 300
# Behind by more, it does not catch up: a burst would measure queues.
BURST = 2000


def payload(following, body):
    return struct.pack("!BBH", following, 0, 4 + len(body)) + body


def transforms():
    words = b""
    for at, (kind, value) in enumerate(PROPOSAL):
        last = at == len(PROPOSAL) - 1
        words += struct.pack("!BBHBB", 0 if last else 3, 0, 6 + len(value), kind, 0) + value
    return words


def message(kind):
    """IKE_SA_INIT with an SPI, a nonce and a public value of its own."""
    listed = transforms()
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(listed), 1, 1, 0, len(PROPOSAL)) + listed
    whole = payload(34, proposal) + payload(40, struct.pack("!HH", 31, 0) + os.urandom(32)) + payload(0, os.urandom(32))
    body = whole if kind == "message" else os.urandom(GARBAGE_BYTES)
    return os.urandom(8) + bytes(8) + struct.pack("!BBBBII", 33, 0x20, SA_INIT, INITIATOR, 0, IKE_HEADER + len(body)) + body


def datagram(source, target, port, kind):
    """In IPv4 and UDP; the kernel fills in length and checksum of IP, and UDP's may be absent."""
    ike = (bytes(4) if port == 4500 else b"") + message(kind)
    udp = struct.pack("!HHHH", port, port, UDP_HEADER + len(ike), 0) + ike
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, source, target) + udp


def main():
    first, to, port, kind, sources, rate, seconds = sys.argv[1:]
    port, sources, rate, seconds = int(port), int(sources), int(rate), float(seconds)
    begin = int.from_bytes(socket.inet_aton(first), "big")
    addresses = [(begin + at).to_bytes(4, "big") for at in range(sources)]
    made = [datagram(addresses[at % sources], socket.inet_aton(to), port, kind) for at in range(MADE)]
    sent, skipped, began = 0, 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(elapsed * rate) - sent - skipped
            skipped += max(0, due - BURST)
            for _ in range(min(due, BURST)):
                raw.sendto(made[sent % MADE], (to, 0))
                sent += 1
            time.sleep(0.0005)
    print(sent)


if __name__ == "__main__":
    main()
