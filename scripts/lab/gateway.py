"""One Tombolo gateway of the lab: its directories, its keys, its daemon, and questions to it."""

import json
import os
import pathlib
import secrets
import shutil

from .shell import Failed, alive, ask, must, start, until

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "control" / "config" / "examples"
READY_SECONDS = 20
# That crate warns of every link attribute that is newer than itself.
LOG_LEVELS = "info,netlink_packet_route=error"


class Gateway:
    """`tombolod` and the dataplane that it starts, in one namespace."""

    def __init__(self, name, namespace, directory, programs):
        self.name = name
        self.namespace = namespace
        self.runtime_dir = directory / name / "run"
        self.state_dir = directory / name / "state"
        self.secrets_dir = directory / name / "secrets"
        self.log = directory / name / "tombolod.log"
        self.config = EXAMPLES / f"{name}.yaml"
        self.programs = programs
        self.process = None

    def prepare(self):
        """Makes the directories, private to root."""
        for directory in (self.runtime_dir, self.state_dir, self.secrets_dir):
            directory.mkdir(parents=True, mode=0o700)

    def tombolo(self, *arguments):
        """The `tombolo` command line for this gateway; `Answer`."""
        return ask(self.programs / "tombolo", "--runtime-dir", self.runtime_dir, *arguments)

    def json(self, *arguments):
        """The same with a JSON answer; `None` if the gateway refuses or cannot be reached."""
        answer = self.tombolo("--json", *arguments)
        try:
            return json.loads(answer.output) if answer.ok else None
        except ValueError:
            return None

    def start(self, *options):
        """Starts `tombolod`, with further options of its own; `wait_until_up` says when packets may come."""
        self.process = start(
            *(self.programs / "tombolod", "--config", self.config),
            *("--runtime-dir", self.runtime_dir, "--state-dir", self.state_dir, "--secrets-dir", self.secrets_dir),
            *("--dataplane", self.programs / "tombolo-dataplane", *options),
            namespace=self.namespace,
            log=self.log,
            environment={"NO_COLOR": "1", "RUST_LOG": os.environ.get("RUST_LOG", LOG_LEVELS)},
        )

    def wait_until_up(self, tunnels):
        """Waits for the dataplane, says once that the keys are new, and waits for the tunnels."""
        try:
            until(self._running, READY_SECONDS, f"{self.name}: tombolod and its dataplane run")
            for tunnel in tunnels:
                answer = self.tombolo("sa", "init", tunnel)
                if not answer.ok:
                    raise Failed(f"{self.name}: tombolo sa init {tunnel}: {answer.output.strip()}")
            until(self._tunnels_up, READY_SECONDS, f"{self.name}: tunnels are up")
        except Failed as failed:
            raise Failed(f"{failed}\n{self.last_words()}") from None

    def _running(self):
        if not alive(self.process.pid):
            return "tombolod has ended"
        status = self.json("status")
        if status is None:
            return self.tombolo("status").output.strip()
        generation = status["generation"]
        ready = status["dataplane"]["state"] == "running" and generation["announced"] == generation["published"]
        return True if ready else f"dataplane {status['dataplane']['state']}, generation {generation}"

    def _shown(self):
        return self.json("show", "tunnels") or []

    def _tunnels_up(self):
        tunnels = self._shown()
        down = [f"{tunnel['name']}: {tunnel.get('reason')}" for tunnel in tunnels if not tunnel["up"]]
        return True if tunnels and not down else "; ".join(down) or "none"

    def drops(self, reason):
        """Packets dropped for a reason, over all ports."""
        return sum(drop["packets"] for drop in self.json("show", "drops") or [] if drop["reason"] == reason)

    def last_words(self):
        """The ends of the logs, for a failure's message."""
        words = []
        for log in sorted({self.log, *self.runtime_dir.glob("*.log")}):
            if log.exists():
                lines = log.read_text(errors="replace").splitlines()[-15:]
                words.append("\n".join([f"--- {log.name} of {self.name}", *lines]))
        return "\n".join(words)

    def describe(self):
        """For the demo's JSON."""
        return {
            "namespace": self.namespace,
            "runtime_dir": str(self.runtime_dir),
            "state_dir": str(self.state_dir),
            "secrets_dir": str(self.secrets_dir),
            "config": str(self.config),
            "log": str(self.log),
        }


def make_keys(programs, a, b, segment):
    """Fresh keys for a segment's tunnel between two gateways, in both secrets directories."""
    must(
        *(programs / "tombolo", "sa", "generate"),
        *(a.secrets_dir / f"{segment}-to-b.sa", b.secrets_dir / f"{segment}-to-a.sa"),
    )


def make_secret(a, b, segment):
    """A fresh pre-shared key for a segment's tunnel, in both secrets directories."""
    text = secrets.token_hex(32)
    for gateway in (a, b):
        file = gateway.secrets_dir / f"{segment}.psk"
        file.write_text(text)
        file.chmod(0o600)


def find_programs(root):
    """The directory with the release build."""
    directory = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")).resolve() / "release"
    missing = [name for name in ("tombolo", "tombolod", "tombolo-dataplane") if not shutil.which(directory / name)]
    if missing:
        raise Failed(f"{', '.join(missing)} not in {directory}: build first (cargo build --release)")
    return directory
