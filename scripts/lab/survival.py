"""What a gateway survives: the death of one process, of the other, of both; and what it costs while nothing happens."""

import json
import time

from . import load, measure, processes
from .gateway import make_keys
from .inside import Conversation, connects, listener
from .nonces import NonceCapture, repeated
from .shell import ask, must, start, stop, until
from .topology import OUTSIDE, address

GATEWAY = "gw-a"
TUNNEL = "prod-to-b"
TUNNELS = (TUNNEL, "dev-to-b")
TALK_PORT = 7000
SSH_PORT = 22
CLOUD_SIDE = "10.1.0.1"
TCP_SECONDS = 8
TCP_MEGABITS = 20
GAP_SECONDS_MAX = 1.0
IDLE_SECONDS = 10
IDLE_PERCENT_MAX = 1.0
SESSIONS = 10_000


class Rate:
    """'Under load', measured once."""

    value = load.RATE_MIN


def rate(lab, verdicts):
    """Measures what 'under load' means on this machine, now."""
    Rate.value = load.measure_rate(lab, verdicts)


def idle(lab, verdicts):
    """A worker at rest sleeps; under load, as a control, it is seen to work."""
    pids = {name: processes.dataplane_pid(gateway) for name, gateway in lab.gateways.items()}
    before = {name: processes.worker_seconds(pid) for name, pid in pids.items()}
    time.sleep(IDLE_SECONDS)
    for name, pid in pids.items():
        after = processes.worker_seconds(pid)
        used = {worker: 100 * (after[worker] - before[name][worker]) / IDLE_SECONDS for worker in after}
        ok = len(used) == 2 and max(used.values()) < IDLE_PERCENT_MAX
        seen = ", ".join(f"{worker} {percent:.2f} %" for worker, percent in sorted(used.items()))
        verdicts.check(f"{name}: idle workers use less than {IDLE_PERCENT_MAX:.0f} % of a core", ok, seen)
    busy = load.Load(lab, Rate.value)
    used = processes.worker_load(pids[GATEWAY], 1.5)
    busy.finish()
    seen = ", ".join(f"{worker} {percent:.0f} %" for worker, percent in used.items())
    verdicts.check("control: under load they use more", max(used.values()) > IDLE_PERCENT_MAX, seen)


def control_dies(lab, verdicts):
    """kill -9 tombolod under load."""
    gateway = lab.gateways[GATEWAY]
    talk = _talk_to_web(lab)
    try:
        before = {"status": processes.running(gateway), "epochs": _epochs(gateway)}

        def fault(stream):
            before["sessions"] = _sessions(gateway)
            processes.kill(gateway.process.pid)
            stream.run_on(1)
            gateway.start()
            before["after"] = processes.running(gateway)
            return _sessions(gateway)

        stream, sessions = load.under_load(lab, verdicts, "tombolod killed", Rate.value, fault)
        verdicts.check("tombolod killed: no packet lost", stream.whole, stream)
        status, after = before["status"], before["after"]
        pids = [status["dataplane"]["pid"], after["dataplane"]["pid"]]
        adopted = after["dataplane"]["adopted"]
        verdicts.check("tombolod killed: adopts the running dataplane", adopted and pids[0] == pids[1], pids)
        generations = [seen["generation"]["published"] for seen in (status, after)]
        follows = generations[0] <= generations[1] <= generations[0] + 2
        verdicts.check("tombolod killed: goes on from its generation", follows, generations)
        epochs = [before["epochs"], _epochs(gateway)]
        verdicts.check("tombolod killed: makes no decision stale", epochs[0] == epochs[1], epochs)
        missing = before["sessions"] - sessions
        verdicts.check("tombolod killed: keeps the sessions", sessions and not missing, missing or len(sessions))
        _check_talk(verdicts, "tombolod killed", talk, gateway)
    finally:
        talk.close()


def dataplane_dies(lab, verdicts):
    """kill -9 tombolo-dataplane under load."""
    gateway = lab.gateways[GATEWAY]
    talk = _talk_to_web(lab)
    capture = NonceCapture(lab.namespace("internet"), "to-a", lab.directory / "dataplane-dies.pcap")
    seen = {}
    try:
        dead = processes.dataplane_pid(gateway)
        restarts = gateway.json("status")["dataplane"]["restarts"]

        def fault(stream):
            iperf = _start_iperf(lab)
            stream.run_on(1)
            seen["sessions"] = _sessions(gateway)
            seen["killed"] = (processes.kill(dead), time.time())
            seen["after"] = processes.running(gateway, other_than=dead)
            stream.run_on(2)
            iperf.wait(timeout=TCP_SECONDS + 15)
            return _sessions(gateway)

        stream, sessions = load.under_load(lab, verdicts, "dataplane killed", Rate.value, fault)
        gap = stream.gap_seconds
        at_kill = abs(stream.gap_at - seen["killed"][0]) < 0.5
        verdicts.note(f"dataplane killed: {stream}")
        where = f"{gap * 1000:.0f} ms" if at_kill else f"longest gap {gap * 1000:.0f} ms, not at the kill"
        verdicts.check("dataplane killed: traffic flows again in under 1 s", at_kill and gap < GAP_SECONDS_MAX, where)
        counted = seen["after"]["dataplane"]["restarts"]
        verdicts.check("dataplane killed: restarted once, by tombolod", counted == restarts + 1, counted)
        missing = _tcp(seen["sessions"]) - sessions
        verdicts.check("dataplane killed: keeps the TCP sessions", not missing, missing or len(_tcp(sessions)))
        _check_iperf(lab, verdicts)
        _check_talk(verdicts, "dataplane killed", talk, gateway)
    finally:
        talk.close()
        missed = capture.stop()
    _check_nonces(verdicts, "dataplane killed", capture, missed, seen["killed"][1])


def both_die(lab, verdicts):
    """kill -9 both: the shared memory is gone; the tunnels go on above their leases."""
    gateway = lab.gateways[GATEWAY]
    capture = NonceCapture(lab.namespace("internet"), "to-a", lab.directory / "both-die.pcap")
    try:
        _warm(lab)
        control = load.plain(lab, Rate.value, 1)
        leases = {tunnel: _lease(gateway, tunnel) for tunnel in TUNNELS}
        killed_at = _kill_both(gateway)
        gateway.start()
        gateway.wait_until_up(())
        up = [tunnel["name"] for tunnel in gateway.json("show", "tunnels") if tunnel["up"]]
        verdicts.check("both killed: tunnels are up without sa init", sorted(up) == sorted(TUNNELS), up)
        next_numbers = {tunnel: _outbound(gateway, tunnel)["sequence"] for tunnel in TUNNELS}
        above = all(next_numbers[tunnel] >= leases[tunnel] > 0 for tunnel in TUNNELS)
        verdicts.check("both killed: sequence numbers go on above the lease", above, f"{leases} → {next_numbers}")
        _warm(lab)
        stream = load.plain(lab, Rate.value, 1)
        verdicts.check("both killed: traffic flows again", stream.lost < stream.sent, f"{stream.sent - stream.lost} packets")
        verdicts.check("both killed: no packet lost from then on", stream.whole, f"{stream}; control before: {control}")
    finally:
        missed = capture.stop()
    packets = _check_nonces(verdicts, "both killed", capture, missed, killed_at)
    spi = _outbound(gateway, TUNNEL)["spi"]
    later = [packet.iv for packet in packets if packet.spi == spi and packet.time > killed_at]
    lowest = min(later, default=0)
    verdicts.check("both killed: on the wire, too", lowest >= leases[TUNNEL], f"first number {lowest}")


def new_key(lab, verdicts):
    """A key that was never used stays silent until `sa init` says that it is new."""
    a, b = lab.gateways.values()
    tunnels = {a: TUNNEL, b: "prod-to-a"}
    for gateway in tunnels:
        _kill_both(gateway)
    old = _fingerprints(a, TUNNEL)
    make_new_keys(lab, a, b)
    for gateway in tunnels:
        gateway.start()
    capture = NonceCapture(lab.namespace("internet"), "to-a", lab.directory / "new-key.pcap")
    try:
        for gateway, tunnel in tunnels.items():
            processes.running(gateway)
            shown = next(shown for shown in gateway.json("show", "tunnels") if shown["name"] == tunnel)
            says = not shown["up"] and "sa init" in (shown.get("reason") or "")
            verdicts.check(f"{gateway.name}: a new key stays down and says so", says, shown.get("reason"))
            alarms = [alarm for alarm in gateway.json("status")["alarms"] if tunnel in alarm]
            verdicts.check(f"{gateway.name}: status alarms of it", bool(alarms), alarms)
        spi = _outbound(a, TUNNEL)["spi"]
        silent = measure.ping(lab.namespace("a-prod"), address("b-prod"), count=3, wait=1)
        verdicts.check("a new key: nothing passes", silent.received == 0, f"{silent.received} of {silent.sent}")
        dev = measure.ping(lab.namespace("a-dev"), address("b-dev"), count=3)
        verdicts.check("control: the tunnel with the old key passes", dev.received > 0, f"{dev.received} of {dev.sent}")
        for gateway, tunnel in tunnels.items():
            answer = gateway.tombolo("sa", "init", tunnel)
            verdicts.check(f"{gateway.name}: sa init is accepted", answer.ok, answer.output.strip())
        loud = measure.ping(lab.namespace("a-prod"), address("b-prod"), count=3)
        verdicts.check("a new key: passes after sa init", loud.received == loud.sent, f"{loud.received} of {loud.sent}")
        kept = _fingerprints(a, TUNNEL)
        verdicts.check("the old key's lease is remembered", old < kept, f"{len(old)} → {len(kept)} keys")
    finally:
        missed = capture.stop()
    _check_clear(verdicts, "a new key", capture, missed)
    numbers = [packet.iv for packet in capture.packets() if packet.spi == spi]
    verdicts.check("a new key: its numbers begin at 1", min(numbers, default=0) == 1, min(numbers, default=None))


def dataplane_down(lab, verdicts):
    """Without a dataplane: transit is dropped, management reaches the kernel."""
    gateway = lab.gateways[GATEWAY]
    ssh = listener(gateway.namespace, SSH_PORT)
    capture = NonceCapture(lab.namespace("internet"), "to-a", lab.directory / "dataplane-down.pcap")
    try:
        _check_ways(lab, verdicts, "control: with the dataplane", transit=True)
        _kill_both(gateway)
        gateway.start("--no-spawn")
        status = processes.answers(gateway)
        down = status["dataplane"]["state"] != "running" and status["dataplane"]["pid"] is None
        verdicts.check("no dataplane: status says so", down, status["dataplane"]["state"])
        _check_ways(lab, verdicts, "no dataplane", transit=False)
        processes.start_dataplane(gateway)
        processes.running(gateway)
        _warm(lab)
        _check_ways(lab, verdicts, "dataplane started by hand", transit=True)
    finally:
        ssh.close()
        missed = capture.stop()
    _check_clear(verdicts, "no dataplane", capture, missed)


SECTIONS = (rate, idle, control_dies, dataplane_dies, both_die, new_key, dataplane_down)


def make_new_keys(lab, a, b):
    """Other keys in place of the prod tunnel's."""
    for gateway, name in ((a, "prod-to-b"), (b, "prod-to-a")):
        (gateway.secrets_dir / f"{name}.sa").unlink()
    make_keys(lab.programs, a, b, "prod")


def _talk_to_web(lab):
    """A connection through source NAT."""
    return Conversation(lab.namespace("a-prod"), lab.namespace("web"), address("web"), TALK_PORT)


def _check_talk(verdicts, what, talk, gateway):
    goes_on = talk.goes_on()
    seen = talk.error or f"{talk.exchanges} exchanges, longest pause {talk.longest_pause * 1000:.0f} ms"
    verdicts.check(f"{what}: a TCP connection through NAT goes on", goes_on, seen)
    natted = talk.outside[0] == OUTSIDE[gateway.name] and talk.inside[0] == address("a-prod")
    verdicts.check(f"{what}: that connection is translated", natted, f"{talk.inside} → {talk.outside}")


def _start_iperf(lab):
    return start(
        *("iperf3", "-J", "-c", address("b-prod"), "-t", TCP_SECONDS, "-b", f"{TCP_MEGABITS}M"),
        namespace=lab.namespace("a-prod"),
        log=_fresh(lab.directory / "iperf3.json"),
    )


def _fresh(path):
    path.write_bytes(b"")
    return path


def _check_iperf(lab, verdicts):
    report = json.loads((lab.directory / "iperf3.json").read_text())
    error = report.get("error")
    seconds = [interval["sum"]["bytes"] for interval in report.get("intervals", [])]
    connections = len(report.get("start", {}).get("connected", []))
    ok = error is None and connections == 1 and len(seconds) >= TCP_SECONDS and min(seconds[-3:]) > 0
    verdicts.check("dataplane killed: iperf3's TCP connection goes on", ok, error or f"bytes by second {seconds}")


def _check_nonces(verdicts, what, capture, missed, killed_at):
    packets = capture.packets()
    lives = [sum(packet.time <= killed_at for packet in packets), sum(packet.time > killed_at for packet in packets)]
    twice = repeated(packets)
    verdicts.check(f"{what}: no (SPI, number) pair twice", not twice, f"{lives} packets of both lives {twice[:5] or ''}")
    complete = missed == 0 and min(lives) > 0
    verdicts.check(f"{what}: the capture holds both lives and missed nothing", complete, f"{lives}, missed {missed}")
    control = packets[:100] + packets[50:51]
    verdicts.check(f"{what}: control: a packet sent twice is noticed", len(repeated(control)) == 2)
    _check_clear(verdicts, what, capture, missed)
    return packets


def _check_clear(verdicts, what, capture, missed):
    clear = capture.clear()
    seen = f"{clear} packets, missed {missed}"
    verdicts.check(f"{what}: no packet of the clouds in clear on the underlay", clear == 0 and missed == 0, seen)


def _check_ways(lab, verdicts, what, transit):
    """Whether transit passes as expected, and management in any case."""
    host = lab.namespace("a-prod")
    ways = {
        "tunnel": measure.ping(host, address("b-prod"), count=3, wait=1).received,
        "internet": measure.ping(host, address("web"), count=3, wait=1).received,
        "web": measure.http(host, address("web"), seconds=2) is not None,
    }
    as_expected = all(bool(passed) == transit for passed in ways.values())
    verdicts.check(f"{what}: transit {'passes' if transit else 'is dropped'}", as_expected, ways)
    management = {
        "ping": measure.ping(host, CLOUD_SIDE, count=3).received == 3,
        "ping -6": measure.ping(host, "fd00:1::1", count=3).received == 3,
        "TCP to the SSH port": connects(host, CLOUD_SIDE, SSH_PORT),
        "from the underlay": connects(lab.namespace("internet"), OUTSIDE[GATEWAY], SSH_PORT),
    }
    verdicts.check(f"{what}: management reaches the kernel", all(management.values()), management)


def _kill_both(gateway):
    """kill -9 of both processes, tombolod first, which would start the other again; time.time() when both are dead."""
    dataplane = processes.dataplane_pid(gateway)
    processes.kill(gateway.process.pid)
    processes.kill(dataplane)
    return time.time()


def _warm(lab):
    """Until neighbours are resolved again."""
    for target in ("b-prod", "web"):
        ask("ping", "-n", "-c", 3, "-i", 0.2, "-W", 1, address(target), namespace=lab.namespace("a-prod"))


def _epochs(gateway):
    return {segment["name"]: segment["epoch"] for segment in gateway.json("show", "segments")}


def _sessions(gateway):
    """What names each session; short-lived pings and name look-ups left out."""
    listed = gateway.json("show", "sessions", "--limit", SESSIONS)["sessions"]
    return {
        (session["protocol"], json.dumps(session["forward"]), json.dumps(session["reverse"]))
        for session in listed
        if session["protocol"] in ("tcp", "udp")
    }


def _tcp(sessions):
    return {session for session in sessions if session[0] == "tcp"}


def _outbound(gateway, tunnel):
    shown = next(shown for shown in gateway.json("show", "tunnels") if shown["name"] == tunnel)
    return next(sa for sa in shown["sas"] if sa["direction"] == "outbound")


def _lease_file(gateway, tunnel):
    return json.loads((gateway.state_dir / "leases" / f"{tunnel}.json").read_text())["limits"]


def _lease(gateway, tunnel):
    """First number that the lease file does not count as used."""
    return max(_lease_file(gateway, tunnel).values())


def _fingerprints(gateway, tunnel):
    return set(_lease_file(gateway, tunnel))
