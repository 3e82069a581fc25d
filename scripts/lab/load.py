"""Load: numbered UDP datagrams from cloud A to cloud B through the tunnel, counted one by one (perf/src/bin/udp-load.rs)."""

import json
import subprocess
import time

from .shell import Failed, must, until
from .topology import address

SOURCE = "a-prod"
TARGET = "b-prod"
# From whom, to whom and to which address.
WAY = (SOURCE, TARGET, address(TARGET))
PORT = 9000
# Under load: half of the zero-loss rate, and at least this many packets per second …
PACKETS_MIN = 20_000
# … on the average, also when the sender is kept from its core now and then.
RATE_MIN = 22_000
LADDER = (RATE_MIN, 2 * RATE_MIN, 60_000, 80_000, 120_000, 160_000, 200_000)
LADDER_SECONDS = 1.0
CONTROL_SECONDS = 2.0
SECONDS_MAX = 120
# Longer than any queue on the way.
DRAIN_SECONDS = 0.3


class Load:
    """One stream, from its start to `finish`."""

    streams = 0

    def __init__(self, lab, rate, way=WAY):
        Load.streams += 1
        source, target, to_address = way
        program, self.rate = lab.programs / "udp-load", rate
        if not program.exists():
            raise Failed(f"{program} is not there: build first (cargo build --release -p tombolo-perf)")
        stream = ("--stream", Load.streams)
        self.log = lab.directory / "udp-load.log"
        self.log.write_bytes(b"")
        self.sink = self._start(lab, target, program, "receive", "--port", PORT, *stream)
        until(self._listens, 5, "the load's sink listens")
        to = ("--to", f"{to_address}:{PORT}")
        bounds = ("--rate", rate, "--seconds", SECONDS_MAX)
        self.source = self._start(lab, source, program, "send", *to, *bounds, *stream)
        self.began = time.monotonic()

    def _start(self, lab, role, *command):
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", lab.namespace(role), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def _listens(self):
        text = self.log.read_text(errors="replace")
        return True if "listening" in text else text if self.sink.poll() is None else f"ended: {text}"

    def run_on(self, seconds):
        """Lets the stream run."""
        time.sleep(seconds)

    def finish(self):
        """Ends the stream; what became of it."""
        sent = self._end(self.source)
        time.sleep(DRAIN_SECONDS)
        return Stream(sent, self._end(self.sink))

    def _end(self, process):
        output, _ = process.communicate(timeout=10)
        if process.returncode != 0:
            raise Failed(f"udp-load: exit code {process.returncode}\n{self.log.read_text(errors='replace')}")
        return json.loads(output)


class Stream:
    """What became of a stream."""

    def __init__(self, sent, received):
        self.sent = sent["sent"]
        self.rate = sent["sent"] / sent["seconds"]
        self.lost = sent["sent"] - received["unique"]
        self.duplicates = received["duplicates"]
        # Lost behind the gateways, in the sink's own socket.
        self.sink_drops = received["socket_drops"]
        self.missing = received["missing"]
        self.gap_seconds = received["longest_gap_ns"] / 1e9
        # time.monotonic() of the last arrival before the gap.
        self.gap_at = received["longest_gap_at_ns"] / 1e9

    @property
    def whole(self):
        return self.sent > 0 and self.lost == 0 and self.duplicates == 0

    def __str__(self):
        where = f", missing {self.missing[:5]}" if self.missing else ""
        sink = f", {self.sink_drops} of them by the sink" if self.sink_drops else ""
        twice = f", {self.duplicates} came twice" if self.duplicates else ""
        return f"{self.lost} of {self.sent} lost at {self.rate:.0f}/s{sink}{where}{twice}"


def plain(lab, rate, seconds, way=WAY):
    """A stream without a fault."""
    load = Load(lab, rate, way)
    load.run_on(seconds)
    return load.finish()


def measure_rate(lab, verdicts):
    """The rate of 'under load', from the highest rate of the ladder that lost nothing."""
    must("ping", "-n", "-c", 2, "-i", 0.2, address(TARGET), namespace=lab.namespace(SOURCE))
    # Only a loss shows where the zero-loss rate ends; without one it is at least what the sender came to.
    best, bound = 0, "at least "
    for rate in LADDER:
        stream = plain(lab, rate, LADDER_SECONDS)
        if not stream.whole:
            stream = plain(lab, rate, LADDER_SECONDS)
        if not stream.whole:
            verdicts.note(f"{rate}/s: {stream}")
            bound = ""
            break
        best = int(stream.rate)
        if stream.rate < 0.9 * rate:
            verdicts.note(f"{rate}/s: the sender gets no further than {best}/s")
            break
    rate = max(RATE_MIN, best // 2)
    verdicts.note(f"zero-loss rate {bound}{best} packets/s; under load = {rate} packets/s")
    return rate


def under_load(lab, verdicts, name, rate, fault):
    """Runs `fault(load)` while a stream passes; `(stream, what fault returned)`. Before it a control run without the fault.
    When a control lost packets, the machine was disturbed: measured once more, and said."""
    for attempt in (1, 2):
        control = plain(lab, rate, CONTROL_SECONDS)
        if not control.whole:
            verdicts.note(f"{name}: disturbed: a control run without the fault: {control}")
            if attempt == 1:
                continue
        break
    verdicts.note(f"{name}: control run: {control}")
    load = Load(lab, rate)
    load.run_on(0.5)
    outcome = fault(load)
    load.run_on(0.5)
    stream = load.finish()
    if stream.rate < PACKETS_MIN:
        verdicts.note(f"{name}: disturbed: the sender came to {stream.rate:.0f}/s only")
    return stream, outcome
