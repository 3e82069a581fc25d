"""Over veth: the gateway, a bare forwarder, the kernel, and the kernel with masquerade."""

import contextlib

from . import contenders
from .contest import Contest, tcp

FIXED_RATE = 100_000
CONTENDERS = (contenders.Bare, contenders.Tombolo, contenders.Kernel, contenders.Masquerade)
LENGTHS = (64, 1400)
# Devices must have room for the tunnel's headers, too; native XDP on veth takes no more than this.
MTUS = (1500, 3498)


def measure(run):
    """All rows."""
    run.table.head("over veth, one way: generator → gateway → sink; Mpps")
    for length in LENGTHS:
        # The kernel's cost hardly depends on the length.
        _udp(run, CONTENDERS[:2] if run.quick and length > 64 else CONTENDERS, length)
    for mtu in MTUS:
        tcp(run, "veth", CONTENDERS, 1 if run.quick else 5, mtu=mtu, suffix=f"-{mtu}")


def _udp(run, kinds, length):
    with contextlib.ExitStack() as stack:
        contest = Contest(run, stack, "veth", kinds, length)
        contest.search(*((5, 0.08, 4) if run.quick else (7, 0.4, 6)))
        contest.latency(FIXED_RATE, 5, 0.1 if run.quick else 0.4)
        what = f"policy and source NAT beside the bare forwarder, trial by trial in turns, {length} bytes"
        contest.ratios(f"veth.gateway-to-bare.{length}", what, "tombolo", "bare")
