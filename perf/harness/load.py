"""Generator and sink (perf/src/bin/packet-load.rs), and the search for the rate at which nothing is lost."""

import contextlib
import json
import subprocess

from lab.shell import Failed

OVERLOAD = 2_000_000
# A sender that comes to less than this of what was asked says nothing about the rate.
SENDER_MIN = 0.97
WARM_UP_RATE = 10_000
RESOLUTION = 0.02
# Whoever delivers less than this under overload may do better without.
BROKEN = 200_000
# Loss ratios of the two goals, as MLRsearch calls them: none, and half a percent.
GOALS = (0.0, 0.005)


class Program:
    """`packet-load`, which takes orders line by line."""

    def __init__(self, namespace, *command):
        command = [str(word) for word in command]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if self.process.stdout.readline().strip() != "ready":
            _, error = self.process.communicate(timeout=10)
            raise Failed(f"packet-load: {error.strip()}")

    def ask(self, order):
        """Gives an order; its answer."""
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"packet-load has ended: {self.process.stderr.read().strip()}")
        return json.loads(line)

    def close(self):
        """Ends it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Load:
    """Streams from one end of a chain to the other, one way."""

    def __init__(self, run, chain, length, core=1, flows=256):
        chain.know_neighbours()
        self.stream = 0
        self.program = Program(
            chain.namespaces["sink"],
            *(run.programs["packet-load"], "left", "--from", f"/run/netns/{chain.namespaces['gen']}", "--device", "right"),
            *("--mac", chain.mac("gen", "right"), "--next", chain.mac("gw-a", "left"), "--core", core),
            *("--source", chain.address("gen", "right"), "--destination", chain.address("sink", "left")),
            *("--flows", flows, "--length", length),
        )

    def trial(self, rate, seconds):
        """One stream."""
        self.stream += 1
        return Trial(rate, self.program.ask(f"{int(rate)} {int(seconds * 1000)} {self.stream}"))

    def warm_up(self):
        """Flows are established, neighbours known."""
        for _ in range(10):
            if self.trial(WARM_UP_RATE, 0.1).seen["unique"] > 0:
                self.trial(WARM_UP_RATE, 0.1)
                return
        raise Failed(f"no packet gets through at {WARM_UP_RATE}/s")

    def kill(self):
        """Ends it in the middle of a stream."""
        self.program.process.kill()

    def close(self):
        """Ends it."""
        self.program.close()


def search(steps):
    """A search for the highest rates that reach the goals: yields rates and is sent what came of each. Returns them, in packets per
    second, and what arrives under overload."""
    overload = yield OVERLOAD
    trials, best = [overload], {}
    # The looser goal first: its trials narrow the search for the other.
    for goal in reversed(GOALS):
        low = max((trial.delivered for trial in trials if trial.loss <= goal), default=0)
        lossy = (trial.rate for trial in trials if trial.loss > goal and trial.rate > low)
        high = min(lossy, default=OVERLOAD)
        # More than arrives under overload hardly arrives without loss, unless it was overload that broke the path.
        high = min(high, max(low, 1.05 * overload.delivered, BROKEN))
        for _ in range(steps):
            if high - low < RESOLUTION * high:
                break
            trial = yield (low + high) / 2
            trials.append(trial)
            if trial.loss > goal:
                high = trial.rate
                continue
            low = max(low, trial.delivered)
            if not trial.counts:
                break
        best[goal] = low
    return best[0.0], max(best.values()), overload.delivered


def search_in_turns(loads, seconds, steps):
    """A search on each of the loads, by name, trial by trial in turns: what disturbs one disturbs all."""
    searches = {name: search(steps) for name in loads}
    rates = {name: next(running) for name, running in searches.items()}
    found = {}
    while rates:
        for name in list(rates):
            try:
                rates[name] = searches[name].send(loads[name].trial(rates[name], seconds))
            except StopIteration as ended:
                found[name] = ended.value
                del rates[name]
    return found


class Trial:
    """What became of a stream."""

    def __init__(self, rate, seen):
        self.rate = rate
        self.sent = seen["sent"]
        self.seen = seen
        # What the sink's own socket had no room for has come through, too.
        arrived = min(self.sent, seen["unique"] + seen["sink_drops"])
        self.loss = (self.sent - arrived) / max(1, self.sent)
        self.delivered = arrived / seen["seconds"]
        # Whether the sender came to the rate.
        self.counts = self.sent / seen["seconds"] >= SENDER_MIN * rate
