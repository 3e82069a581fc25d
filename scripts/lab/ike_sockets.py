"""IKE's way past the workers: steering passes it to the kernel and so to tombolod's sockets, answers leave, and a flood of it does
not touch what workers do. In place of IKE, a program with the same sockets sends back what comes."""

import re
import subprocess
import sys
import time

from . import load
from .shell import Failed, ask, stop, until
from .topology import OUTSIDE, OUTSIDE6

GATEWAY = "gw-a"
IKE, IKE_NAT = 500, 4500
MARKER = b"\0\0\0\0"
MESSAGE = bytes(range(1, 61))
PROBE_SECONDS = 2
FLOOD_RATE = 20_000
FLOOD_SECONDS = 6
PROBES = 20
PROBE_MILLISECONDS_MAX = 250


class Echo:
    """`ike-echo` in the gateway's namespace."""

    def __init__(self, lab):
        program = lab.programs / "examples" / "ike-echo"
        if not program.exists():
            raise Failed(f"{program} is not there: build first (cargo build --release -p tombolod --example ike-echo)")
        self.log = lab.directory / "ike-echo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", lab.namespace(GATEWAY), program, OUTSIDE[GATEWAY], OUTSIDE6[GATEWAY]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        until(lambda: "listening" in self.log.read_text() or self.log.read_text(), 5, "ike-echo listens")

    def counts(self):
        """Ends it; what its sockets counted."""
        output, _ = self.process.communicate(timeout=10)
        return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", output)}


def probe(lab, address, port, payload, count=1):
    """Sends datagrams from the router, one after the other; milliseconds until the answer of each, `None` without one."""
    words = [sys.executable, "-B", "-c", PROBE, address, port, payload.hex(), PROBE_SECONDS, count]
    answer = ask(*words, namespace=lab.namespace("internet"), seconds=10 + count * PROBE_SECONDS)
    if not answer.ok:
        raise Failed(f"the probe: {answer.output.strip()}")
    return [None if line == "none" else float(line) for line in answer.output.split()]


# What runs in the router's namespace.
PROBE = """
import socket, sys, time
address, port, payload, seconds = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), float(sys.argv[4])
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as ours:
    ours.settimeout(seconds)
    for _ in range(int(sys.argv[5])):
        began = time.monotonic()
        ours.sendto(payload, (address, port))
        try:
            came, source = ours.recvfrom(2048)
            print(1000 * (time.monotonic() - began) if (came, source[:2]) == (payload, (address, port)) else "none")
        except OSError:
            print("none")
        time.sleep(0.1)
"""


def passes(lab, verdicts):
    """Both ports, both families; and what is not IKE never comes so far."""
    echo = Echo(lab)
    try:
        for address in (OUTSIDE[GATEWAY], OUTSIDE6[GATEWAY]):
            for port, payload in ((IKE, MESSAGE), (IKE_NAT, MARKER + MESSAGE)):
                [took] = probe(lab, address, port, payload)
                seen = "no answer" if took is None else f"{took:.1f} ms"
                verdicts.check(f"IKE to {address} port {port} is answered from there", took is not None, seen)
        for what, payload in (("ESP", b"\1" * 60), ("a keepalive", b"\xff")):
            [took] = probe(lab, OUTSIDE[GATEWAY], IKE_NAT, payload)
            verdicts.check(f"{what} on port {IKE_NAT} has no answer", took is None)
    finally:
        counts = echo.counts()
    verdicts.check("tombolod's sockets saw the IKE alone", counts["received"] == 4 and counts["not_ike"] == 0, counts)


def flood(lab, verdicts):
    """20,000 datagrams in a second to port 500 while a tunnel is under load."""
    echo = Echo(lab)
    control = load.plain(lab, load.RATE_MIN, 2.0)
    verdicts.note(f"control run without a flood: {control}")
    stream = load.Load(lab, load.RATE_MIN)
    flooding = _flood(lab)
    try:
        time.sleep(0.5)
        times = probe(lab, OUTSIDE[GATEWAY], IKE_NAT, MARKER + MESSAGE, PROBES)
        flooding.wait(FLOOD_SECONDS + 5)
    finally:
        stop([flooding.pid])
        counts = echo.counts()
        result = stream.finish()
    answered = sorted(took for took in times if took is not None)
    verdicts.note(f"sockets: {counts}")
    verdicts.check("the flood reached the sockets", counts["received"] > FLOOD_RATE * FLOOD_SECONDS // 2, counts["received"])
    verdicts.check(f"under a flood of {FLOOD_RATE}/s no tunnel packet lost", result.whole, result)
    worst = f"{len(answered)} of {PROBES}, slowest {answered[-1]:.1f} ms" if answered else "none"
    quick = len(answered) == PROBES and answered[-1] < PROBE_MILLISECONDS_MAX
    verdicts.check(f"IKE on the other port is answered in under {PROBE_MILLISECONDS_MAX} ms meanwhile", quick, worst)


def _flood(lab):
    """The flood, from the router; it would end with its standard input."""
    to = ("--to", f"{OUTSIDE[GATEWAY]}:{IKE}", "--rate", str(FLOOD_RATE), "--seconds", str(FLOOD_SECONDS))
    with open(lab.directory / "flood.log", "wb") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", lab.namespace("internet"), lab.programs / "udp-load", "send", *to],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


SECTIONS = (passes, flood)
