"""What the figures depend on: processor, memory pages, and whether anybody else is at work."""

import contextlib
import os
import pathlib
import time

HUGE_PAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
# For the largest row: 4 Mi sessions with their mappings, and the frames.
PAGES_WANTED = 2048


@contextlib.contextmanager
def huge_pages(pages=PAGES_WANTED):
    """Reserves 2 MiB pages for the run; yields how many there are, and restores what was there before."""
    before = int(HUGE_PAGES.read_text())
    free = available_mib()
    wanted = min(pages, max(0, free - 2048) // 2)
    try:
        if wanted > before:
            HUGE_PAGES.write_text(str(wanted))
        yield int(HUGE_PAGES.read_text())
    finally:
        if wanted > before:
            HUGE_PAGES.write_text(str(before))


def available_mib():
    """Memory that nobody uses."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def busy_percent(seconds=1.0):
    """How busy all cores are while the harness itself does nothing: steal included."""

    def times():
        fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        idle = fields[3] + fields[4]
        return idle, sum(fields[:8])

    idle, total = times()
    time.sleep(seconds)
    idle_after, total_after = times()
    return 100 * (1 - (idle_after - idle) / max(1, total_after - total))


def describe():
    """For the report's head."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    flags = next((line for line in info.splitlines() if line.startswith("flags")), "")
    wide = [flag for flag in ("aes", "vaes", "vpclmulqdq", "avx2", "avx512f", "avx512_vbmi2") if f" {flag}" in flags]
    return {
        "processor": model,
        "features": " ".join(wide),
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }
