"""Over veth: the gateway, a bare forwarder, the kernel, and the kernel with masquerade, each in an equal chain of namespaces."""

import contextlib
import signal
import time

from lab.measure import iperf
from lab.shell import Failed, must

from . import contenders
from .chain import Chain
from .load import Load

FIXED_RATE = 100_000
# Below this, in Mpps, the bare forwarder was disturbed.
BARE_MIN = 0.5
CONTENDERS = (contenders.Bare, contenders.Tombolo, contenders.Kernel, contenders.Masquerade)
# Devices must have room for the tunnel's headers, too; native XDP on veth takes no more than this.
MTUS = (1500, 3498)


@contextlib.contextmanager
def forwarding(run, kind, gateways=1, mtu=1500):
    """A chain in which `kind` forwards."""
    chain = Chain(gateways, mtu, gateway_addresses=kind.addresses)
    contender = kind(run, chain)
    try:
        chain.build()
        contender.start()
        chain.know_neighbours()
        yield chain, contender
    finally:
        # Ctrl-C waits until the namespaces are gone.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        contender.stop()
        chain.remove()
        signal.signal(signal.SIGINT, before)


def measure(run):
    """All rows."""
    run.table.head("over veth, one way: generator → gateway → sink; Mpps")
    for length in (64, 1400):
        # The kernel's cost hardly depends on the length.
        kinds = CONTENDERS[:2] if run.quick and length > 64 else CONTENDERS
        _udp(run, kinds, length)
    for mtu in MTUS[:1] if run.quick else MTUS:
        for kind in CONTENDERS:
            _attempt(run, f"veth.{kind.name}.tcp-{mtu}", lambda: _tcp(run, kind, mtu))


def _attempt(run, name, work):
    try:
        return work()
    except (Failed, OSError, ValueError) as failed:
        run.table.row(name, f"not measured: {' '.join(str(failed).split())[-400:]}", [], "")
        return None


def _udp(run, kinds, length):
    """All contenders at a time, each in its own chain, measured in turns: what disturbs one disturbs all."""
    repetitions, seconds, steps = (3, 0.15, 5) if run.quick else (5, 0.5, 6)
    with contextlib.ExitStack() as stack:
        loads = {}
        for kind in kinds:
            load = _attempt(run, f"veth.{kind.name}.{length}", lambda: _loaded(run, stack, kind, length))
            if load:
                loads[kind] = load
        found = {kind: [] for kind in loads}
        for _ in range(repetitions):
            for kind, load in loads.items():
                found[kind].append(load.search(seconds, steps))
        rates = {}
        for kind, load in loads.items():
            rates[kind.name] = _rows(run, kind, length, found[kind])
            latency = load.trial(FIXED_RATE, 0.5 if run.quick else 2)
            _latency(run, f"veth.{kind.name}.{length}", f"{kind.name}, UDP, {length} bytes", latency)
    _ratio(run, rates, length)


def _loaded(run, stack, kind, length):
    """A chain with generator and sink, until the stack unwinds."""
    chain, _ = stack.enter_context(forwarding(run, kind))
    load = Load(run, chain, length)
    stack.callback(load.close)
    load.warm_up()
    return load


def _rows(run, kind, length, found):
    name, what = f"veth.{kind.name}.{length}", f"{kind.name}, UDP, {length} bytes, 256 flows"
    zero, half, over = ([sample / 1e6 for sample in column] for column in zip(*found))
    note = ""
    if kind is contenders.Bare and max(over) < BARE_MIN:
        note = f" [disturbed: less than {BARE_MIN} Mpps]"
    run.table.row(f"{name}.zero-loss", f"{what}: highest rate without a loss{note}", zero, "Mpps")
    run.table.row(f"{name}.half-percent", f"{what}: highest rate with at most 0.5 % lost{note}", half, "Mpps")
    run.table.row(name, f"{what}: what arrives under overload{note}", over, "Mpps")
    return {"zero": zero, "half": half, "over": over}


def _latency(run, name, what, trial):
    seen = trial.received
    percentiles = ", ".join(f"{key} {seen[key]:.0f}" for key in ("p50", "p90", "p99", "p999", "max"))
    text = f"{what}: µs at {FIXED_RATE}/s: {percentiles}; {trial.loss:.4%} lost; value: p99, min: p50, max: p99.9"
    run.table.row(f"{name}.latency", text, [seen["p99"]], "µs", min=round(seen["p50"], 1), max=round(seen["p999"], 1))


def _ratio(run, rates, length):
    ours, bare = rates.get("tombolo"), rates.get("bare")
    if ours and bare:
        goals = (("zero", "", "without a loss"), ("half", ".half-percent", "0.5 % lost"), ("over", ".overload", "overload"))
        for goal, name, text in goals:
            what = f"policy and source NAT beside the bare forwarder in the same minute, {length} bytes, {text}"
            samples = [mine / limit for mine, limit in zip(ours[goal], bare[goal]) if limit]
            run.table.row(f"veth.gateway-to-bare.{length}{name}", what, samples, "times")


def tcp_gigabits(chain, seconds):
    """Gbit/s of one TCP connection; the server is started and ended."""
    server = contenders.listening(chain)
    try:
        end = iperf(chain.namespaces["gen"], chain.address("sink", "left"), seconds=seconds)
    finally:
        server.terminate()
        server.wait()
    return end and end["sum_received"]["bits_per_second"] / 1e9


def _tcp(run, kind, mtu):
    with forwarding(run, kind, mtu=mtu) as (chain, _):
        must("ping", "-n", "-c", 2, "-i", 0.2, chain.address("sink", "left"), namespace=chain.namespaces["gen"])
        time.sleep(0.1)
        samples = [tcp_gigabits(chain, 1 if run.quick else 2) for _ in range(1 if run.quick else 5)]
    what = f"{kind.name}, iperf3, one TCP connection, MTU {mtu}, checksum offload of the ends off"
    return run.table.row(f"veth.{kind.name}.tcp-{mtu}", what, samples, "Gbit/s")
