"""What hosts send through a tunnel, and what arrives."""

import json
import re
import sys

from ..shell import Failed, ask, must, start, stop, until
from .check import Disturbed
from .topology import HOSTS

IPERF_PORT = 5201
ECHO_PAUSE = 0.02
# Of what a stream was asked for, to call it that rate.
RATE_PART_MIN = 0.9
# Whose sockets packets wait in on their way: of the peer, where it is a program, and of the sink.
SOCKETS_OF = ("gw-b", "host-b")


def ping(lab, family=4, count=5, interval=0.05, between=None, size=56, sender="host-a"):
    """Echoes from host A to host B, or between two of their further addresses: how many of `count` were lost."""
    source, target = between or (HOSTS[family]["a"], HOSTS[family]["b"])
    answer = ask(
        *("ping", "-n", "-c", count, "-i", interval, "-W", 1, "-s", size, "-I", source, target),
        namespace=lab.namespace(sender),
        seconds=count * interval + 10,
    )
    found = re.search(r"(\d+) received", answer.output)
    return count - int(found.group(1)) if found else count


def reaches(lab, family=4, seconds=5):
    """Whether echoes pass within so many seconds: the first ones may meet a tunnel that is not quite there."""
    try:
        until(lambda: ping(lab, family, 1) == 0, seconds, "echo")
    except Failed:
        return False
    return True


def udp_flows(lab, count):
    """How many of so many flows of UDP, each with a source port of its own, are answered with a port unreachable."""
    # The host would answer six at once and one a second.
    must("sysctl", "-q", "-w", "net.ipv4.icmp_ratelimit=0", namespace=lab.namespace("host-b"))
    answer = ask(sys.executable, "-B", "-c", FLOWS, HOSTS[4]["b"], count, namespace=lab.namespace("host-a"))
    return int(answer.output) if answer.ok else 0


FLOWS = """
import socket, sys
answered = 0
opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(int(sys.argv[2]))]
for each in opened:
    each.settimeout(0.3)
    each.connect((sys.argv[1], 9))
for attempt in range(2):
    for each in list(opened):
        each.send(b"?")
        try:
            each.recv(1)
        except ConnectionRefusedError:
            answered += 1
            opened.remove(each)
        except TimeoutError:
            pass
print(answered)
"""


class Echoes:
    """Echoes that go on while something happens: `lost` of `sent` at the end."""

    def __init__(self, lab, seconds, interval=ECHO_PAUSE):
        self.count = int(seconds / interval)
        self.log = lab.directory / "echoes.log"
        self.log.unlink(missing_ok=True)
        command = ("ping", "-n", "-c", self.count, "-i", interval, "-W", 1, HOSTS[4]["b"])
        self.process = start(*command, namespace=lab.namespace("host-a"), log=self.log)

    def lost(self):
        """Waits for the end; how many were not answered, and how many were sent."""
        try:
            self.process.wait(self.count)
        finally:
            stop([self.process.pid])
        found = re.search(r"(\d+) packets transmitted, (\d+) received", self.log.read_text(errors="replace"))
        if not found:
            raise Failed("ping said nothing at its end")
        return int(found.group(1)) - int(found.group(2)), int(found.group(1))


class Stream:
    """UDP from host A to host B at a rate, in one flow or in several, counted one by one by iperf3."""

    def __init__(self, lab, megabits, seconds, flows=1):
        self.lab, self.megabits, self.seconds = lab, megabits, seconds
        self.overflowed = overflows(lab)
        self.files = [lab.directory / name for name in ("iperf-server.log", "iperf.json")]
        for file in self.files:
            file.unlink(missing_ok=True)
        listen = ("chrt", "--rr", 4, "iperf3", "-s", "-1", "-p", IPERF_PORT)
        self.server = start(*listen, namespace=lab.namespace("host-b"), log=self.files[0])
        sockets = lambda: f":{IPERF_PORT} " in ask("ss", "-Hltn", namespace=lab.namespace("host-b")).output
        until(sockets, 5, "iperf3 listens")
        bounds = ("-t", seconds, "-b", f"{megabits / flows}M", "-P", flows, "-l", 1200)
        client = ("chrt", "--rr", 4, "iperf3", "-u", "-w", "4M", "-c", HOSTS[4]["b"], "-p", IPERF_PORT, *bounds, "-J", "--get-server-output")
        self.client = start(*client, namespace=lab.namespace("host-a"), log=self.files[1])

    def finish(self):
        """`(lost, sent)`. What full sockets of the lab lost, and a sender that was kept from its core, are no fault of a tunnel's."""
        try:
            self.client.wait(self.seconds + 20)
            total = json.loads(self.files[1].read_text())["end"]["sum"]
        except (ValueError, KeyError) as unclear:
            raise Failed(f"iperf3: {unclear}: {self.files[1].read_text(errors='replace')[-300:]}") from None
        finally:
            stop([self.client.pid, self.server.pid])
        lost, sent, rate = total["lost_packets"], total["packets"], total["bits_per_second"] / 1e6
        overflowed = {name: count - self.overflowed[name] for name, count in overflows(self.lab).items()}
        if sum(overflowed.values()) >= lost > 0:
            raise Disturbed(f"{lost} of {sent} lost, counted by queues of whom the lab gave no time: {overflowed}")
        if sent == 0 or rate < RATE_PART_MIN * self.megabits:
            raise Disturbed(f"the sender came to {rate:.1f} of {self.megabits} Mbit/s")
        return lost, sent


def overflows(lab):
    """Packets that were dropped so far because somebody who takes them from a queue was kept from its core, by queue: the sockets of a peer
    that is a program and of the sink, and those of a worker which seals for another one."""
    full = {f"sockets of {role}": udp_counters(lab.namespace(role))["RcvbufErrors"] for role in SOCKETS_OF}
    gateways = [side for side in (lab.a, lab.b) if hasattr(side, "drops")]
    return full | {f"workers of {side.name}": side.drops("hand-over-full") for side in gateways}


def udp_counters(namespace):
    """Counters of a kernel's UDP, by name."""
    lines = must("cat", "/proc/net/snmp", namespace=namespace).splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
    return dict(zip(names, map(int, values)))
