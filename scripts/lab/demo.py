"""The demo: builds the lab, checks the main job with standard programs, shows a table, removes everything."""

import argparse
import pathlib
import signal
import sys
import time

from . import checks
from .network import Lab, kept, remove_kept
from .report import Report
from .shell import Failed
from .topology import address

ROOT = pathlib.Path(__file__).resolve().parents[2]
OF_THIS_CHECKOUT = ""
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Ctrl-C, or a polite request to end. Not an `Exception`: nothing on the way may take it for a failed check."""


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Two clouds joined by two Tombolo gateways, in network namespaces. Needs root.",
        epilog="Exit codes: 0 every check holds; 1 a check or the lab failed; 2 wrong usage; 130 interrupted.",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up and print commands to play with it")
    parser.add_argument(
        "--down",
        metavar="LAB",
        nargs="?",
        const=OF_THIS_CHECKOUT,
        help="remove the lab of that name, or without a name what this checkout kept; other labs stay, running ones too",
    )
    parser.add_argument("--json", metavar="FILE", help="write the checks and the lab's description to FILE")
    return parser.parse_args()


def interrupt(number, _frame):
    raise Interrupted(signal.Signals(number).name)


def main():
    options = arguments()
    if options.down is not None:
        return take_down(options.down)
    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)
    report = Report()
    lab = None
    keep = False
    code = 1
    try:
        lab = Lab(ROOT, manual_keys=False)
        demonstrate(lab, report)
        code = 0 if report.ok else 1
        keep = options.keep
    except Failed as failed:
        report.error = str(failed)
    except Interrupted as interrupted:
        report.error = f"interrupted ({interrupted})"
        code = 130
    finally:
        # A second Ctrl-C must not stop the clean-up.
        for number in INTERRUPTIONS:
            signal.signal(number, signal.SIG_IGN)
        finish(lab, report, keep, options.json)
    return code


def take_down(name):
    """Removes one lab, or those of this checkout; says which. An exit code."""
    try:
        removed = [remove_kept(name)] if name != OF_THIS_CHECKOUT else [remove_kept(lab) for lab in kept(ROOT)]
    except Failed as failed:
        print(f"scripts/demo: {failed}", file=sys.stderr)
        return 1
    print(f"removed: {', '.join(removed)}" if removed else "this checkout kept no lab")
    if others := kept():
        print(f"still kept: {', '.join(others)}")
    return 0


def demonstrate(lab, report):
    """From nothing to the last check."""
    began = time.monotonic()
    report.say("Building the lab: two clouds, two gateways, an internet …")
    lab.build_network()
    report.say("Starting the gateways with fresh keys …")
    lab.start_gateways()
    report.say(f"Ready after {time.monotonic() - began:.1f} s.")
    checks.run(lab, report)


def finish(lab, report, keep, json_file):
    """Removes or keeps the lab; says how it went."""
    if lab is not None:
        if json_file:
            report.write_json(json_file, lab.describe())
        if keep:
            lab.keep()
        else:
            lab.remove()
    elif json_file:
        report.write_json(json_file, None)
    if report.reach:
        print(f"\nWho reaches whom (round trip through the tunnel, source NAT, or denied)\n{report.matrix()}")
    print()
    if report.error is not None:
        print(f"scripts/demo: {report.error}", file=sys.stderr)
    print(report.summary() if report.checks else "Nothing was checked.", flush=True)
    if keep:
        print(playground(lab))


def playground(lab):
    """Commands for a lab that stays."""
    a_prod, web = lab.namespace("a-prod"), address("web")
    gateway = lab.gateways["gw-a"]
    tombolo = f"{lab.programs / 'tombolo'} --runtime-dir {gateway.runtime_dir}"
    other = lab.gateways["gw-b"].runtime_dir
    return f"""
The lab stays. As root, for example:
  ip netns exec {a_prod} ping {address("b-prod")}
  ip netns exec {a_prod} iperf3 -c {address("b-prod")}
  ip netns exec {a_prod} curl http://{web}/
  {tombolo} status
  {tombolo} show tunnels
  {tombolo} show drops
  {tombolo} show sessions
  {tombolo} capture uplink -c 20
Gateway B: --runtime-dir {other}
Both configurations: {gateway.config.parent}/gw-*.yaml
Remove it: scripts/demo --down {lab.name}"""


if __name__ == "__main__":
    sys.exit(main())
