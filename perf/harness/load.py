"""Generator and sink (perf/src/bin/packet-load.rs), and the search for the rate at which nothing is lost."""

import json
import subprocess
import time

from lab.shell import Failed

# Longer than any queue on the way.
DRAIN_SECONDS = 0.05
OVERLOAD = 2_000_000
# A sender that comes to less than this of what was asked says nothing about the rate.
SENDER_MIN = 0.97
WARM_UP_RATE = 10_000
STEPS = 6
RESOLUTION = 0.02
# Whoever delivers less than this under overload may do better without.
BROKEN = 200_000
# Loss ratios of the two goals, as MLRsearch calls them: none, and half a percent.
GOALS = (0.0, 0.005)


class Program:
    """`packet-load`, which takes orders line by line."""

    def __init__(self, namespace, *command):
        command = [str(word) for word in command]
        self.name = " ".join(command[1:3])
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
            raise Failed(f"packet-load {self.name}: {error.strip()}")

    def ask(self, order):
        """Gives an order; its answer."""
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"packet-load {self.name} has ended: {self.process.stderr.read().strip()}")
        return json.loads(line)

    def close(self):
        """Ends it."""
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

    def __init__(self, run, chain, length, cores=(1, 1), flows=256):
        program = run.programs["packet-load"]
        gen, sink = chain.namespaces["gen"], chain.namespaces["sink"]
        self.stream = 0
        self.sink = Program(sink, program, "receive", "left", "--core", cores[1])
        chain.know_neighbours()
        ends = ("--source", chain.address("gen", "right"), "--destination", chain.address("sink", "left"))
        size = ("--flows", flows, "--length", length, "--next", chain.mac("gw-a", "left"), "--core", cores[0])
        try:
            self.source = Program(gen, program, "send", "right", *ends, *size)
        except Failed:
            self.sink.close()
            raise

    def trial(self, rate, seconds):
        """One stream."""
        self.stream += 1
        self.sink.ask(self.stream)
        sent = self.source.ask(f"{int(rate)} {int(seconds * 1000)} {self.stream}")
        time.sleep(DRAIN_SECONDS)
        return Trial(rate, sent, self.sink.ask(0))

    def warm_up(self):
        """Flows are established, neighbours known."""
        for _ in range(10):
            if self.trial(WARM_UP_RATE, 0.1).received["unique"] > 0:
                self.trial(WARM_UP_RATE, 0.1)
                return
        raise Failed(f"no packet gets through at {WARM_UP_RATE}/s")

    def search(self, seconds, steps=STEPS):
        """The highest rates that reach the goals, in packets per second; and what arrives under overload."""
        overload = self.trial(OVERLOAD, seconds)
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
                trial = self.trial((low + high) / 2, seconds)
                trials.append(trial)
                if trial.loss > goal:
                    high = trial.rate
                    continue
                low = max(low, trial.delivered)
                if not trial.counts:
                    break
            best[goal] = low
        return best[0.0], max(best.values()), overload.delivered

    def close(self):
        """Ends both."""
        self.source.close()
        self.sink.close()


class Trial:
    """What became of a stream."""

    def __init__(self, rate, sent, received):
        self.rate = rate
        self.sent = sent["sent"]
        self.received = received
        # What the sink's own socket had no room for has come through, too.
        arrived = min(self.sent, received["unique"] + received["sink_drops"])
        self.loss = (self.sent - arrived) / max(1, self.sent)
        self.delivered = arrived / sent["seconds"]
        # Whether the sender came to the rate.
        self.counts = self.sent / sent["seconds"] >= SENDER_MIN * rate
