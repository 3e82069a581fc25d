"""Tunnels over veth: two gateways in a chain of four namespaces; Tombolo's ESP, two bare forwarders, strongSwan's ESP in user space."""

import time

from . import contenders
from .contenders import cpu_seconds
from .load import Load
from .veth import _attempt, forwarding, tcp_gigabits

CONTENDERS = (contenders.Bare, contenders.Tombolo, contenders.StrongSwan)
LENGTH = 1400


def measure(run):
    """All rows."""
    run.table.head("tunnels over veth: generator → gateway → gateway → sink")
    rates = {kind.name: _attempt(run, f"tunnel.{kind.name}.{LENGTH}", lambda: _udp(run, kind)) for kind in CONTENDERS}
    ours, bare, peer = (rates.get(name) for name in ("tombolo", "bare", "strongswan"))
    what = f"ESP between two gateways beside two bare forwarders, UDP {LENGTH}, what arrives under overload"
    run.table.row(f"tunnel.tombolo-to-bare.{LENGTH}", what, [ours and bare and ours["rate"] / bare["rate"]], "times")
    what = "packets delivered per CPU second of the gateways' processes, beside strongSwan's"
    run.table.row("tunnel.tombolo-to-strongswan.cpu", what, [ours and peer and ours["cpu"] / peer["cpu"]], "times")
    for kind in CONTENDERS:
        _attempt(run, f"tunnel.{kind.name}.tcp", lambda: _tcp(run, kind))


def _udp(run, kind):
    repetitions, seconds, steps = (3, 0.15, 5) if run.quick else (5, 0.5, 6)
    with forwarding(run, kind, gateways=2) as (chain, contender):
        load = Load(run, chain, LENGTH, cores=(1, 0))
        try:
            load.warm_up()
            found = [load.search(seconds, steps) for _ in range(repetitions)]
            # At the rate that the gateways can do, so that no time goes into what is dropped.
            rate = max(half for _, half, _ in found) or max(over for _, _, over in found)
            per_second = [_per_cpu_second(load, contender, rate, 2 * seconds) for _ in range(repetitions)]
        finally:
            load.close()
    name, what = f"tunnel.{kind.name}", f"{kind.name}, UDP, {LENGTH} bytes"
    zero, half, over = ([sample / 1e6 for sample in column] for column in zip(*found))
    run.table.row(f"{name}.{LENGTH}.zero-loss", f"{what}: highest rate without a loss", zero, "Mpps")
    run.table.row(f"{name}.{LENGTH}.half-percent", f"{what}: highest rate with at most 0.5 % lost", half, "Mpps")
    value = run.table.row(f"{name}.{LENGTH}", f"{what}: what arrives under overload", over, "Mpps")
    text = f"{what}: packets delivered per CPU second of the gateways' processes, user and system, at {rate:.0f}/s"
    cpu = run.table.row(f"{name}.cpu", text, per_second, "packets/s")
    return {"rate": value, "cpu": cpu}


def _per_cpu_second(load, contender, rate, seconds):
    before = cpu_seconds(contender.pids())
    trial = load.trial(rate, seconds)
    spent = cpu_seconds(contender.pids()) - before
    return trial.received["unique"] / spent if spent > 0 else None


def _tcp(run, kind):
    with forwarding(run, kind, gateways=2) as (chain, _):
        time.sleep(0.2)
        samples = [tcp_gigabits(chain, 1 if run.quick else 2) for _ in range(1 if run.quick else 5)]
    return run.table.row(f"tunnel.{kind.name}.tcp", f"{kind.name}, iperf3, one TCP connection", samples, "Gbit/s")
