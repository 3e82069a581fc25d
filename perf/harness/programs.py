"""The measuring programs: run, and their rows read while they print them."""

import json
import os
import pathlib
import subprocess
import threading

ENVIRONMENT = {**os.environ, "RUST_BACKTRACE": "0"}


class Programs:
    """The release build's directory."""

    def __init__(self, root):
        self.directory = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")).resolve() / "release"

    def __getitem__(self, name):
        return self.directory / name

    def rows(self, table, name, *arguments, seconds=600, skip=()):
        """Runs a program that prints rows as lines of JSON; adds them. A failure is a row of its own that says so."""
        command = [str(self[name]), *map(str, arguments)]
        seen = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as run:
            watch = threading.Timer(seconds, run.kill)
            watch.start()
            try:
                for line in run.stdout:
                    row = json.loads(line)
                    seen.append(row)
                    if row["id"] not in skip:
                        table.add(row)
                error = run.stderr.read()
                code = run.wait()
            finally:
                # A time limit, and an end for whatever interrupts.
                watch.cancel()
                run.kill()
        if code != 0:
            what = f"{' '.join([name, *map(str, arguments)])}: exit code {code}: {' '.join(error.split())[-400:]}"
            table.fail(f"failed.{name}", what)
        return seen
