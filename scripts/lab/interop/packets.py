"""scapy as side B of a tunnel: ESP straight in IP with keys that a responder of its own derives (`packet_peer.py`)."""

import json
import pathlib
import shutil
import subprocess

from ..shell import Failed, alive, stop, until
from .topology import OUTSIDE

PROGRAM = pathlib.Path(__file__).with_name("packet_peer.py")
# The one with Debian's packages.
PYTHON = "/usr/bin/python3"


class Packets:
    """One packet peer for one tunnel, from `start` to `stop`; it only answers."""

    def __init__(self, side, namespace, directory):
        self.side = side
        self.far_side = "b" if side == "a" else "a"
        self.namespace = namespace
        self.directory = directory
        self.log = directory / "events"
        self.errors = directory / "errors"
        self.process = None

    def start(self, tunnel, certificates_of_tunnel, seen_as=None, log_keys=False):
        """Runs it; it begins nothing, so there is nobody to be seen."""
        self.directory.mkdir(mode=0o700)
        outside = OUTSIDE[tunnel.outside]
        esn = int(tunnel.statement.get("esp", {}).get("esn") == "on")
        numbers = ",".join(map(str, tunnel.sequences))
        words = (PYTHON, "-B", PROGRAM, outside[self.side], outside[self.far_side], esn, numbers)
        with open(self.log, "wb") as log, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=errors,
                start_new_session=True,
            )
        with self.process.stdin as secret:
            secret.write(tunnel.secrets[self.side].encode())
        until(lambda: bool(self.events("listening")) or self.errors.read_text()[-300:], 10, "the packet peer listens")

    def initiate(self):
        """It never does."""
        raise Failed("the packet peer begins nothing")

    def events(self, kind):
        """What it said of one kind, in order."""
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [event for event in told if event["event"] == kind]

    def stop(self):
        """Ends it and forgets its files."""
        if self.process and alive(self.process.pid):
            stop([self.process.pid])
        shutil.rmtree(self.directory, ignore_errors=True)

    def last_words(self):
        """For a failure's message."""
        files = [file for file in (self.errors, self.log) if file.exists()]
        return "\n".join(["--- packet peer", *(line for file in files for line in file.read_text().splitlines()[-10:])])
