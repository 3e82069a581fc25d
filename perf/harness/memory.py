"""In memory: whole journeys, scaling, change under load, growth. Each row in a process of its own, so that memory is free again."""

import subprocess

GROWTH = {
    "sessions": (1, 1 << 16, 1 << 20, 1 << 22),
    "routes4": (1, 1000, 100_000, 1_000_000),
    "routes6": (1, 1000, 200_000),
    "rules-established": (1, 10, 1000, 100_000),
    "rules": (1, 10, 100, 1000, 10_000, 100_000),
    "sas": (2, 1000, 60_000),
    "sas-open": (2, 1000, 60_000),
}
QUICK_GROWTH = {
    "sessions": (1 << 16, 1 << 20),
    "routes4": (1, 100_000),
    "rules-established": (10, 1000),
    "rules": (10, 1000),
    "sas": (2, 1000),
}
# Ratio of the last to the row of this count.
RATIOS = {"sessions": 1 << 16, "routes4": 1, "routes6": 1, "rules-established": 10, "rules": 10, "sas": 2, "sas-open": 2}
# Where the bare loop goes through memory that grows as well: its own ratio is the limit.
LIMITED = ("sessions", "routes4")
NAMES = {"rules": "rules-stateless"}


def journeys(run):
    """Cycles per packet of whole journeys."""
    run.table.head("whole journeys in memory, one core: TSC cycles per packet")
    sizes = ("--repetitions", 5, "--rounds", 4) if run.quick else ("--repetitions", 9, "--rounds", 16)
    listed = subprocess.run([run.programs["journey"], "--list"], capture_output=True, text=True, check=True, timeout=60)
    names = listed.stdout.split()
    if run.quick:
        names = [name for name in names if name.startswith("esp") or not name.endswith((".576", ".1400"))]
    references, clocks = [], []
    for name in names:
        skip = ("core", "reference", "tsc")
        for row in run.programs.rows(run.table, "journey", "--row", name, "--lines", *sizes, skip=skip):
            if row["id"] == "tsc":
                run.tsc = row
            if row["id"] == "core":
                clocks += [row["min"], row["value"], row["max"]]
            if row["id"] == "reference":
                references += [row["min"], row["value"], row["max"]]
    if run.tsc:
        run.table.add(run.tsc)
    what = "the core's clock, by a chain of known length right behind every round; the targets' machine ran at about 4.2"
    run.table.row("core", what, clocks, "GHz")
    what = "a loop that always does the same, beside every repetition: a quiet run has no spread"
    run.table.row("reference", what, references, "TSC cycles/step")


def scaling(run):
    """Two workers beside one."""
    run.table.head("two workers on two cores, packets per second beside one worker's")
    sizes = ("--repetitions", 5, "--rounds", 8) if run.quick else ("--repetitions", 15, "--rounds", 16)
    run.programs.rows(run.table, "scaling", *sizes)


def change(run):
    """Everything replaced under load."""
    run.table.head("change under load, in memory")
    sizes = ("--changes", 5, "--control", 0.5) if run.quick else ("--changes", 20, "--control", 3)
    run.programs.rows(run.table, "change", *sizes)


def growth(run):
    """Cost against numbers."""
    run.table.head("growth: a packet's cost, time to build and publish, memory")
    sizes = ("--repetitions", 5, "--rounds", 2) if run.quick else ("--repetitions", 7, "--rounds", 8)
    for kind, counts in (QUICK_GROWTH if run.quick else GROWTH).items():
        costs = {}
        for count in counts:
            rows = run.programs.rows(run.table, "growth", kind, count, *sizes)
            costs.update({count: row for row in rows if row["unit"] == "TSC cycles/packet"})
        first, last = costs.get(RATIOS[kind]), costs.get(counts[-1])
        if first and last and first is not last:
            name = f"growth.{NAMES.get(kind, kind)}.ratio"
            what = f"cost of a packet with {counts[-1]} {kind} beside {RATIOS[kind]}"
            ratios = [last[key] / first["value"] for key in ("min", "value", "max")]
            limits = [row["limit"] for row in (first, last)]
            limit = {"limit": round(limits[1] / limits[0], 3)} if all(limits) and kind in LIMITED else {}
            run.table.row(name, what, ratios, "times", **limit)
