"""A prefix behind a tunnel is never reached without it: not by the default routes, not translated, at no moment; another tunnel or nothing.

A host sends canaries to that prefix, and beside them what may leave by the default routes, which shows that these ways are open."""

import dataclasses
import sys
import time

from ..processes import running
from ..shell import Failed, start, stop, until
from ..underlay import frames
from . import traffic
from .between import FLOWS, NO_IPV4, bundle_up
from .capture import Capture
from .check import Check
from .tombolo import member_names
from .topology import HOSTS, OUTSIDE
from .trouble import DPD_SECONDS
from .tunnel import Tunnel

CANARY, ALLOWED = b"canary: in a tunnel or nowhere", b"allowed to leave by the uplink"
ELSEWHERE = {4: "203.0.113.80", 6: "2001:db8:e::80"}
FAMILIES = tuple(ELSEWHERE)
# How long things stay as an event left them.
SECONDS = 1.5

# One flow that lasts, and new ones all the time, to each of the targets.
SENDER = """
import socket, sys, time
targets = [(address, payload.encode()) for address, payload in zip(sys.argv[1::2], sys.argv[2::2])]
family = lambda address: socket.AF_INET6 if ":" in address else socket.AF_INET
lasting = {each: socket.socket(each, socket.SOCK_DGRAM) for each in (socket.AF_INET, socket.AF_INET6)}
while True:
    for address, payload in targets:
        with socket.socket(family(address), socket.SOCK_DGRAM) as new:
            for each in (lasting[family(address)], new):
                try:
                    each.sendto(payload, (address, 9))
                except OSError:
                    pass
    time.sleep(0.005)
"""


class Canaries:
    """They fly until `end`, in both families; a capture on the underlay watches."""

    def __init__(self, lab):
        log = lab.directory / "canaries.log"
        words = [word for family in FAMILIES for word in (HOSTS[family]["b"], CANARY.decode(), ELSEWHERE[family], ALLOWED.decode())]
        self.capture = Capture(lab, "to-a", "ip or ip6")
        self.process = start(sys.executable, "-B", "-c", SENDER, *words, namespace=lab.namespace("host-a"), log=log)

    def end(self):
        """`(canaries in clear, packets of the rarer family that left by the default route and were translated)`."""
        stop([self.process.pid])
        time.sleep(0.2)
        self.capture.stop()
        clear = sum(CANARY in frame for frame in frames(self.capture.file.read_bytes()))
        left = [datagram.source for datagram in self.capture.datagrams() if datagram.payload == ALLOWED]
        return clear, min(left.count(OUTSIDE[family]["a"]) for family in FAMILIES)


def never_in_clear(event, starts_up=True):
    """A check: the event happens while canaries fly."""

    def measure(lab, tunnel):
        if not starts_up:
            lab.b.kill()
            lab.a.kill()
        elif tunnel.bundle:
            bundle_up(lab, tunnel)
        else:
            lab.bring_up(tunnel)
        if starts_up and not all(traffic.reaches(lab, family) for family in FAMILIES):
            raise Failed("the tunnel carries nothing")
        canaries = Canaries(lab)
        try:
            time.sleep(0.5)
            event(lab, tunnel)
            time.sleep(SECONDS)
        finally:
            clear, left = canaries.end()
        if not left:
            raise Failed("nothing left by a default route: the check would see no canary either")
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
    """Down, which is where its packets are discarded, and up again."""
    discarded = lab.a.drops("tunnel-down")
    lab.a.forget()
    time.sleep(SECONDS)
    if lab.a.drops("tunnel-down") == discarded:
        raise Failed("no packet was discarded for the tunnel that is down")
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


def member_down(lab, tunnel):
    """One of two tunnels is taken down: the other one carries its flows at once."""
    lab.a.take_down(member_names(tunnel)[0])
    carried_by_second(lab, tunnel)


def member_dead(lab, tunnel):
    """The path of one of two is dead: the other one carries its flows as soon as that is noticed."""
    lab.topology.rules(NO_IPV4)
    first = member_names(tunnel)[0]
    until(lambda: not lab.a.is_up(first), 15, "the dead path is noticed")
    carried_by_second(lab, tunnel)


def carried_by_second(lab, tunnel):
    """Whatever is for the prefixes goes by the second tunnel, and nothing by the first."""
    packets = lambda: [sum(sa["packets"] for sa in lab.a.sas("outbound", name)) for name in member_names(tunnel)]
    before = packets()
    until(lambda: traffic.udp_flows(lab, FLOWS) == FLOWS and traffic.ping(lab, 6, 1) == 0, 5, "the other tunnel carries all flows")
    first, second = (now - then for now, then in zip(packets(), before))
    if first > 0 or second < FLOWS:
        raise Failed(f"{first} packets by the tunnel that is down, {second} by the other one")


TUNNEL = Tunnel(profile="tombolo", internet=True, inside=FAMILIES, dpd_seconds={"a": DPD_SECONDS})
TWO = dataclasses.replace(TUNNEL, bundle=(4, 6), dpd_seconds={"a": DPD_SECONDS, "b": DPD_SECONDS})
EVENTS = (
    ("start-up, first without a peer", started, False),
    ("tombolod is killed", control_killed, True),
    ("the dataplane is killed", dataplane_killed, True),
    ("the tunnel goes down by order", by_order, True),
    ("the peer is dead", peer_dead, True),
    ("the tunnel leaves the configuration", removed, True),
)
MOVES = (("one of two tunnels is taken down, the other carries all", member_down), ("one of two tunnels is dead, the other carries all", member_dead))
CHECKS = (
    *(Check(name, TUNNEL, never_in_clear(event, starts_up), "in clear") for name, event, starts_up in EVENTS),
    *(Check(name, TWO, never_in_clear(event), "in clear") for name, event in MOVES),
)
