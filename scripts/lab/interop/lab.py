"""One lab for all checks: the namespaces stay, the two sides come and go with each check."""

import os
import pathlib
import re
import shutil
import tempfile

from ..namespaces import exists, remove
from ..shell import Failed, alive, must
from . import certificates
from .topology import NAT_ADDRESSES, Topology


PREFIX = "tombolo-interop-"


class Lab:
    """`gateways`: what stands in gateway `a` and `b` (`peers.Program`)."""

    def __init__(self, root, gateways):
        self.name = f"i{os.getpid():x}"
        self.root = root
        self.gateways = gateways
        # Not below /run, which each charon has for itself.
        self.directory = pathlib.Path(tempfile.gettempdir()) / f"{PREFIX}{self.name}"
        self.topology = Topology(self.name)
        self.certificates = {}
        self.count = 0
        self.a = None
        self.b = None

    def namespace(self, role):
        """Name of a role's namespace."""
        return self.topology.namespaces[role]

    def build(self):
        """Namespaces, links, addresses."""
        if self.directory.exists() or any(map(exists, self.topology.namespaces.values())):
            raise Failed(f"a lab {self.name} is there already")
        remove_left_over()
        self.directory.mkdir(mode=0o700)
        self.topology.build({side: not program.sets_own_addresses for side, program in self.gateways.items()})

    def begin(self, tunnel, behind_nat="", log_keys=False):
        """Starts both sides with a tunnel that is not up yet."""
        self.count += 1
        made = self._certificates(tunnel.proof)
        self.a, self.b = (
            program.make(side, self.namespace(f"gw-{side}"), self.directory / f"{side}{self.count}")
            for side, program in self.gateways.items()
        )
        self.b.start(tunnel, made, seen_as=NAT_ADDRESSES["a"] if behind_nat == "a" else None, log_keys=log_keys)
        self.a.start(tunnel, made, seen_as=NAT_ADDRESSES["b"] if behind_nat == "b" else None)

    def _certificates(self, proof):
        if proof == "psk":
            return None
        if proof not in self.certificates:
            self.certificates[proof] = certificates.make(proof, self.directory / f"certificates-{proof}")
        return self.certificates[proof]

    def bring_up(self, tunnel):
        """Has the side that begins begin. A tunnel that does not come up is the check's failure, with the reason."""
        answer = (self.a if tunnel.initiator == "a" else self.b).initiate()
        if not answer.ok:
            lines = [line for line in answer.output.splitlines() if line.strip()]
            raise Failed(lines[-1] if lines else f"exit code {answer.code}")

    def end(self):
        """Stops both sides; a router without rules."""
        for side in (self.a, self.b):
            if side is not None:
                side.stop()
        self.a = self.b = None
        self.topology.no_rules()

    def last_words(self):
        """The ends of both logs."""
        return "\n".join(side.last_words() for side in (self.a, self.b) if side is not None)

    def remove(self):
        """Ends every process of the lab, removes its namespaces and directories."""
        self.topology.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def describe(self):
        """For the JSON."""
        return {"name": self.name, "namespaces": self.topology.namespaces}


def remove_left_over():
    """Removes the labs of runs that were killed with -9."""
    names = re.findall(r"^(tombolo-i([0-9a-f]+)-\S+)", must("ip", "netns", "list"), re.MULTILINE)
    dead = [(namespace, lab) for namespace, lab in names if not alive(int(lab, 16))]
    remove(namespace for namespace, _ in dead)
    for lab in {lab for _, lab in dead}:
        shutil.rmtree(pathlib.Path(tempfile.gettempdir()) / f"{PREFIX}i{lab}", ignore_errors=True)


def find_root():
    """The checkout."""
    return pathlib.Path(__file__).resolve().parents[3]
