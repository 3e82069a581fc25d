"""20,000 first messages of IKE each second, from one stranger and from many, on both ports, whole and garbage: an established peer
does not notice."""

import itertools
import pathlib
import re
import sys
import time

from .. import flood
from ..shell import Failed, must, start, stop, until
from . import traffic
from .check import Check, Disturbed
from .lifetimes import replaced, replays
from .topology import OUTSIDE
from .tunnel import Tunnel

RATE = 20_000
SECONDS = 4
# Of what is asked for, to call it that rate.
RATE_PART_MIN = 0.95
MEGABITS = 20
# Our last message of a rekey, in the words of the peer that takes it.
GOODBYE = r"parsed INFORMATIONAL request \d+ \[ D"
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
    """Both sides replace child and IKE SA by turns; milliseconds from the peer's questions to their answers, and from our orders until
    the peer hears that its old keys may go; and how often one of both asked again."""
    before, orders = lab.b.words(), []
    for what, now in (("rekey_child", lab.b.children), ("rekey_ike", lab.b.ike)):
        for side in (lab.b, lab.a):
            was = set(now())
            if side is lab.a:
                orders.append(time.time())
            getattr(side, what)()
            until(lambda now=now, was=was: replaced(was, now()), 10, "keys are replaced")
    told = lambda pattern: times(lab.b.words()[len(before) :], pattern)
    asked, answered = told("generating CREATE_CHILD_SA request"), told("parsed CREATE_CHILD_SA response")
    until(lambda: len(told(GOODBYE)) >= len(orders), 2, "we say goodbye to the old keys")
    if len(asked) != len(orders) or len(answered) != len(orders):
        raise Failed(f"the peer asked {len(asked)} times and was answered {len(answered)} times")
    again = len(re.findall("retransmit", lab.b.words()[len(before) :]))
    took = [*zip(asked, answered), *zip(orders, told(GOODBYE))]
    return [round(1000 * (end - begin)) for begin, end in took], again


def times(words, what):
    """Seconds at which the peer's log says this."""
    return [float(found) for found in re.findall(rf"^(\d+\.\d+) .*{what}", words, re.MULTILINE)]


def arrived(lab):
    """UDP datagrams that came to the sockets of gateway A's kernel, taken by tombolod or not."""
    counts = traffic.udp_counters(lab.namespace("gw-a"))
    return counts["InDatagrams"] + counts["RcvbufErrors"]


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
        under_it = flooding.process.poll() is None
        sent = flooding.sent()
        lost, _ = stream.finish()
        if not under_it or sent < RATE_PART_MIN * RATE * SECONDS:
            raise Disturbed(f"the flood came to {sent / SECONDS:.0f}/s only, or was over too soon")
        if (reached := arrived(lab) - before) < RATE_PART_MIN * sent:
            raise Disturbed(f"{reached} of {sent} reached the sockets of IKE")
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
FLOODS = tuple(itertools.product((500, 4500), KINDS, STRANGERS))

CHECKS = (
    Check("no flood: rekey", Tunnel(strangers=True), undisturbed, "ms", noisy=True),
    *(
        Check(
            f"flood of {KINDS[kind]} from {sources} to {port}: rekey",
            Tunnel(strangers=True),
            unnoticed(port, kind, sources),
            "ms",
            noisy=True,
        )
        for port, kind, sources in FLOODS
    ),
)
