"""scripts/perf: the parts in order, the table while they run, the report at the end."""

import argparse
import pathlib
import signal
import subprocess
import sys
import time

from lab.shell import Failed

from . import applies, instructions, machine, memory, misses, report, sampling, tunnels, veth
from .chain import remove_left_over
from .programs import Programs
from .rows import Table

PARTS = {
    "journeys": memory.journeys,
    "scaling": memory.scaling,
    "change": memory.change,
    "growth": memory.growth,
    "applies": applies.measure,
    "veth": veth.measure,
    "tunnels": tunnels.measure,
    "instructions": instructions.stages,
    "misses": misses.stages,
    "stages": sampling.stages,
}
# Besides the harness itself, at most so busy, in percent of all cores, is quiet.
QUIET_PERCENT = 5


class Run:
    """One run: what every part needs."""

    def __init__(self, root, quick):
        self.root, self.quick = root, quick
        self.programs = Programs(root)
        self.table = Table()
        self.tsc = None
        self.seconds = {}

    def part(self, name):
        """Runs a part. What goes wrong in it is a row, and the other parts go on."""
        began = time.monotonic()
        try:
            PARTS[name](self)
        except (Failed, OSError, ValueError, LookupError, RuntimeError, subprocess.SubprocessError) as failed:
            self.table.fail(f"failed.{name}", f"{type(failed).__name__}: {' '.join(str(failed).split())[-400:]}")
        self.seconds[name] = time.monotonic() - began
        print(f"-- {name}: {self.seconds[name]:.0f} s", flush=True)


def arguments(words):
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/perf", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions: under three minutes")
    parser.add_argument("--only", action="append", choices=PARTS, help="run this part alone (may be given several times)")
    parser.add_argument("--report", type=pathlib.Path, help="where the report goes (perf/report)")
    return parser.parse_args(words)


def main():
    """Exit code 0 when every part ran, whatever the figures are."""
    root = pathlib.Path(__file__).resolve().parents[2]
    if sys.argv[1:2] == ["compare"]:
        if len(sys.argv) != 4:
            sys.exit("usage: scripts/perf compare A B (report.json files, or directories with one)")
        print("\n".join(report.compare(*sys.argv[2:])))
        return
    options = arguments(sys.argv[1:])
    # As on Ctrl-C: namespaces go, memory is given back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    remove_left_over()
    run = Run(root, options.quick)
    began = time.monotonic()
    busy = machine.busy_percent()
    parts = options.only or list(PARTS)
    with machine.huge_pages() as pages:
        facts = {**machine.describe(), "huge_pages": f"{pages} of 2 MiB", "others": f"{busy:.0f} % busy before the run"}
        print("\n".join(f"{key}: {value}" for key, value in facts.items()))
        for part in PARTS:
            if part in parts:
                run.part(part)
    facts.update(conclude(run, busy))
    facts["run"] = f"{'quick' if run.quick else 'full'}, {time.monotonic() - began:.0f} s"
    facts["parts"] = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in run.seconds.items())
    if run.table.failures:
        facts["not measured"] = ", ".join(run.table.failures)
    directory = options.report or root / "perf" / "report"
    report.write(directory, run.table.rows, run.table.aims, facts)
    print(f"\n{facts['quiet']}\n{facts['run']}: {facts['parts']}\n{directory / 'report.md'}")
    if run.table.failures:
        sys.exit(f"not measured, and the rows say why: {', '.join(run.table.failures)}")


def conclude(run, busy):
    """Quiet or disturbed; the provider of the AEAD."""
    facts = {}
    reference = next((row for row in run.table.rows if row["id"] == "reference" and row["value"]), None)
    spread = 100 * (reference["max"] / reference["min"] - 1) if reference else None
    disturbed = busy > QUIET_PERCENT or (spread is not None and spread > QUIET_PERCENT)
    loop = f"reference loop ±{spread:.1f} %" if reference else "no reference loop"
    facts["quiet"] = f"{'disturbed' if disturbed else 'quiet'}: {loop}, others {busy:.0f} % busy before the run"
    clock = next((row for row in run.table.rows if row["id"] == "core" and row["value"]), None)
    if clock:
        facts["core"] = f"{clock['value']:.2f} GHz ({clock['min']:.2f} to {clock['max']:.2f}) beside the journeys"
    if run.tsc:
        facts["tsc"] = f"{run.tsc['value']} GHz"
        facts["aead"] = run.tsc["what"].rpartition("AEAD: ")[2]
    return facts


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
