"""Cache lines per packet that are not near, counted by valgrind's model of two caches: how often a packet would wait if nothing were asked
for ahead. It takes no notice of such requests, nor of what the processor fetches by itself.
"""

from .instructions import ROUND, ROUNDS, callgrind

# Bytes, ways, bytes of a line; those of many servers since 2021.
FIRST = (48 << 10, 12, 64)
SECOND = (2 << 20, 16, 64)
ROWS = ("forward.one", "forward.100k", "policy.established", "policy.stateless", "nat.64k", "nat.new", "esp.seal.1400", "esp.open.1400")


def stages(run):
    """Rows for the report; too slow for a quick one."""
    if run.quick:
        return
    run.table.head("cache lines per packet that are not near, by valgrind (nothing asked for ahead)")
    for row in ROWS:
        few, many = (misses(run.programs, row, rounds) for rounds in ROUNDS)
        for place, size in enumerate((FIRST, SECOND)):
            value = (many[place] - few[place]) / ((ROUNDS[1] - ROUNDS[0]) * ROUND)
            what = f"lines that are not in {size[0] >> 10} KiB of cache"
            run.table.row(f"misses.{row}.l{place + 1}", what, [value], "lines/packet")


def misses(programs, row, rounds):
    """Lines that a row with so many measured rounds did not find in the first cache, and of them not in the second."""
    caches = (f"--{name}={','.join(map(str, size))}" for name, size in (("D1", FIRST), ("LL", SECOND)))
    return summed(callgrind(programs, row, rounds, "--cache-sim=yes", *caches).splitlines())


def summed(lines):
    """Data misses of both caches, reads and writes together, from callgrind's summary."""
    events = []
    for line in lines:
        name, _, rest = line.partition(":")
        if name == "events":
            events = rest.split()
        elif name == "summary":
            counts = dict(zip(events, map(int, rest.split())))
            return counts["D1mr"] + counts["D1mw"], counts["DLmr"] + counts["DLmw"]
    raise ValueError("callgrind wrote no summary")
