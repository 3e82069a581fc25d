"""ESP straight in IP with a peer that derives its keys by itself and opens and makes each packet with scapy."""

from ..shell import until
from . import traffic
from .basics import ECHOES, LOST
from .check import Check
from .tunnel import Tunnel

ALL_BITS = 1 << 32
# Numbers of the peer's packets: no step may be longer than half of what the low bits tell apart (RFC 4303, appendix A2.1).
OVER_THE_END = (1, 2, 1 << 30, 1 << 31, 3 << 30, ALL_BITS - 3, ALL_BITS - 2, ALL_BITS - 1, ALL_BITS)
HOST_BYTES = 1000
HEADERS = 28
VOLUME = 200_000
COUNT = 200


def opened(lab, tunnel):
    """scapy verifies each of our packets, and we each of its."""
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, ECHOES)
    return lost == 0 and len(lab.b.events("opened")) >= ECHOES and not _refused(lab), lost


def over_the_end(lab, tunnel):
    """Echoes while the peer's sequence numbers pass 2^32: the high half is in the ICV alone (RFC 4303 §2.2.1)."""
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, len(OVER_THE_END) + ECHOES)
    last = max((event["sequence"] for event in lab.b.events("sealed")), default=0)
    esn = all(sa["esn"] for sa in lab.a.sas()) and lab.a.sas()[0]["sequence"] == last
    return lost == 0 and last > ALL_BITS and esn and not _refused(lab), last


def by_volume(of):
    """How much went through a child SA until it was replaced, and that no echo was lost; `of` an event."""

    def measure(lab, tunnel):
        lab.bring_up(tunnel)
        lost = traffic.ping(lab, 4, 3 * VOLUME // HOST_BYTES, 0.005, size=HOST_BYTES - HEADERS)
        until(lambda: len(lab.b.events("child")) >= 3 or "not three child SAs", 3, "keys are replaced")
        first = lab.b.events("child")[0]["spi"]
        used = sum(of(event) for event in lab.b.events("opened") if event["spi"] == first)
        limit = COUNT if of is packets else VOLUME
        return lost == 0 and 0.5 * limit <= used <= 1.5 * limit and not _refused(lab), used

    return measure


def packets(_event):
    """One."""
    return 1


def octets(event):
    """Of the inner packet."""
    return event["bytes"]


def _refused(lab):
    return lab.b.events("forged") + lab.b.events("unknown")


def tunnel(esn="off", sequences=(1,), **esp):
    return Tunnel(statement={"esp": {"esn": esn, **esp}}, sequences=sequences)


CHECKS = (
    Check("its own keys open ESP straight in IP", tunnel(), opened, LOST),
    Check("the same with extended sequence numbers", tunnel("on"), opened, LOST),
    Check("its sequence numbers pass 2^32", tunnel("on", OVER_THE_END), over_the_end, "last number"),
    Check(f"rekeyed with PFS by {VOLUME} bytes", tunnel("on", bytes=VOLUME), by_volume(octets), "bytes in the first"),
    Check(f"rekeyed with PFS by {COUNT} packets", tunnel(packets=COUNT), by_volume(packets), "packets in the first"),
)
