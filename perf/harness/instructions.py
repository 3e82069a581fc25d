"""Instructions per packet, counted by valgrind: the same on a busy machine. By place for the report; as a gate for CI.

valgrind knows no AVX-512: what is counted is the path of processors without it.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from .programs import ENVIRONMENT, Programs
from .rows import Table

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPECTED = ROOT / "perf" / "instructions.json"
# Hash keys are random, so that no two runs are quite the same.
TOLERANCE_PERCENT = 5
ROUND = 8192
ROUNDS = (1, 3)
ROWS = (
    *("forward.one", "forward.100k", "policy.established", "policy.stateless"),
    *("nat.64k", "nat.new", "esp.seal.64", "esp.seal.1400", "esp.open.64", "esp.open.1400"),
)
QUICK_ROWS = ("forward.one", "nat.64k", "esp.seal.64")
MEASURED = "tombolo_perf::gateway::Gateway::run_watched*"
# Where an instruction's source line is: beginning of the path in the repository, name.
PLACES = (
    (re.compile(r"dataplane/worker/src/stages/(\w+)\.rs"), "stage {}"),
    (re.compile(r"dataplane/(\w[\w-]*)/src/"), "{}"),
    (re.compile(r"/ring-[^/]*/|ipsec|curve25519"), "aead"),
)


def count(programs, row, rounds):
    """Instructions of the worker for a row with so many measured rounds, by place."""
    return places(callgrind(programs, row, rounds))


def callgrind(programs, row, rounds, *options):
    """What callgrind writes of the worker in a row with so many measured rounds."""
    with tempfile.NamedTemporaryFile(prefix="tombolo-callgrind-") as out:
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", "--collect-atstart=no", *options),
            *(f"--toggle-collect={MEASURED}", programs["journey"], "--row", row, "--exact-rounds", rounds),
        ]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=ENVIRONMENT, timeout=900)
        if done.returncode != 0:
            raise RuntimeError(f"{row}: {done.stderr.strip()[-500:]}")
        return pathlib.Path(out.name).read_text(encoding="utf-8", errors="replace")


def places(text):
    """Cost by place out of callgrind's file: what a function spends itself, by the source file of each line."""
    names, costs, file, skip = {}, collections.Counter(), "", False
    for line in text.splitlines():
        head, _, rest = line.partition("=")
        if head in ("fl", "fi", "fe", "cfi", "cfl"):
            # A name is written once, with its number; a callee's may be the first.
            number, _, name = rest.partition(" ")
            names[number] = name or names.get(number, "")
            if not head.startswith("c"):
                file = names[number]
        elif head == "calls":
            # The next line is what the callee spends.
            skip = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            if skip:
                skip = False
                continue
            words = line.split()
            if len(words) == 2:
                costs[place(file)] += int(words[1])
    return costs


def place(file):
    """The name of a source file's place."""
    for pattern, name in PLACES:
        found = pattern.search(file)
        if found:
            return name.format(*found.groups())
    return "libraries"


def per_packet(programs, row):
    """Instructions per packet by place."""
    few, many = (count(programs, row, rounds) for rounds in ROUNDS)
    packets = (ROUNDS[1] - ROUNDS[0]) * ROUND
    return {name: (many[name] - few[name]) / packets for name in many}


def stages(run):
    """Rows for the report: per packet, and where."""
    run.table.head("instructions per packet, by valgrind (no AVX-512)")
    for row in QUICK_ROWS if run.quick else ROWS:
        costs = per_packet(run.programs, row)
        run.table.row(f"instructions.{row}", "instructions per packet", [sum(costs.values())], "instructions/packet")
        for name, cost in sorted(costs.items(), key=lambda item: -item[1]):
            if cost >= 1:
                run.table.row(f"stage.{row}.{name.replace(' ', '-')}", f"of them in {name}", [cost], "instructions/packet")


def check(expected, counted):
    """Lines about rows that are not as expected; too few instructions are worth a new expectation, not a failure."""
    for row, value in counted.items():
        wanted = expected.get(row)
        if wanted is None:
            yield f"{row}: {value:.1f} instructions per packet, none expected: write it down with --write"
        elif value > wanted * (1 + TOLERANCE_PERCENT / 100):
            yield f"{row}: {value:.1f} instructions per packet, expected {wanted:.1f} (+{TOLERANCE_PERCENT} % at most)"


def main():
    """The gate: exit code 1 if a row needs more instructions than expected."""
    parser = argparse.ArgumentParser(prog="harness.instructions", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help=f"write what was counted to {EXPECTED.name}")
    options = parser.parse_args()
    programs, table, counted = Programs(ROOT), Table(), {}
    table.head(f"instructions per packet, tolerance {TOLERANCE_PERCENT} %")
    expected = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.exists() else {}
    for row in ROWS:
        counted[row] = round(sum(per_packet(programs, row).values()), 1)
        table.row(f"instructions.{row}", f"expected {expected.get(row, '-')}", [counted[row]], "instructions/packet")
    if options.write:
        EXPECTED.write_text(json.dumps(counted, indent=2) + "\n", encoding="utf-8")
        return
    problems = list(check(expected, counted))
    for problem in problems:
        print(f"test instructions {problem} ... FAILED")
    print(f"\nlab result: {len(counted) - len(problems)} passed, {len(problems)} failed")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
