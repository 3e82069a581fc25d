"""The main job, checked: what must pass, what must not, and what the internet may see of it."""

import concurrent.futures
import secrets
import time

from . import measure
from .topology import OUTSIDE, OUTSIDE6, QUEUES, address
from .underlay import Capture

DENIED_REASON = "policy-default-deny"
# The smaller tunnel MTU of the lab is 1418 (ESP in UDP over IPv6): these datagrams fit with either IP version.
UDP_PAYLOAD = 1300
UDP_MEGABITS = 50
UDP_LOSS_MAX = 1.0
TCP_GIGABITS_MIN = 0.05
WORKERS = 2

JOINED = (("a-prod", "b-prod"), ("b-prod", "a-prod"), ("a-dev", "b-dev"), ("b-dev", "a-dev"))
DENIED = tuple(
    (source, target)
    for source in ("a-prod", "a-dev", "b-prod", "b-dev")
    for target in ("a-prod", "a-dev", "b-prod", "b-dev")
    if source.split("-")[1] != target.split("-")[1]
)
CLOUD_HOSTS = ("a-prod", "a-dev", "b-prod", "b-dev")


def gateway_of(host):
    """The gateway in front of a cloud host."""
    return f"gw-{host[0]}"


def run(lab, report):
    """Everything, in the order in which a newcomer would ask."""
    for section in (gateways, clouds, paths, internet, denied, throughput, canary, books):
        section(lab, report)


def gateways(lab, report):
    report.section("Gateways: two processes each, native AF_XDP")
    for name, gateway in lab.gateways.items():
        ports = gateway.json("show", "ports") or []
        modes = sorted({port["xdp"] for port in ports})
        queues = sorted({port["queues"] for port in ports})
        report.check(f"{name}: XDP mode of its ports", modes == ["native"] and len(ports) == 3, ", ".join(modes))
        report.check(f"{name}: queues of its ports", queues == [QUEUES], queues[0] if queues else None)
        workers = ((gateway.json("status") or {}).get("dataplane") or {}).get("workers")
        report.check(f"{name}: workers", workers == WORKERS, workers)


def clouds(lab, report):
    report.section("Cloud to cloud, through the tunnels")
    for source, target in JOINED:
        for version, program in ((4, "ping"), (6, "ping -6")):
            seen = measure.ping(lab.namespace(source), address(target, version))
            loss = 100 * (1 - seen.received / seen.sent)
            report.check(f"{source} → {target}: {program}, latency", loss == 0, seen.milliseconds, "ms")
            report.check(f"{source} → {target}: {program}, loss", loss == 0, loss, "%")
            if version == 4:
                report.cell(source, target, f"{seen.milliseconds:.2f} ms" if loss == 0 else f"{loss:.0f} % lost")
    for source, target in JOINED:
        page = measure.http(lab.namespace(source), address(target))
        seen = measure.client_seen(page)
        report.check(f"{source} → {target}: curl, client seen", seen == address(source), seen)


def paths(lab, report):
    report.section("Paths")
    for source, target, version, first in (
        ("a-prod", "b-prod", 4, "10.1.0.1"),
        ("a-prod", "b-prod", 6, "fd00:1::1"),
        ("b-dev", "web", 4, "10.2.1.1"),
        ("a-dev", "web", 6, "fd00:1:1::1"),
    ):
        goal = address(target, version)
        hops = measure.traceroute(lab.namespace(source), goal)
        # Gateway, gateway (or the internet's router), host.
        whole = len(hops) == 3 and hops[0] == first and hops[-1] == goal and "*" not in hops
        name = f"{source} → {target}: traceroute{' -6' if version == 6 else ''}"
        report.check(name, whole, len(hops), f"hops: {' '.join(hops)}")


def internet(lab, report):
    report.section("Cloud to internet, through source NAT")
    for host in CLOUD_HOSTS:
        translated = [_translated(lab, report, host, version) for version in (4, 6)]
        report.cell(host, "web", "NAT" if all(translated) else "NO")
    web = address("web")
    for gateway, outside in OUTSIDE.items():
        seen = measure.client_seen(measure.http(lab.namespace("web"), outside, port=8080))
        report.check(f"web → {gateway}:8080: port forward, client seen", seen == web, seen)


def _translated(lab, report, host, version):
    """Whether the web server sees the gateway in place of the host."""
    web, gateway, option = address("web", version), gateway_of(host), " -6" if version == 6 else ""
    outside = (OUTSIDE if version == 4 else OUTSIDE6)[gateway]
    seen = measure.client_seen(measure.http(lab.namespace(host), web))
    report.check(f"{host} → web: curl{option}, client seen", seen == outside, seen, f"(the address of {gateway})")
    pinged = measure.ping(lab.namespace(host), web, count=2)
    report.check(f"{host} → web: ping{option}", pinged.received == pinged.sent, pinged.milliseconds, "ms")
    return seen == outside


def denied(lab, report):
    report.section(f"Between prod and dev: denied, and counted as {DENIED_REASON}")
    for source, target in DENIED:
        gateway = lab.gateways[gateway_of(source)]
        before = gateway.drops(DENIED_REASON)
        attempts = _attempts(lab.namespace(source), target)
        after = _settled(lambda gateway=gateway: gateway.drops(DENIED_REASON), before + 5)
        through = [name for name, passed in attempts.items() if passed]
        report.check(f"{source} → {target}: got through", not through, ", ".join(through) or "nothing")
        report.cell(source, target, "REACHED" if through else "denied")
        # Two echo requests of each version and a SYN at least.
        report.check(f"{source} → {target}: drops counted", after - before >= 5, after - before, "packets")


def _attempts(namespace, target):
    """Which of three ways to a host got through; all at once, since each waits for a timeout."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ping = pool.submit(measure.ping, namespace, address(target, 4), 2, 1)
        ping6 = pool.submit(measure.ping, namespace, address(target, 6), 2, 1)
        curl = pool.submit(measure.http, namespace, address(target), seconds=1)
        return {
            "ping": ping.result().received > 0,
            "ping -6": ping6.result().received > 0,
            "curl": curl.result() is not None,
        }


def _settled(read, enough, seconds=2):
    """A counter once it is high enough, or what it is after a while."""
    deadline = time.monotonic() + seconds
    while (value := read()) < enough and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def throughput(lab, report):
    report.section("Throughput, through the tunnels (both gateways and all hosts share this machine)")
    for source, target, version, options in (
        ("a-prod", "b-prod", 4, ()),
        ("a-prod", "b-prod", 6, ()),
        ("a-prod", "b-prod", 4, ("-P", "4")),
        ("b-prod", "a-prod", 4, ()),
        ("a-dev", "b-dev", 4, ()),
    ):
        gigabits = measure.tcp_gigabits(lab.namespace(source), address(target, version), *options)
        name = " ".join([f"{source} → {target}: iperf3 TCP", *(["-6"] if version == 6 else []), *options])
        report.check(name, gigabits is not None and gigabits >= TCP_GIGABITS_MIN, gigabits, "Gbit/s")
    for source, target, version in (("a-prod", "b-prod", 4), ("b-prod", "a-prod", 6), ("a-dev", "b-dev", 4)):
        stream = measure.udp(lab.namespace(source), address(target, version), UDP_MEGABITS, UDP_PAYLOAD)
        megabits, lost = stream or (None, None)
        name = f"{source} → {target}: iperf3 UDP{' -6' if version == 6 else ''}"
        rate = f"% of {UDP_MEGABITS} Mbit/s in datagrams of {UDP_PAYLOAD} bytes"
        report.check(f"{name}, loss", megabits is not None and lost <= UDP_LOSS_MAX, lost, rate)


def canary(lab, report):
    report.section("A canary, looked for in a capture made inside the underlay")
    hidden = {segment: f"canary-{segment}-{secrets.token_hex(8)}" for segment in ("prod", "dev")}
    control = f"canary-control-{secrets.token_hex(8)}"
    capture = Capture(lab.namespace("internet"), "to-a", lab.directory / "underlay.pcap")
    try:
        for segment, string in hidden.items():
            page = measure.http(lab.namespace(f"a-{segment}"), address(f"b-{segment}"), f"/{string}")
            arrived = page is not None and string in page
            report.check(f"a-{segment} → b-{segment}: canary arrives", arrived, "yes" if arrived else "no")
        # Sent last: when it is in the file, so is all that went before.
        measure.http(lab.namespace("a-prod"), address("web"), f"/{control}")
        _settled(lambda: capture.holds(control), True)
    finally:
        capture.stop()
    plain, encapsulated = capture.count_esp()
    report.check("underlay: ESP seen (prod's tunnel)", plain > 0, plain, "packets")
    report.check("underlay: ESP in UDP seen (dev's tunnel)", encapsulated > 0, encapsulated, "packets")
    for segment, string in hidden.items():
        found = capture.holds(string)
        report.check(f"underlay: canary of {segment}", not found, "found" if found else "not found")
    found = capture.holds(control)
    report.check("underlay: control, sent outside the tunnel", found, "found" if found else "not found")


def books(lab, report):
    report.section("Books: received + originated + taken over = sent + dropped + punted + handed over + held; no restarts")
    for name, gateway in lab.gateways.items():
        _settled(lambda gateway=gateway: _balanced(gateway), True)
        ports = gateway.json("show", "counters") or []
        for port in ports:
            received = port["counters"].get("received", 0)
            report.check(f"{name}: {port['port']}", port["balance"] == 0, port["balance"], f"missing of {received}")
        report.check(f"{name}: ports with books", len(ports) == 3, len(ports))
        restarts = ((gateway.json("status") or {}).get("dataplane") or {}).get("restarts")
        report.check(f"{name}: dataplane restarts", restarts == 0, restarts)


def _balanced(gateway):
    return all(port["balance"] == 0 for port in gateway.json("show", "counters") or [])
