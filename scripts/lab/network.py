"""The whole lab: namespaces, servers on the hosts, two running gateways. Made and removed as one."""

import os
import pathlib
import shutil

from . import topology
from .gateway import EXAMPLES, Gateway, find_programs, make_keys, make_secret
from .namespaces import exists
from .shell import Failed, alive, ask, start, until
from .topology import HOSTS, Topology

LABS = pathlib.Path("/run/tombolo-lab")
HERE = pathlib.Path(__file__).resolve().parent
WEB_PORT = 80
IPERF_PORT = 5201


class Lab:
    """One lab; its name is unique on this machine as long as this process lives."""

    def __init__(self, root, programs=None, manual_keys=True):
        self.name = f"{os.getpid():x}"
        self.root = root
        self.directory = LABS / self.name
        self.topology = Topology(self.name)
        self.programs = programs or find_programs(root)
        self.manual_keys = manual_keys
        namespaces = self.topology.namespaces
        self.gateways = {
            name: Gateway(name, namespaces[name], self.directory, self.programs) for name in topology.GATEWAYS
        }
        if not manual_keys:
            for name, gateway in self.gateways.items():
                gateway.config = EXAMPLES / f"{name.replace('gw', 'demo')}.yaml"

    def namespace(self, role):
        """Name of a role's namespace."""
        return self.topology.namespaces[role]

    def build_network(self):
        """Namespaces, links, addresses, and a web and an iperf3 server on every host."""
        if self.directory.exists() or any(map(exists, self.topology.namespaces.values())):
            raise Failed(f"a lab {self.name} is there already: scripts/demo --down {self.name} removes it")
        LABS.mkdir(mode=0o755, exist_ok=True)
        self.directory.mkdir(mode=0o700)
        (self.directory / "pid").write_text(str(os.getpid()))
        (self.directory / "checkout").write_text(str(self.root))
        self.topology.build()
        for role in HOSTS:
            self._serve(role, "python3", "-B", HERE / "web.py", WEB_PORT)
            self._serve(role, "iperf3", "-s", "-p", IPERF_PORT)
        for role in HOSTS:
            until(lambda role=role: self._listens(role), 10, f"the servers of {role} listen")

    def _serve(self, role, *command):
        start(*command, namespace=self.namespace(role), log=self.directory / f"{role}.log")

    def _listens(self, role):
        sockets = ask("ss", "-Hltn", namespace=self.namespace(role)).output
        return all(f":{port} " in sockets for port in (WEB_PORT, IPERF_PORT))

    def start_gateways(self):
        """Fresh keys or secrets, then both gateways; returns when both are ready for packets."""
        a, b = self.gateways.values()
        for gateway in (a, b):
            gateway.prepare()
        for segment in ("prod", "dev"):
            if self.manual_keys:
                make_keys(self.programs, a, b, segment)
            else:
                make_secret(a, b, segment)
        for gateway in (a, b):
            gateway.start()
        # IKEv2 has no keys that an operator has to call new.
        a.wait_until_up(("prod-to-b", "dev-to-b") if self.manual_keys else ())
        b.wait_until_up(("prod-to-a", "dev-to-a") if self.manual_keys else ())

    def keep(self):
        """From now on the lab outlives this process, until `remove_kept`."""
        (self.directory / "pid").unlink()

    def remove(self):
        """Ends every process of the lab, removes its namespaces and directories."""
        self.topology.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
        remove_if_empty(LABS)

    def describe(self):
        """For the demo's JSON."""
        return {
            "name": self.name,
            "namespaces": self.topology.namespaces,
            "gateways": {name: gateway.describe() for name, gateway in self.gateways.items()},
        }


def kept(root=None):
    """Names of labs that were kept or whose demo was killed; only those of the checkout `root`, if one is given."""
    names = [directory.name for directory in sorted(LABS.glob("*")) if not _runs(directory)]
    return [name for name in names if root is None or _text(LABS / name / "checkout") == str(root)]


def remove_kept(name):
    """Removes one such lab; returns its name."""
    if name not in kept():
        runs = name in (directory.name for directory in LABS.glob("*"))
        raise Failed(f"the demo of lab {name} still runs" if runs else f"there is no lab {name}")
    Topology(name).remove()
    shutil.rmtree(LABS / name, ignore_errors=True)
    remove_if_empty(LABS)
    return name


def _runs(directory):
    owner = _text(directory / "pid")
    return owner.isdigit() and alive(int(owner))


def _text(file):
    return file.read_text() if file.exists() else ""


def remove_if_empty(directory):
    """Removes a directory that nobody needs any more."""
    try:
        directory.rmdir()
    except OSError:
        pass
