"""A gateway's two processes: killed, started again, looked at."""

import os
import pathlib
import signal
import time

from .shell import Failed, alive, start, until

READY_SECONDS = 20
WORKER_THREADS = "worker-"


def kill(pid):
    """kill -9, and waits until it is dead. `time.monotonic()` of the kill."""
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), 5, f"process {pid} is dead")
    return killed


def dataplane_pid(gateway):
    """The dataplane as `tombolod` knows it."""
    pid = ((gateway.json("status") or {}).get("dataplane") or {}).get("pid")
    if pid is None:
        raise Failed(f"{gateway.name}: no dataplane runs")
    return pid


def running(gateway, other_than=None):
    """Waits until a dataplane runs that is not the process `other_than`; the status then."""
    seen = {}

    def look():
        status = gateway.json("status")
        if status is None:
            return gateway.tombolo("status").output.strip()
        seen["status"] = status
        dataplane, generation = status["dataplane"], status["generation"]
        ready = dataplane["state"] == "running" and generation["announced"] == generation["published"]
        return True if ready and dataplane["pid"] != other_than else f"{dataplane}, {generation}"

    until(look, READY_SECONDS, f"{gateway.name}: a dataplane runs")
    return seen["status"]


def answers(gateway):
    """Waits until `tombolod` answers; its status."""
    until(lambda: gateway.json("status") is not None, READY_SECONDS, f"{gateway.name}: tombolod answers")
    return gateway.json("status")


def start_dataplane(gateway):
    """Starts the dataplane by hand, as a service manager would beside `tombolod --no-spawn`."""
    return start(
        *(gateway.programs / "tombolo-dataplane", "--runtime-dir", gateway.runtime_dir),
        namespace=gateway.namespace,
        log=gateway.runtime_dir / "dataplane.log",
    )


def descriptors(pid):
    """How many file descriptors a process has open and keeps: the fewest of some looks, for one may be a connection that it is about
    to close."""
    fewest = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        time.sleep(0.01)
        fewest = min(fewest, len(os.listdir(f"/proc/{pid}/fd")))
    return fewest


def private_kib(pid):
    """Resident memory that is the process's own, not the shared regions."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon:")).split()[1])


def worker_seconds(pid):
    """CPU seconds of each worker thread so far, by name: utime + stime."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name, _, fields = (task / "stat").read_text(encoding="utf-8").partition("(")[2].rpartition(")")
        if name.startswith(WORKER_THREADS):
            user, system = fields.split()[11:13]
            seconds[name] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return seconds


def worker_load(pid, seconds):
    """Percent of a core that each worker uses over the coming seconds."""
    before, began = worker_seconds(pid), time.monotonic()
    time.sleep(seconds)
    after, elapsed = worker_seconds(pid), time.monotonic() - began
    return {name: 100 * (after[name] - before[name]) / elapsed for name in sorted(before)}
