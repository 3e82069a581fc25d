"""scripts/interop: builds the lab, runs the checks against a real peer, prints the table, removes everything."""

import argparse
import fnmatch
import pathlib
import signal
import sys

from ..demo import INTERRUPTIONS, Interrupted, interrupt
from ..report import Report
from ..shell import Failed
from . import table
from .check import Disturbed
from .lab import Lab, find_root
from .peers import PEERS, REFERENCES, gateways

# Of a check that was disturbed (`Disturbed`), or may have been (`Check.noisy`); of all others there is one.
ATTEMPTS = 3


def arguments(words=None):
    parser = argparse.ArgumentParser(
        prog="scripts/interop",
        description="IKEv2 with real peers, in network namespaces. Needs root.",
        epilog="Exit codes: 0 every check holds; 1 a check or the lab failed; 2 wrong usage; 130 interrupted.",
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"one of {', '.join(PEERS)}; all without one")
    parser.add_argument("--json", metavar="FILE", help='write {"checks": [{"name", "ok", "value", "unit"} …]} to FILE')
    parser.add_argument("--markdown", metavar="FILE", help="write a table with a line for each check to FILE")
    parser.add_argument("--only", metavar="PATTERN", help="only the checks whose name matches (*, ?)")
    parser.add_argument("--quick", action="store_true", help="without those that last a minute")
    parser.add_argument("--list", action="store_true", help="print the names of the checks and end")
    parser.add_argument(
        "--reference", action="store_true", help="the peer's program on our side, too: shows that the lab is right"
    )
    options = parser.parse_args(words)
    if unknown := [peer for peer in options.peers if peer not in PEERS]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are: {', '.join(PEERS)}")
    if options.reference and set(options.peers) - REFERENCES:
        parser.error(f"--reference puts the peer's program on our side, too, and works with {', '.join(REFERENCES)}")
    options.peers = options.peers or [peer for peer in PEERS if peer in REFERENCES or not options.reference]
    return options


def wanted(options, module):
    """The checks of a section that were asked for."""
    return [
        check
        for check in module.CHECKS
        if not (options.quick and check.long) and (options.only is None or fnmatch.fnmatch(check.name, options.only))
    ]


def main():
    options = arguments()
    if options.list:
        for peer in options.peers:
            for _, module in PEERS[peer].sections:
                print("\n".join(check.name for check in wanted(options, module)))
        return 0
    report = Report()
    code = go_through(options, report)
    print()
    if report.error is not None:
        print(f"scripts/interop: {report.error}", file=sys.stderr)
    if report.checks:
        print(table.of_sections(report.checks))
    print(report.summary() if report.checks else "Nothing was checked.", flush=True)
    return code


def go_through(options, report):
    """Builds the lab, runs the checks, removes the lab whatever happens. An exit code."""
    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)
    lab = None
    code = 1
    try:
        for peer in options.peers:
            lab = Lab(find_root(), gateways(find_root(), peer, options.reference))
            lab.build()
            run_all(lab, report, options, peer)
            lab.remove()
        code = 0 if report.ok else 1
    except Failed as failed:
        report.error = str(failed)
    except Interrupted as interrupted:
        report.error = f"interrupted ({interrupted})"
        code = 130
    finally:
        # A second Ctrl-C must not stop the clean-up.
        for number in INTERRUPTIONS:
            signal.signal(number, signal.SIG_IGN)
        if lab is not None:
            lab.remove()
        if options.json:
            report.write_json(options.json, lab.describe() if lab else None)
        if options.markdown:
            pathlib.Path(options.markdown).write_text(table.of_checks(report.checks), encoding="utf-8")
    return code


def run_all(lab, report, options, peer):
    """The sections of a peer."""
    for title, module in PEERS[peer].sections:
        checks = wanted(options, module)
        if checks:
            report.section(f"{title} ({peer}{', reference' if options.reference else ''})")
        for check in checks:
            run(lab, report, check)
            report.checks[-1].update(peer=peer, section=title)


def run(lab, report, check):
    """One row. A failure of it is no failure of the lab: the next one begins anew."""
    for attempt in range(1, ATTEMPTS + 1):
        ok, value, unit, words, disturbed = once(lab, check)
        if not disturbed or attempt == ATTEMPTS:
            break
        report.say(f"{check.name}: {value} {unit}, disturbed: attempt {attempt + 1} of {ATTEMPTS}")
    report.check(check.name, ok, value, unit)
    if not ok:
        report.say(words)


def once(lab, check):
    """From two sides that do not run to two that do not run: `(ok, value, unit, last words, disturbed)`."""
    try:
        lab.begin(check.tunnel, check.behind_nat, check.log_keys)
        ok, value = check.measure(lab, check.tunnel)
        unit, disturbed = check.unit, check.noisy and not ok
    except Failed as failed:
        ok, value, unit = False, None, str(failed).splitlines()[0][:160]
        disturbed = isinstance(failed, Disturbed)
    finally:
        words = lab.last_words()
        lab.end()
    return ok, value, unit, words, disturbed


if __name__ == "__main__":
    sys.exit(main())
