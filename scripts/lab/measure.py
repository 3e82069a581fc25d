"""Standard programs, their output read: ping, curl, traceroute, iperf3. `None` means that nothing got through."""

import json
import re
import statistics

from .shell import ask


class Ping:
    """What ping saw."""

    def __init__(self, sent, received, milliseconds):
        self.sent = sent
        self.received = received
        self.milliseconds = milliseconds


def ping(namespace, target, count=5, wait=2):
    """`count` echo requests; median round trip in milliseconds, `None` without an answer."""
    answer = ask(
        *("ping", "-n", "-c", count, "-i", 0.2, "-W", wait, target),
        namespace=namespace,
        seconds=count + wait + 5,
    )
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", answer.output)
    # The median: the first round trip resolves neighbours on the way.
    times = [float(time) for time in re.findall(r"time=([\d.]+) ms", answer.output)]
    sent, received = (int(counts[1]), int(counts[2])) if counts else (count, 0)
    return Ping(sent, received, statistics.median(times) if times else None)


def http(namespace, host, path="/", port=80, seconds=5):
    """Body of a page, `None` if there is none."""
    host = f"[{host}]" if ":" in host else host
    url = f"http://{host}:{port}{path}"
    # Several SYNs fit into the time: the first may be lost while a neighbour is being resolved.
    answer = ask("curl", "-sS", "--noproxy", "*", "--max-time", seconds, url, namespace=namespace, seconds=seconds + 5)
    return answer.output if answer.ok else None


def client_seen(page):
    """The client's address that lab/web.py saw."""
    found = re.match(r"client (\S+) path", page or "")
    return found[1] if found else None


def traceroute(namespace, target):
    """Addresses of the hops in order, `*` for a silent one."""
    version = "-6" if ":" in target else "-4"
    answer = ask("traceroute", version, "-n", "-q", 1, "-w", 2, "-m", 8, target, namespace=namespace)
    return re.findall(r"^ *\d+ +(\S+)", answer.output, re.MULTILINE)


def iperf(namespace, target, *options, seconds=3, whole=False):
    """The end of iperf3's report of a run, or the whole report; `None` if it failed."""
    answer = ask(
        *("iperf3", "-J", "-c", target, "-t", seconds, "--connect-timeout", 3000, *options),
        namespace=namespace,
        seconds=seconds + 15,
    )
    try:
        report = json.loads(answer.output)
    except ValueError:
        return None
    if "error" in report:
        return None
    return report if whole else report["end"]


def tcp_gigabits(namespace, target, *options):
    """Gbit/s that arrived over TCP."""
    end = iperf(namespace, target, *options)
    return end and end["sum_received"]["bits_per_second"] / 1e9


def udp(namespace, target, megabits, length):
    """(Mbit/s, percent lost) of a UDP stream of datagrams with `length` bytes of payload."""
    # The largest socket buffers that the kernel's default allows: with two cores for everything the receiver sleeps for
    # milliseconds at a time, and what overflows there was not lost by the network.
    end = iperf(namespace, target, "-u", "-b", f"{megabits}M", "-l", length, "-w", "208K")
    return end and (end["sum"]["bits_per_second"] / 1e6, end["sum"]["lost_percent"])
