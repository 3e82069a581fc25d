"""Tunnels over veth: two gateways in a chain of four namespaces; Tombolo's ESP, two bare forwarders, strongSwan's ESP in user space."""

import contextlib

from . import contenders
from .contenders import cpu_seconds
from .contest import Contest, tcp

CONTENDERS = (contenders.Bare, contenders.Tombolo, contenders.StrongSwan)
LENGTH = 1400
# All of them can do that.
FIXED_RATE = 10_000


def measure(run):
    """All rows."""
    run.table.head("tunnels over veth: generator → gateway → gateway → sink")
    repetitions, seconds, steps = (5, 0.08, 4) if run.quick else (5, 0.4, 6)
    with contextlib.ExitStack() as stack:
        contest = Contest(run, stack, "tunnel", CONTENDERS, LENGTH, gateways=2)
        contest.search(repetitions, seconds, steps)
        contest.latency(FIXED_RATE, 5, 0.1 if run.quick else 0.5)
        what = f"ESP between two gateways beside two bare forwarders, trial by trial in turns, UDP {LENGTH}"
        contest.ratios(f"tunnel.tombolo-to-bare.{LENGTH}", what, "tombolo", "bare")
        _per_cpu_second(run, contest, repetitions, 2 * seconds)
    tcp(run, "tunnel", CONTENDERS, 1 if run.quick else 5, gateways=2)


def _per_cpu_second(run, contest, repetitions, seconds):
    """At the rate that each can do, so that no time goes into what is dropped."""
    samples = {name: [] for name in contest.loads}
    rates = {name: 1e6 * (max(half) or max(over)) for name, (_, half, over) in contest.found.items()}
    for _ in range(repetitions):
        for name, load in contest.loads.items():
            pids = contest.contenders[name].pids()
            before = cpu_seconds(pids)
            trial = load.trial(rates[name], seconds)
            spent = cpu_seconds(pids) - before
            samples[name].append(trial.seen["unique"] / spent if spent > 0 else None)
    text = "packets delivered per CPU second of the gateways' processes, user and system"
    for name in contest.loads:
        what = f"{contest.what(name)}: {text}, at {rates[name]:.0f}/s"
        run.table.row(f"tunnel.{name}.cpu", what, samples[name], "packets/s")
    for other in ("strongswan", "bare"):
        pairs = zip(samples.get("tombolo", []), samples.get(other, []))
        ratios = [mine / its for mine, its in pairs if mine and its]
        if ratios:
            run.table.row(f"tunnel.tombolo-to-{other}.cpu", f"{text}, beside {other}'s", ratios, "times")
