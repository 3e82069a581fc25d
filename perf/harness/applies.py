"""Change under load, over veth: the gateway with its control process, `tombolo apply` while numbered packets pass."""

import threading
import time

from lab.shell import Failed

from .contenders import POLICY_AND_NAT, PORTS, Tombolo
from .load import Load
from .veth import _attempt, forwarding

ROUTES = 10_000
RULES = 10_000
RATE = 20_000
LENGTH = 64
# How long a stream goes on beside the changes, before and after.
MARGIN_SECONDS = 0.3


def measure(run):
    """All rows."""
    run.table.head("change under load, over veth: tombolo apply")
    for name, what, text in (("routes", f"{ROUTES} routes", routes), ("rules", f"{RULES} policy rules", rules)):
        _attempt(run, f"change.apply-{name}.lost", lambda: _changed(run, name, what, text))


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


def _configuration(chain, text, turn):
    more_routes, more_rules = text(turn)
    ports = PORTS.format(name="gw-a", left=chain.address("gw-a", "left"), right=chain.address("gw-a", "right"))
    rest = POLICY_AND_NAT.format(far="10.9.1.0", rules=more_rules)
    return ports + rest.replace("  outside: []\n", more_routes + "  outside: []\n")


def _changed(run, name, what, text):
    changes = 2 if run.quick else 6
    with forwarding(run, Tombolo) as (chain, contender):
        gateway = contender.gateways[0]
        load = Load(run, chain, LENGTH)
        try:
            load.warm_up()
            _apply(gateway, _configuration(chain, text, 0))
            control = load.trial(RATE, 2 * MARGIN_SECONDS)
            trial, times = _during(load, gateway, [_configuration(chain, text, turn) for turn in range(1, changes + 1)])
        finally:
            load.close()
    lost = round(trial.loss * trial.sent)
    note = f"{lost} of {trial.sent} lost at {RATE}/s, {control.loss:.2%} in the control run without a change"
    run.table.row(f"change.apply-{name}.lost", f"{what} replaced by tombolo apply, {changes} times: {note}", [lost], "packets")
    added = trial.received["p999"] - control.received["p999"]
    run.table.row(f"change.apply-{name}.latency", f"{what}: added to the 99.9th percentile of latency", [added], "µs")
    run.table.row(f"change.apply-{name}.time", f"{what}: tombolo apply, until every worker goes by it", times, "ms")


def _during(load, gateway, configurations):
    """A stream that lasts as long as the changes; what became of it, and what each change took."""
    outcome, times = {}, []
    # One change is timed by a stream of its own length: the sender has to be told beforehand.
    began = time.monotonic()
    _apply(gateway, configurations[0])
    each = time.monotonic() - began
    seconds = 2 * MARGIN_SECONDS + 2 * each * (len(configurations) - 1)
    stream = threading.Thread(target=lambda: outcome.update(trial=load.trial(RATE, seconds)))
    stream.start()
    time.sleep(MARGIN_SECONDS)
    try:
        for configuration in configurations[1:]:
            began = time.monotonic()
            _apply(gateway, configuration)
            times.append(1000 * (time.monotonic() - began))
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
