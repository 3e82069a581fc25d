"""The checks as a test program: a line for each, and the counts at the end."""

import os
import sys

from ..report import Report
from . import main


class Lines(Report):
    """A report in the words of the tests."""

    def section(self, title):
        print(f"interop: {title}", flush=True)

    def check(self, name, ok, value, unit=""):
        self.checks.append({"name": name, "ok": bool(ok), "value": value, "unit": unit})
        print(f"test interop {name} ... {'ok' if ok else 'FAILED'} ({value} {unit})", flush=True)


def run():
    """Runs all but the long ones against the real peer; the exit code."""
    if os.geteuid() != 0:
        print("NOT RUN: lab interop: needs root (network namespaces)")
        return 0
    report = Lines()
    options = main.arguments(["--quick"])
    main.go_through(options, report)
    failed = sum(not check["ok"] for check in report.checks) + (report.error is not None)
    if report.error:
        print(report.error, file=sys.stderr)
    print(f"lab result: {sum(check['ok'] for check in report.checks)} passed; {failed} failed")
    return 1 if failed else 0
