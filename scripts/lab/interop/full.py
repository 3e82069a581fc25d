"""Keys are replaced at most of what the lab carries, and nothing is lost."""

import time

from ..load import Load, plain
from ..shell import Failed
from . import traffic
from .check import Disturbed
from .topology import HOSTS

WAY = ("host-a", "host-b", HOSTS[4]["b"])
# Packets per second, tried in this order until some are lost.
LADDER = (60_000, 100_000, 140_000, 180_000)
LADDER_SECONDS = 1.5
# Of the highest rate that lost nothing.
PART = 0.8
RATE_PART_MIN = 0.9
# Between two orders, which the sides give in turn; each replaces the IKE SA and all child SAs.
PAUSE = 0.5
CHILDREN, IKES = "child SA net replaced", "IKE SA replaced"


def rekeyed(seconds):
    """A check with so many seconds of load; its figure is how many of so many packets were lost, at which rate."""

    def measure(lab, tunnel):
        lab.bring_up(tunnel)
        traffic.reaches(lab)
        rate = int(PART * carried(lab))
        queues, load = traffic.Queues(lab), Load(lab, rate, WAY)
        end, order = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            time.sleep(PAUSE)
            (lab.a, lab.b)[order % 2].rekey()
            order += 1
        stream = load.finish()
        queues.blame(stream.lost, stream.sent)
        if stream.rate < RATE_PART_MIN * rate:
            raise Disturbed(f"the sender came to {stream.rate:.0f} of {rate}/s")
        if min(lab.a.said(CHILDREN), lab.a.said(IKES)) < seconds:
            raise Failed(f"{lab.a.said(CHILDREN)} child SAs and {lab.a.said(IKES)} IKE SAs replaced in {seconds} s")
        return stream.whole, f"{stream.lost} of {stream.sent} at {round(stream.rate, -3):.0f}/s"

    return measure


def carried(lab):
    """The highest rate of the ladder that lost nothing, in packets per second."""
    best = 0
    for rate in LADDER:
        stream = plain(lab, rate, LADDER_SECONDS, WAY)
        if not stream.whole:
            break
        best = stream.rate
    if not best:
        raise Disturbed(f"{stream} without a rekey")
    return best
