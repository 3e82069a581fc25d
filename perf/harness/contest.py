"""Contenders, each in an equal chain of namespaces, all there at the same time and measured in turns: what disturbs one disturbs all,
and a ratio is one of trials of the same moment."""

import collections
import contextlib
import itertools
import signal
import statistics

from lab.measure import iperf
from lab.shell import Failed, must

from . import contenders
from .chain import Chain
from .contenders import wakeups
from .load import Load, search_in_turns

# Below this, in Mpps, the bare forwarder of a single gateway was disturbed.
BARE_MIN = 0.5
PERCENTILES = ("p50", "p90", "p99", "p999", "max")
# Of a connection's tenths of a second, so many warm up.
TCP_WARM_UP = 3


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
        # Whoever interrupts waits until the namespaces are gone.
        with uninterrupted():
            chain.remove()
            contender.stop()


@contextlib.contextmanager
def uninterrupted():
    """Neither Ctrl-C nor a request to end is heard."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attempt(run, name, work):
    """What `work` returns; if it fails, the row of that name says so, and the run fails in the end."""
    try:
        return work()
    except (Failed, OSError, ValueError) as failed:
        run.table.fail(name, f"not measured: {' '.join(str(failed).split())[-400:]}")
        return None


class Contest:
    """Contenders at UDP packets of one length; leaves with the stack."""

    def __init__(self, run, stack, prefix, kinds, length, gateways=1):
        self.run, self.prefix, self.length, self.gateways = run, prefix, length, gateways
        self.contenders, self.loads, self.found = {}, {}, {}
        for kind in kinds:
            attempt(run, self.row_of(kind.name), lambda kind=kind: self._enter(stack, kind))

    def _enter(self, stack, kind):
        chain, contender = stack.enter_context(forwarding(self.run, kind, self.gateways))
        load = Load(self.run, chain, self.length)
        stack.callback(load.close)
        load.warm_up()
        self.contenders[kind.name], self.loads[kind.name] = contender, load

    def row_of(self, name):
        """Beginning of the names of a contender's rows."""
        return f"{self.prefix}.{name}.{self.length}"

    def what(self, name):
        """Beginning of the texts of a contender's rows."""
        return f"{name}, UDP, {self.length} bytes, 256 flows"

    def search(self, repetitions, seconds, steps):
        """Rows of the highest rates at zero loss and at half a percent, and of what arrives under overload."""
        rounds = [search_in_turns(self.loads, seconds, steps) for _ in range(repetitions)]
        for name in self.loads:
            columns = zip(*(found[name] for found in rounds))
            self.found[name] = [[sample / 1e6 for sample in column] for column in columns]
        note = self.note()
        for name, (zero, half, over) in self.found.items():
            row, what = self.row_of(name), self.what(name)
            self.run.table.row(f"{row}.zero-loss", f"{what}: highest rate without a loss{note}", zero, "Mpps")
            self.run.table.row(f"{row}.half-percent", f"{what}: highest rate with at most 0.5 % lost{note}", half, "Mpps")
            self.run.table.row(row, f"{what}: what arrives under overload{note}", over, "Mpps")

    def note(self):
        """What is to be said about every row when the bare forwarder itself was slow."""
        bare = self.found.get("bare")
        slow = bare and self.gateways == 1 and statistics.median(bare[2]) < BARE_MIN
        return f" [disturbed: bare forwarder below {BARE_MIN} Mpps]" if slow else ""

    def latency(self, rate, repetitions, seconds):
        """A row of percentiles at a fixed rate for each: medians of the repetitions."""
        trials, woken = {name: [] for name in self.loads}, collections.Counter()
        for _ in range(repetitions):
            for name, load in self.loads.items():
                pids = self.contenders[name].pids()
                before = wakeups(pids)
                trials[name].append(load.trial(rate, seconds))
                woken[name] += wakeups(pids) - before
        for name, seen in trials.items():
            middle = {key: statistics.median(trial.seen[key] for trial in seen) for key in PERCENTILES}
            sent = sum(trial.sent for trial in seen)
            lost = sum(trial.loss * trial.sent for trial in seen) / max(1, sent)
            text = ", ".join(f"{key} {value:.0f}" for key, value in middle.items())
            if woken[name]:
                text += f"; {sent * self.gateways / woken[name]:.1f} packets a wakeup"
            what = f"{self.what(name)}: µs at {rate}/s: {text}; {lost:.4%} lost; value: p99, min: p50, max: p99.9{self.note()}"
            spread = {"min": round(middle["p50"], 1), "max": round(middle["p999"], 1)}
            self.run.table.row(f"{self.row_of(name)}.latency", what, [middle["p99"]], "µs", **spread)

    def ratios(self, name, what, ours, limit):
        """Rows of `ours` beside `limit`, repetition by repetition, for each of the three rates."""
        if ours not in self.found or limit not in self.found:
            return
        goals = (("", "without a loss"), (".half-percent", "0.5 % lost"), (".overload", "overload"))
        for (suffix, goal), mine, its in zip(goals, self.found[ours], self.found[limit]):
            samples = [one / other for one, other in zip(mine, its) if other]
            self.run.table.row(f"{name}{suffix}", f"{what}, {goal}{self.note()}", samples, "times")


def tcp(run, prefix, kinds, repetitions, gateways=1, mtu=1500, suffix=""):
    """A row of iperf3's rate for each."""
    with contextlib.ExitStack() as stack:
        chains, samples = {}, {}
        for kind in kinds:
            row = f"{prefix}.{kind.name}.tcp{suffix}"
            chain = attempt(run, row, lambda kind=kind: _connected(run, stack, kind, gateways, mtu))
            if chain:
                chains[row], samples[row] = (kind, chain), []
        for _, (row, (_, chain)) in itertools.product(range(repetitions), chains.items()):
            samples[row] += _gigabits(chain, tenths=run.quick)
        for row, (kind, _) in chains.items():
            what = f"{kind.name}, iperf3, one TCP connection, MTU {mtu}, checksum offload of the ends off"
            if samples[row]:
                run.table.row(row, what, samples[row], "Gbit/s")
            else:
                run.table.fail(row, f"{what}: no connection")


def _connected(run, stack, kind, gateways, mtu):
    chain, _ = stack.enter_context(forwarding(run, kind, gateways, mtu))
    must("ping", "-n", "-c", 2, "-i", 0.2, chain.address("sink", "left"), namespace=chain.namespaces["gen"])
    contenders.listening(chain)
    return chain


def _gigabits(chain, tenths):
    """Of one second of a connection: the rate at which it arrived; or, for want of time, of its tenths as they were sent."""
    end = iperf(chain.namespaces["gen"], chain.address("sink", "left"), *(("-i", 0.1) if tenths else ()), seconds=1, whole=True)
    if end is None:
        return []
    if not tenths:
        return [end["end"]["sum_received"]["bits_per_second"] / 1e9]
    return [interval["sum"]["bits_per_second"] / 1e9 for interval in end["intervals"][TCP_WARM_UP:]]
