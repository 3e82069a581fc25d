"""Cycles per packet by stage: the kernel's clock interrupts a journey ten thousand times a second, and the source line that each
interruption fell on, callers it was inlined into included, says which stage the time goes to. Shares of the samples times the cycles of
the row; nothing is built into the worker for it.

Only the second half of a run counts, when every flow is established. What generator and libraries other than the cipher do is left out:
copies of memory are the generator's.
"""

import collections
import pathlib
import re
import subprocess
import tempfile

from .programs import ENVIRONMENT

HERTZ = 10_000
# Rows and their rounds: some seconds each. A new flow takes memory.
ROWS = {
    **dict.fromkeys(("forward.one", "forward.100k", "policy.established", "policy.stateless", "nat.64k", "nat.1m"), 2000),
    **{"nat.new": 250, "esp.seal.64": 1200, "esp.seal.1400": 1000},
}
QUICK_ROWS = {"forward.one": 500, "nat.64k": 500, "esp.seal.64": 400}
# Beginnings of functions that are the worker's, unless the generator calls them.
WORKER = ("tombolo_worker::", "tombolo_flow::", "tombolo_tables::", "tombolo_tunnel::", "tombolo_wire::", "tombolo_packet_io::")
WORKER_TURNS = "tombolo_perf::gateway::Gateway::run_watched"
GENERATOR = ("tombolo_wire::edit::", "tombolo_packet_io::memory::Memory::inject", "tombolo_packet_io::memory::Memory::discard_sent")
CIPHER = re.compile(r"libIPSec_MB|ring_core|aes|gcm|chacha|poly1305", re.IGNORECASE)
# Where a source line is: what is done there.
STAGES = (
    (re.compile(r"packet-io/src/"), "queues"),
    (re.compile(r"wire/src/"), "headers"),
    (re.compile(r"worker/src/express/(?:exits|outgoing|sending)\.rs"), "way out"),
    (re.compile(r"worker/src/express/stateless\.rs"), "stateless"),
    (re.compile(r"worker/src/express/tunnel"), "tunnels"),
    (re.compile(r"worker/src/express/"), "lane"),
    (re.compile(r"worker/src/stages/(\w+)\.rs"), "{}"),
    (re.compile(r"worker/src/"), "worker"),
    (re.compile(r"tables/src/view/polic"), "policy"),
    (re.compile(r"tables/src/view/routes"), "routes"),
    (re.compile(r"tables/src/"), "tables"),
    (re.compile(r"flow/src/"), "sessions"),
    (re.compile(r"tunnel/src/|ipsec-mb/src/"), "tunnels"),
)
HELPERS = ("region_prefetch.rs", "region_scan.rs")
# Stages below this share are told as one.
SHARE_MIN = 0.02


def stages(run):
    """Rows of cycles per packet by stage."""
    run.table.head(f"cycles per packet by stage: shares of the clock's samples ({HERTZ}/s) times the row's cycles")
    for row, rounds in (QUICK_ROWS if run.quick else ROWS).items():
        cycles = run.table.value(row) or _cycles(run, row)
        counts = _sampled(run.programs["journey"], row, rounds)
        total = sum(counts.values())
        if not cycles or not total:
            run.table.fail(f"cycles.{row}", "no samples of the worker, or no cycles of the row")
            continue
        small = [name for name, count in counts.items() if count < SHARE_MIN * total]
        counts["else"] = sum(counts.pop(name) for name in small)
        for name, count in counts.most_common():
            if count:
                what = f"of the {cycles:.0f} cycles of {row}, by {count} of {total} samples"
                run.table.row(f"cycles.{row}.{name.replace(' ', '-')}", what, [cycles * count / total], "TSC cycles/packet")


def _cycles(run, row):
    """Measured here when the journeys were not."""
    rows = run.programs.rows(run.table, "journey", "--row", row, "--lines", "--repetitions", 5, skip=(row, "core", "tsc", "reference"))
    return next((each["value"] for each in rows if each["id"] == row), None)


def _sampled(journey, row, rounds):
    """Samples by stage."""
    with tempfile.NamedTemporaryFile(prefix="tombolo-perf-") as data:
        record = ("perf", "record", "-q", "-e", "cpu-clock", "-F", HERTZ, "-o", data.name)
        _output(*record, "--", journey, "--row", row, "--exact-rounds", rounds)
        text = _output("perf", "script", "-i", data.name, "--show-mmap-events", "-F", "ip,sym,dso,event,comm,tid,time")
    samples, base = parsed(text, pathlib.Path(journey).name)
    samples = samples[len(samples) // 2 :]
    lines = _lines(journey, {address - base for address, _, dso in samples if dso.endswith(f"/{pathlib.Path(journey).name}")})
    counts = collections.Counter()
    for address, function, dso in samples:
        counts[stage(function, dso, lines.get(address - base, ()))] += 1
    counts.pop(None, None)
    return counts


def parsed(text, program):
    """Samples (address, function, library) of perf's text, and where in memory the program's file begins."""
    samples, base = [], 0
    for line in text.splitlines():
        mapped = re.search(rf"\[0x([0-9a-f]+)\(\w+\) @ (?:0x)?([0-9a-f]+) .*r-xp .*/{re.escape(program)}$", line)
        if mapped:
            base = int(mapped[1], 16) - int(mapped[2], 16)
            continue
        sample = re.search(r"cpu-clock\S*\s+([0-9a-f]+) (.*) \((.*)\)$", line)
        if sample:
            samples.append((int(sample[1], 16), sample[2], sample[3]))
    return samples, base


def stage(function, dso, files):
    """The stage of a sample; none if it is not the worker's."""
    if CIPHER.search(dso) or CIPHER.search(function.partition("<")[0]) and "tombolo" not in function:
        return "cipher"
    function = function.lstrip("<&")
    if not function.startswith((*WORKER, WORKER_TURNS)) or function.startswith(GENERATOR):
        return None
    # A prefetch or a scan is its caller's.
    for file in (file for file in files if not file.endswith(HELPERS)):
        for pattern, name in STAGES:
            found = pattern.search(file)
            if found:
                return name.format(*found.groups())
    return "worker"


def _lines(program, addresses):
    """Source files of each address in the program's file, from the innermost inlined function outwards."""
    # perf counts from the beginning of the file, the tool by the addresses that the linker gave.
    segment = re.search(r"LOAD\s+0x(\w+) 0x(\w+) \S+ \S+ \S+ R E", _output("readelf", "-lW", program))
    moved = int(segment[2], 16) - int(segment[1], 16)
    asked = "\n".join(f"{address + moved:#x}" for address in sorted(addresses))
    answer = _output("addr2line", "-a", "-i", "-e", program, standard_input=asked)
    files, current = {}, None
    for line in answer.splitlines():
        if line.startswith("0x"):
            current = files.setdefault(int(line, 16) - moved, [])
        elif current is not None:
            current.append(line.rpartition(":")[0])
    return files


def _output(*command, standard_input=None):
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", input=standard_input, env=ENVIRONMENT, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[:2])}: {done.stderr.strip()[-300:]}")
    return done.stdout
