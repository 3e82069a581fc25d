"""Changes of the configuration under load: refused ones change nothing, accepted ones lose nothing and leak nothing."""

import errno
import http.client
import random
import resource
import socket
import statistics
import threading
import time

from . import load, processes
from .checks import DENIED_REASON
from .control import Control
from .inside import inside, udp_socket
from .shell import Failed, ask, until
from .topology import address

GATEWAY = "gw-a"
APPLIES = 1000
# Early enough to notice a leak, late enough that everything has been used once.
SETTLED_AFTER = 200
FIRST_PORT = 20_000
PROBE_SECONDS = 1.0
# Of the first permission, before its way is resolved.
PROBES_EARLY_MAX = 10
# How long a datagram may be on its way on a busy machine, and how often it is sent.
PASSING_SECONDS = 0.2
PASSING_TRIES = 10
STEADY_SECONDS = 1.5
PRIVATE_KIB_MAX = {"tombolod": 4096, "dataplane": 1024}
REGION_PERCENT_MAX = 5
# Of so many kills so many must fall before the answer; more tries are made until they do.
KILLS = 8
KILLS_BEFORE_ANSWER = 3
KILLS_MAX = 24
# Where kills fall, as a share of what an apply takes: evenly spread by steps of the golden ratio.
KILL_SHARE_MAX = 1.2
GOLDEN = 0.618
TYPICAL_APPLIES = 21


class Rate:
    """'Under load', measured once."""

    value = load.RATE_MIN


def rate(lab, verdicts):
    """Measures what 'under load' means on this machine, now."""
    Rate.value = load.measure_rate(lab, verdicts)


def refused(lab, verdicts):
    """What is wrong in itself, and what the running gateway cannot take."""
    gateway = lab.gateways[GATEWAY]
    text = _without_probe(Control(gateway).config())
    wrong = {
        "no YAML": ("gateway: [", "refused.yaml:1:"),
        "an unknown key": (text.replace("workers: 2", "workers: 2\nturbo: yes"), ":4:1"),
        "an unknown segment": (text.replace("from: prod, to: internet", "from: prod, to: moon"), "moon"),
        "a route without a way": (text.replace("via: 192.0.2.254", "via: 192.0.9.254"), "192.0.9.254"),
        "other workers than run": (text.replace("workers: 2", "workers: 3"), "the dataplane runs with 2"),
    }
    before = _steady(lab, verdicts, gateway)

    def fault(_):
        answers = {}
        for name, (config, _) in wrong.items():
            file = lab.directory / "refused.yaml"
            file.write_text(config)
            answers[name] = gateway.tombolo("apply", file)
            time.sleep(0.1)
        return answers

    stream, answers = load.under_load(lab, verdicts, "refused", Rate.value, fault)
    for name, (_, says) in wrong.items():
        answer = answers[name]
        good = answer.code == 1 and says in answer.output
        verdicts.check(f"refused, {name}: exit code 1 and why", good, f"{answer.code}: {answer.output.strip()}")
    after = _world(lab, gateway)
    for what, seen in before.items():
        verdicts.check(f"refused: changes nothing: {what}", after[what] == seen, None if after[what] == seen else after[what])
    verdicts.check("refused: no packet lost", stream.whole, stream)
    accepted = lab.directory / "accepted.yaml"
    accepted.write_text(_with_probe(text, FIRST_PORT))
    answer = gateway.tombolo("apply", accepted)
    changed = [what for what, seen in _world(lab, gateway).items() if before[what] != seen]
    noticed = answer.ok and {"generation", "config", "policy"} <= set(changed)
    verdicts.check("control: an accepted one is seen to change that", noticed, f"{answer.output.strip()}: {changed}")


def _world(lab, gateway):
    """What a refused change must not touch."""
    control, stored = Control(gateway), gateway.state_dir / "config.yaml"
    addresses = ask("ip", "-o", "address", "show", namespace=gateway.namespace).output
    return {
        "generation": control.get("/v1/generation"),
        "config": control.config(),
        "config for the next boot": stored.read_text() if stored.exists() else None,
        "policy": control.get("/v1/policy"),
        "routes": control.get("/v1/routes"),
        "epochs": {segment["name"]: segment["epoch"] for segment in control.get("/v1/segments")},
        "kernel addresses": sorted(line.split()[3] for line in addresses.splitlines()),
    }


def _steady(lab, verdicts, gateway):
    """The same, once it does not move by itself: neighbours that were just met make generations of their own."""
    for _ in range(10):
        before = _world(lab, gateway)
        time.sleep(STEADY_SECONDS)
        if _world(lab, gateway) == before:
            verdicts.note(f"refused: control run: nothing moves by itself in {STEADY_SECONDS} s")
            return before
    raise Failed("the gateway's world does not come to rest")


def thousand(lab, verdicts):
    """Each moves a permission to another port; a probe finds the new port open and the one before closed."""
    gateway = lab.gateways[GATEWAY]
    control = Control(gateway)
    text = _without_probe(control.config())
    pids = {"tombolod": gateway.process.pid, "dataplane": processes.dataplane_pid(gateway)}
    probe = Probe(lab)
    denied = gateway.drops(DENIED_REASON)
    try:
        _apply(control, _with_probe(text, FIRST_PORT - 1))
        until(lambda: probe.opens(FIRST_PORT - 1), 5, "the probe's way is open")
        stream, seen = load.under_load(
            lab, verdicts, "1,000 applies", Rate.value, lambda _: _apply_all(control, text, probe, pids)
        )
        stale = probe.passed_revoked()
        denied = gateway.drops(DENIED_REASON) - denied
    finally:
        probe.close()
    verdicts.check("1,000 applies: no packet lost", stream.whole, stream)
    milliseconds = [1000 * seconds for seconds in seen.seconds]
    spread = f"{statistics.median(milliseconds):.1f} ms each (median), {max(milliseconds):.1f} ms at most"
    verdicts.check("1,000 applies: all accepted and active", len(milliseconds) == APPLIES, spread)
    verdicts.check("1,000 applies: a new generation each", seen.generations_rise, f"{seen.first} to {seen.last}")
    verdicts.check("1,000 applies: in use by every worker before the answer", not seen.late, seen.late[:5] or None)
    verdicts.check("1,000 applies: each is seen by a probe", not seen.unseen, seen.unseen[:5] or f"{APPLIES} probes")
    verdicts.check("1,000 applies: no probe passes what was revoked", not stale, stale[:5] or f"{probe.refused} probes")
    counted = probe.refused <= denied <= probe.refused + PROBES_EARLY_MAX
    verdicts.check(f"1,000 applies: those are counted as {DENIED_REASON}", counted, f"{denied} packets")
    _check_leaks(verdicts, seen)


class Seen:
    """What was seen while configurations were applied."""

    def __init__(self):
        self.seconds = []
        self.first = self.last = None
        self.generations_rise = True
        self.late = []
        self.unseen = []
        self.resources = {}


def _apply_all(control, text, probe, pids):
    seen = Seen()
    for index in range(APPLIES):
        port = FIRST_PORT + index
        began = time.monotonic()
        applied = _apply(control, _with_probe(text, port))
        seen.seconds.append(time.monotonic() - began)
        generation = _announced(control)
        if generation["announced"] < applied["generation"]:
            seen.late.append((port, applied, generation))
        seen.generations_rise &= seen.last is None or applied["generation"] > seen.last
        seen.first = applied["generation"] if seen.first is None else seen.first
        seen.last = applied["generation"]
        probe.expect_closed(port - 1)
        if not probe.opens(port):
            seen.unseen.append(port)
        if index + 1 in (SETTLED_AFTER, APPLIES):
            seen.resources[index + 1] = _resources(control, pids)
    return seen


def _apply(control, text):
    status, answer = control.apply(text)
    if status != 200 or not answer["active"]:
        raise Failed(f"apply: {status} {answer}")
    return answer


def _announced(control):
    """What workers use. A worker that wakes says 0 for the moment in which it looks for the newest."""
    for _ in range(20):
        generation = control.get("/v1/generation")
        if generation["announced"] != 0:
            break
    return generation


def _resources(control, pids):
    generation = control.get("/v1/generation")
    numbers = {"region bytes": generation["used-bytes"]}
    for name, pid in pids.items():
        numbers[f"{name} descriptors"] = processes.descriptors(pid)
        numbers[f"{name} private KiB"] = processes.private_kib(pid)
    return numbers


def _check_leaks(verdicts, seen):
    early, late = seen.resources[SETTLED_AFTER], seen.resources[APPLIES]
    for name, before in early.items():
        allowed = 0
        if name == "region bytes":
            allowed = before * REGION_PERCENT_MAX // 100
        elif name.endswith("KiB"):
            allowed = PRIVATE_KIB_MAX[name.split()[0]]
        grown = late[name] - before
        text = f"{before} after {SETTLED_AFTER}, {late[name]} after {APPLIES}"
        verdicts.check(f"1,000 applies: {name} do not grow", grown <= allowed, text)


def _with_probe(text, port):
    """The configuration with one more permission, from prod to dev, which are kept apart otherwise."""
    rule = f"destination: {address('a-dev')}/32, protocol: udp, port: {port}, action: allow"
    lines = text.splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("policy:")) + 1
    lines.insert(place, f"  - {{ name: probe, from: prod, to: dev, {rule} }}\n")
    return "".join(lines)


def _without_probe(text):
    return "".join(line for line in text.splitlines(keepends=True) if "name: probe" not in line)


class Probe:
    """Datagrams from prod to dev of cloud A, one port after the other."""

    def __init__(self, lab):
        _allow_descriptors(APPLIES + 256)
        self._source = udp_socket(lab.namespace("a-prod"))
        ports = range(FIRST_PORT - 1, FIRST_PORT + APPLIES)
        # A port without a socket would answer with an ICMP error.
        self._sinks = inside(lab.namespace("a-dev"), lambda: {port: _sink(port) for port in ports})
        self._arrived = []
        self.refused = 0

    def _send(self, port, text):
        self._source.sendto(text, (address("a-dev"), port))

    def opens(self, port, seconds=PROBE_SECONDS):
        """Whether a datagram to the port arrives."""
        self._send(port, b"open")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._take(port) == b"open":
                return True
            time.sleep(0.0005)
        return False

    def passing(self, ports):
        """Which of the ports are open, of which one is: a lost datagram is sent again."""
        for _ in range(PASSING_TRIES):
            for port in ports:
                self._send(port, b"open")
            time.sleep(PASSING_SECONDS)
            arrived = [self._take_all(port) for port in ports]
            if any(arrived):
                break
        return arrived

    def _take_all(self, port):
        taken = []
        while (text := self._take(port)) is not None:
            taken.append(text)
        return b"open" in taken

    def expect_closed(self, port):
        """A datagram to a port that was open until now; `wrong` says at the end whether it arrived."""
        self.refused += 1
        self._send(port, b"closed")

    def passed_revoked(self):
        """Ports that were reached although their permission had been revoked, once nothing is under way any more."""
        return [port for port in self._sinks if self._late(port)]

    def _late(self, port):
        while (text := self._take(port)) is not None:
            if text == b"closed":
                return True
        return False

    def _take(self, port):
        try:
            return self._sinks[port].recv(16)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNREFUSED):
                return None
            raise

    def close(self):
        """Closes all."""
        for opened in (self._source, *self._sinks.values()):
            opened.close()


def _sink(port):
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("", port))
    opened.setblocking(False)
    return opened


def _allow_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def killed_amid(lab, verdicts):
    """kill -9 tombolod at any moment of an apply: afterwards the gateway runs the old configuration or the new one, whole."""
    gateway = lab.gateways[GATEWAY]
    text = _without_probe(Control(gateway).config())
    dataplane = processes.dataplane_pid(gateway)
    probe = Probe(lab)
    first = random.random()
    rounds = []

    def fault(_):
        typical = _typical_seconds(gateway, text)
        for index in range(KILLS_MAX):
            share = KILL_SHARE_MAX * ((first + index * GOLDEN) % 1)
            rounds.append(_kill_amid(gateway, text, probe, FIRST_PORT + 3 * index, share * typical))
            if len(rounds) >= KILLS and len(_unanswered(rounds)) >= KILLS_BEFORE_ANSWER:
                break
        return typical

    try:
        stream, typical = load.under_load(lab, verdicts, "killed amid applies", Rate.value, fault)
    finally:
        probe.close()
    before = _unanswered(rounds)
    new = sum(seen["new"] for seen in before)
    left = f"{len(before)} of {len(rounds)} fell before the answer, {len(before) - new} left the old world, {new} the new"
    delays = ", ".join(f"{1000 * seen['delay']:.1f}" for seen in before)
    text = f"{left}; an apply takes {1000 * typical:.1f} ms, these fell after {delays} ms"
    verdicts.check("killed amid applies: kills fell before the answer", len(before) >= KILLS_BEFORE_ANSWER, text)
    verdicts.check("killed amid applies: no packet lost", stream.whole, f"{stream}, over all {len(rounds)} kills")
    for what, name in (
        ("whole", "the old world or the new, whole"),
        ("adopted", "the dataplane is taken over"),
        ("follows", "the next apply works"),
    ):
        wrong = [seen for seen in rounds if not seen[what]]
        verdicts.check(f"killed amid applies: {name}, after each", not wrong, wrong or f"{len(rounds)} kills")
    adopted = processes.dataplane_pid(gateway) == dataplane
    verdicts.check("killed amid applies: the dataplane ran on", adopted)


def _unanswered(rounds):
    return [seen for seen in rounds if not seen["answered"]]


def _typical_seconds(gateway, text):
    """What an apply takes, from a question on an open connection to its answer: the median."""
    seconds = []
    for index in range(TYPICAL_APPLIES):
        control = Control(gateway)
        control.connect()
        began = time.monotonic()
        _apply(control, _with_probe(text, FIRST_PORT + index))
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def _kill_amid(gateway, text, probe, port, delay):
    """An apply to `port`, a kill amid one to the next port, a start, and an apply to the one after that."""
    configs = [_with_probe(text, wanted) for wanted in (port, port + 1, port + 2)]
    _apply(Control(gateway), configs[0])
    began = probe.passing((port,)) == [True]
    answered = _apply_and_kill(gateway, configs[1], delay)
    # What the kill left, before anybody can mend it.
    live = probe.passing((port, port + 1))
    gateway.start()
    status = processes.running(gateway)
    config = Control(gateway).config()
    passes = probe.passing((port, port + 1))
    # Of both exactly the permission that the configuration has; never the old one after an answer for the new.
    whole = config in configs[:2] and passes == [config == configs[0], config == configs[1]]
    whole = whole and began and sum(live) == 1 and (config == configs[1] and live[1] or not answered)
    _apply(Control(gateway), configs[2])
    then = probe.passing((port, port + 1, port + 2))
    return {
        "whole": whole,
        "adopted": status["dataplane"]["adopted"],
        "follows": then == [False, False, True],
        "answered": answered,
        "new": config == configs[1],
        "live": live,
        "passes": passes,
        "then": then,
        "delay": delay,
    }


def _apply_and_kill(gateway, text, delay):
    """Whether the apply was answered; kill -9 comes `delay` seconds after the question, from a thread that is ready by then."""
    control, pid, asked = Control(gateway), gateway.process.pid, threading.Event()
    control.connect()

    def strike():
        asked.wait()
        time.sleep(delay)
        processes.kill(pid)

    striking = threading.Thread(target=strike)
    striking.start()
    asked.set()
    try:
        status, _ = control.apply(text)
        return status == 200
    except (OSError, http.client.HTTPException, ValueError):
        # Its other side was killed.
        return False
    finally:
        striking.join()


SECTIONS = (rate, refused, thousand, killed_amid)
