"""Change under load, over veth: whole gateways with their control processes, changed by `tombolo` while numbered packets pass."""

import contextlib
import statistics
import threading
import time

from lab.shell import Failed, must, until

from .contenders import POLICY_AND_NAT, PORTS, Tombolo
from .contest import attempt, forwarding
from .load import Load

ROUTES = 10_000
RULES = 10_000
SAS = 1000
RATE = 20_000
LENGTH = 64
# How long a stream goes on beside the changes, before and after.
MARGIN_SECONDS = 0.3
UP_SECONDS = 10
MORE_TUNNEL = '  {name}: {{ segment: prod, local: {local}, remote: {remote}, keys: "file:{name}.sa" }}\n'


def measure(run):
    """All rows."""
    run.table.head("change under load, over veth: tombolo apply, tombolo sa")
    keys = FewKeys if run.quick else ManyKeys
    sas = f"{2 * keys.tunnels} SAs beside the tunnel's replaced by tombolo apply"
    cases = (
        ("apply-routes", f"{ROUTES} routes replaced by tombolo apply", Tombolo, 1, lambda *ends: replaced(routes, *ends)),
        ("apply-rules", f"{RULES} policy rules replaced by tombolo apply", Tombolo, 1, lambda *ends: replaced(rules, *ends)),
        ("apply-sas", sas, keys, 2, others),
        ("apply-rekey", "the tunnel's keys replaced by tombolo sa and apply on both gateways", Tombolo, 2, rekeyed),
    )
    for name, what, kind, gateways, steps in cases:
        attempt(run, f"change.{name}.lost", lambda: _changed(run, f"change.{name}", what, kind, gateways, steps))


def routes(turn):
    """Routes to nobody, others in each turn, beside the one that is used."""
    first = 20 + turn % 2 * 100
    return "".join(
        f"    - {{ to: {first + n // 65536}.{n // 256 % 256}.{n % 256}.0/24, segment: outside }}\n" for n in range(ROUTES)
    ), ""


def rules(turn):
    """Rules that do not match what passes, others in each turn, before the one that allows it."""
    port = 2000 + turn % 2 * 1000
    return "", "".join(
        f"  - {{ name: r{n}, from: inside, to: outside, source: 10.{100 + n // 256}.{n % 256}.0/24, protocol: tcp,"
        f" port: {port + n % 1000}, action: deny }}\n"
        for n in range(RULES)
    )


def replaced(text, chain, contender):
    """Steps that replace the configuration of the only gateway."""
    [gateway] = contender.gateways
    ports = PORTS.format(name="gw-a", left=chain.address("gw-a", "left"), right=chain.address("gw-a", "right"))

    def step(turn):
        more_routes, more_rules = text(turn)
        rest = POLICY_AND_NAT.format(far="10.9.1.0", rules=more_rules)
        _apply(gateway, ports + rest.replace("  outside: []\n", more_routes + "  outside: []\n"))

    return step


class ManyKeys(Tombolo):
    """Two gateways; the first one knows the keys of two sets of tunnels that nobody uses."""

    tunnels = SAS // 2

    def prepare(self):
        chain, (gateway, far) = self.chain, self.gateways
        ends = {"local": chain.address("gw-a", "right"), "remote": chain.address("gw-b", "left")}
        before = gateway.config.read_text(encoding="utf-8")
        self.texts = []
        for turn in (0, 1):
            names = [f"t{turn}-{number}" for number in range(self.tunnels)]
            self.texts.append(before + "".join(MORE_TUNNEL.format(name=name, **ends) for name in names))
            file = gateway.config.with_suffix(f".{turn}")
            file.write_text(self.texts[turn], encoding="utf-8")
            for name in names:
                _generate(self.run, name, gateway, far)
                # Each would be a generation of its own if the gateway ran.
                where = ("--config", file, "--state-dir", gateway.state_dir, "--secrets-dir", gateway.secrets_dir)
                _init(gateway, name, "--offline", *where)


class FewKeys(ManyKeys):
    """The same with fewer: each takes a moment."""

    tunnels = SAS // 20


def others(_chain, contender):
    """Steps that replace the SAs of the first gateway, but for those of the tunnel that is used."""
    return lambda turn: _apply(contender.gateways[0], contender.texts[turn % 2])


def rekeyed(chain, contender):
    """Steps that give the tunnel new keys: on both gateways a tunnel with the new ones beside the old, then the routes, then the old
    one goes."""
    gateways = contender.gateways
    texts = [gateway.config.read_text(encoding="utf-8") for gateway in gateways]
    used = ["to-peer"]

    def tunnels(gateway, names):
        local, remote = ("right", "left") if gateway.name == "gw-a" else ("left", "right")
        other = "gw-b" if gateway.name == "gw-a" else "gw-a"
        ends = {"local": chain.address(gateway.name, local), "remote": chain.address(other, remote)}
        return "".join(MORE_TUNNEL.format(name=name, **ends) for name in names)

    def put(names, route):
        for gateway, text in zip(gateways, texts):
            head = text.partition("tunnels:\n")[0].replace("tunnel: to-peer", f"tunnel: {route}")
            _apply(gateway, f"{head}tunnels:\n{tunnels(gateway, names)}")

    def step(turn):
        old, new = used[-1], f"keys-{turn}"
        _generate(contender.run, new, *gateways)
        put([old, new], old)
        for gateway in gateways:
            _init(gateway, new)
        for gateway in gateways:
            until(lambda gateway=gateway: _is_up(gateway, new), UP_SECONDS, f"{gateway.name}: {new} is up")
        put([old, new], new)
        put([new], new)
        used.append(new)

    return step


def _is_up(gateway, tunnel):
    seen = {each["name"]: each for each in gateway.json("show", "tunnels") or []}
    return True if seen.get(tunnel, {}).get("up") else str(seen.get(tunnel))


def _changed(run, name, what, kind, gateways, prepare):
    changes = 3 if run.quick else 6
    with forwarding(run, kind, gateways) as (chain, contender):
        load = Load(run, chain, LENGTH)
        try:
            load.warm_up()
            step = prepare(chain, contender)
            # The first one warms up, and tells how long a stream has to last.
            began = time.monotonic()
            step(0)
            seconds = 2 * MARGIN_SECONDS + 2 * (time.monotonic() - began) * changes
            control = load.trial(RATE, min(seconds, 2))
            trial, times = _during(load, seconds, [lambda turn=turn: step(turn) for turn in range(1, changes + 1)])
        finally:
            load.close()
    lost = round(trial.loss * trial.sent)
    note = f"{lost} of {trial.sent} lost at {RATE}/s, {control.loss:.2%} in the control run without a change"
    run.table.row(f"{name}.lost", f"{what}, {changes} times: {note}", [lost], "packets")
    for suffix, key, quantile in (("-median", "p50", "median"), ("", "p99", "99th percentile"), ("-p999", "p999", "99.9th percentile")):
        added = trial.seen[key] - control.seen[key]
        run.table.row(f"{name}.latency{suffix}", f"{what}: added to the {quantile} of latency", [added], "µs")
    run.table.row(f"{name}.time", f"{what}: until every worker goes by it", times, "ms")


def _during(load, seconds, steps):
    """A stream of so many seconds beside the steps; what became of it, and what each step took."""
    outcome, times = {}, []

    def send():
        with contextlib.suppress(Failed, OSError):
            outcome["trial"] = load.trial(RATE, seconds)

    stream = threading.Thread(target=send)
    stream.start()
    try:
        time.sleep(MARGIN_SECONDS)
        for step in steps:
            began = time.monotonic()
            step()
            times.append(1000 * (time.monotonic() - began))
            if not stream.is_alive():
                raise Failed(f"the stream of {seconds:.1f} s ended before the changes: they took {statistics.fmean(times):.0f} ms each")
    except BaseException:
        # Nobody waits for the rest of the stream.
        load.kill()
        raise
    finally:
        stream.join()
    if "trial" not in outcome:
        raise Failed("the stream failed")
    return outcome["trial"], times


def _apply(gateway, text):
    gateway.config.write_text(text, encoding="utf-8")
    answer = gateway.tombolo("apply", gateway.config)
    if not answer.ok:
        raise Failed(f"tombolo apply: {answer.output.strip()[:300]}")


def _generate(run, tunnel, *gateways):
    must(run.programs["tombolo"], "sa", "generate", *(gateway.secrets_dir / f"{tunnel}.sa" for gateway in gateways))


def _init(gateway, tunnel, *options):
    answer = gateway.tombolo("sa", "init", tunnel, *options)
    if not answer.ok:
        raise Failed(f"tombolo sa init {tunnel}: {answer.output.strip()[:300]}")
