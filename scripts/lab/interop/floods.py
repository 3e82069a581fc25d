"""20,000 first messages of IKE each second, from one stranger and from many, on both ports, whole and garbage: an established peer
does not notice."""

import pathlib
import re
import sys

from .. import flood
from ..shell import Failed, must, start, stop, until
from . import traffic
from .check import Check
from .lifetimes import replaced, replays
from .topology import OUTSIDE
from .tunnel import Tunnel

RATE = 20_000
SECONDS = 6
# Of what is asked for, to call it that rate.
RATE_PART_MIN = 0.95
MEGABITS = 20
REKEYS = 4
# The peer would send again after 500.
MILLISECONDS_MAX = 250
# Where strangers come from; what is answered ends at the router.
STRANGERS = {1: "203.0.113.7", 4096: "100.64.0.1"}
NETS = ("203.0.113.0/24", "100.64.0.0/16")
PROGRAM = pathlib.Path(flood.__file__)


class Flood:
    """From the router to gateway A."""

    def __init__(self, lab, port, kind, sources):
        self.log = lab.directory / "flood.log"
        self.log.unlink(missing_ok=True)
        words = (STRANGERS[sources], OUTSIDE[4]["a"], port, kind, sources, RATE, SECONDS)
        self.process = start(sys.executable, "-B", PROGRAM, *words, namespace=lab.namespace("router"), log=self.log)

    def sent(self):
        """Waits for its end; how many there were."""
        try:
            self.process.wait(SECONDS + 10)
        finally:
            stop([self.process.pid])
        text = self.log.read_text()
        if not text.strip().isdigit():
            raise Failed(f"the flood: {text.strip()[-200:]}")
        return int(text)


def rekeys(lab):
    """The peer replaces child and IKE SA by turns; milliseconds from its questions to their answers, and how often it asked again."""
    before = lab.b.words()
    for turn in range(REKEYS):
        what, now = (lab.b.rekey_child, lab.b.children) if turn % 2 == 0 else (lab.b.rekey_ike, lab.b.ike)
        was = set(now())
        what()
        until(lambda now=now, was=was: replaced(was, now()), 10, "the peer replaces its keys")
    words = lab.b.words()[len(before) :]
    asked = times(words, "generating CREATE_CHILD_SA request")
    answered = times(words, "parsed CREATE_CHILD_SA response")
    if len(asked) != REKEYS or len(answered) != REKEYS:
        raise Failed(f"the peer asked {len(asked)} times and was answered {len(answered)} times")
    again = len(re.findall("retransmit", words))
    return [round(1000 * (end - begin)) for begin, end in zip(asked, answered)], again


def times(words, what):
    """Seconds at which the peer's log says this."""
    return [float(found) for found in re.findall(rf"^(\d+\.\d+) .*{what}", words, re.MULTILINE)]


def arrived(lab):
    """UDP datagrams that came to the sockets of gateway A's kernel, taken by tombolod or not."""
    lines = must("cat", "/proc/net/snmp", namespace=lab.namespace("gw-a")).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    counts = dict(zip(names, values))
    return int(counts["InDatagrams"]) + int(counts["RcvbufErrors"])


def unnoticed(port, kind, sources):
    """A check of one kind of flood."""

    def measure(lab, tunnel):
        for net in NETS:
            must("ip", "-n", lab.namespace("router"), "route", "replace", "blackhole", net)
        lab.bring_up(tunnel)
        traffic.reaches(lab)
        stream = traffic.Stream(lab, MEGABITS, SECONDS)
        before = arrived(lab)
        flooding = Flood(lab, port, kind, sources)
        loaded, again = rekeys(lab)
        sent = flooding.sent()
        lost, _, _ = stream.finish()
        if sent < RATE_PART_MIN * RATE * SECONDS:
            raise Failed(f"the flood came to {sent / SECONDS:.0f}/s only")
        if (reached := arrived(lab) - before) < RATE_PART_MIN * sent:
            raise Failed(f"{reached} of {sent} reached the sockets of IKE")
        if lost or replays(lab):
            raise Failed(f"{lost} packets of the tunnel lost, {replays(lab)} replays")
        return again == 0 and max(loaded) < MILLISECONDS_MAX, max(loaded)

    return measure


def undisturbed(lab, tunnel):
    """The same without a flood, to compare with."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    took, again = rekeys(lab)
    return again == 0, max(took)


KINDS = {"message": "IKE_SA_INIT", "garbage": "garbage"}
FLOODS = (
    (500, "message", 1),
    (500, "message", 4096),
    (4500, "message", 4096),
    (4500, "garbage", 1),
    (500, "garbage", 4096),
)

CHECKS = (
    Check("no flood: rekey", Tunnel(strangers=True), undisturbed, "ms"),
    *(
        Check(f"flood of {KINDS[kind]} from {sources} to {port}: rekey", Tunnel(strangers=True), unnoticed(port, kind, sources), "ms")
        for port, kind, sources in FLOODS
    ),
)
