"""A prefix behind a tunnel is never reached without it: not by the default route, not translated, at no moment.

A host sends canaries to that prefix, and beside them what may leave by the default route, which shows that this way is open."""

import sys
import time

from ..processes import running
from ..shell import Failed, start, stop, until
from ..underlay import frames, ip_payload
from . import traffic
from .capture import Capture
from .check import Check
from .topology import HOSTS, OUTSIDE
from .trouble import DPD_SECONDS
from .tunnel import Tunnel

CANARY, ALLOWED = b"canary: in a tunnel or nowhere", b"allowed to leave by the uplink"
ELSEWHERE = "203.0.113.80"
# How long things stay as an event left them.
SECONDS = 1.5

# One flow that lasts, and new ones all the time, for each of two targets.
SENDER = """
import socket, sys, time
targets = [(sys.argv[1], sys.argv[2].encode()), (sys.argv[3], sys.argv[4].encode())]
lasting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for address, payload in targets:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as new:
            for each in (lasting, new):
                try:
                    each.sendto(payload, (address, 9))
                except OSError:
                    pass
    time.sleep(0.005)
"""


class Canaries:
    """They fly until `end`; a capture on the underlay watches."""

    def __init__(self, lab):
        log = lab.directory / "canaries.log"
        words = (HOSTS[4]["b"], CANARY.decode(), ELSEWHERE, ALLOWED.decode())
        self.capture = Capture(lab, "to-a", "ip")
        self.process = start(sys.executable, "-B", "-c", SENDER, *words, namespace=lab.namespace("host-a"), log=log)

    def end(self):
        """`(canaries in clear, packets that left by the default route and were translated)`."""
        stop([self.process.pid])
        time.sleep(0.2)
        self.capture.stop()
        seen = list(frames(self.capture.file.read_bytes()))
        ours = bytes(map(int, OUTSIDE[4]["a"].split(".")))
        clear = sum(CANARY in frame for frame in seen)
        return clear, sum(ALLOWED in frame and frame[26:30] == ours and ip_payload(frame)[0] == 17 for frame in seen)


def never_in_clear(event, starts_up=True):
    """A check: the event happens while canaries fly."""

    def measure(lab, tunnel):
        if starts_up:
            lab.bring_up(tunnel)
            if not traffic.reaches(lab):
                raise Failed("the tunnel carries nothing")
        else:
            lab.b.kill()
            lab.a.kill()
        canaries = Canaries(lab)
        try:
            time.sleep(0.5)
            event(lab, tunnel)
            time.sleep(SECONDS)
        finally:
            clear, left = canaries.end()
        if not left:
            raise Failed("nothing left by the default route: the check would see no canary either")
        return clear == 0, clear

    return measure


def started(lab, _tunnel):
    """With a peer that is not there, then with one that comes."""
    lab.a.again()
    time.sleep(SECONDS)
    lab.b.again()
    until(lambda: bool(lab.b.ike()), 20, "the tunnel comes up")


def control_killed(lab, _tunnel):
    """And started again."""
    lab.a.kill_control()
    time.sleep(SECONDS)
    lab.a.again()


def dataplane_killed(lab, _tunnel):
    """tombolod starts the next one."""
    running(lab.a, other_than=lab.a.kill_dataplane())


def by_order(lab, tunnel):
    """Down, and up again."""
    lab.a.forget()
    time.sleep(SECONDS)
    lab.bring_up(tunnel)


def peer_dead(lab, _tunnel):
    """Until it is noticed, and after."""
    lab.b.kill()
    until(lambda: not lab.a.ike(), 15, "the dead peer is noticed")


def removed(lab, tunnel):
    """The tunnel leaves the configuration, which discards its prefix, and is there again."""
    whole = lab.a.configuration(tunnel)
    prod = [route if "tunnel" not in route else {"to": route["to"], "action": "discard"} for route in whole["routes"]["prod"]]
    lab.a.apply({**whole, "tunnels": {}, "routes": {**whole["routes"], "prod": prod}})
    time.sleep(SECONDS)
    lab.a.apply(whole)
    lab.bring_up(tunnel)


TUNNEL = Tunnel(profile="tombolo", internet=True, dpd_seconds={"a": DPD_SECONDS})
EVENTS = (
    ("start-up, first without a peer", started, False),
    ("tombolod is killed", control_killed, True),
    ("the dataplane is killed", dataplane_killed, True),
    ("the tunnel goes down by order", by_order, True),
    ("the peer is dead", peer_dead, True),
    ("the tunnel leaves the configuration", removed, True),
)
CHECKS = tuple(Check(name, TUNNEL, never_in_clear(event, starts_up), "in clear") for name, event, starts_up in EVENTS)
