"""A thousand tunnels to one gateway: how long until all are up, and what an idle one costs. Two gateways with nothing in between but
the lab's router; one begins all from one address, the other takes whoever proves to be the peer of one of its tunnels."""

import json
import os
import pathlib
import shutil
import tempfile
import time

from . import processes
from .control import Control
from .gateway import Gateway, find_programs
from .interop.topology import HOSTS, INSIDE, OUTSIDE, OUTSIDE_NETS, ROUTER, Topology
from .shell import Failed, ask, until

TUNNELS = 1000
SECONDS_MAX = 20.0
# Of tombolod's own memory; the shared regions are counted apart.
KIB_EACH_MAX = 8.0
GIVE_UP_SECONDS = 90
SAMPLES = (0, 1, 255, 256, 500, 999)
SETTLE_SECONDS = 3


def prefix(side, number):
    """Behind a side of a tunnel."""
    first = {"a": 112, "b": 128}[side] + (number >> 8)
    return f"10.{first}.{number & 255}.0/24"


def host(side, number):
    """An address in it."""
    return prefix(side, number).replace("0/24", "10")


class Site(Gateway):
    """One of the two gateways, with all tunnels."""

    def __init__(self, side, namespace, directory, programs):
        super().__init__(f"gw-{side}", namespace, directory, programs)
        self.side, self.far_side = side, "b" if side == "a" else "a"
        self.config = directory / f"{self.name}.json"

    def configure(self, count):
        """Its file and its secrets."""
        self.prepare()
        for number in range(count):
            secret = self.secrets_dir / f"site-{number}.psk"
            secret.write_text(f"a.secret.of.no.value.{number:010}")
            secret.chmod(0o600)
        self.config.write_text(json.dumps(self._configuration(count)))

    def _configuration(self, count):
        block = {"a": "10.112.0.0/14", "b": "10.128.0.0/14"}[self.side]
        prod = [{"to": prefix(self.far_side, number), "tunnel": f"site-{number}"} for number in range(count)]
        prod.append({"to": block, "via": HOSTS[4][self.side]})
        return {
            "gateway": self.name,
            "workers": 2,
            "limits": {"tunnels": max(count, 64)},
            "segments": {"prod": {}, "internet": {}},
            "ports": {
                "cloud": {"device": "in0", "segment": "prod", "addresses": list(INSIDE[self.side])},
                "uplink": {"device": "up0", "segment": "internet", "underlay": True, "addresses": list(OUTSIDE_NETS[self.side])},
            },
            "routes": {"internet": [{"to": "0.0.0.0/0", "via": ROUTER[self.side][0]}], "prod": prod},
            "tunnels": {f"site-{number}": self._tunnel(number) for number in range(count)},
        }

    def _tunnel(self, number):
        names = {"a": f"fqdn:site-{number}.example.net", "b": f"fqdn:hub-{number}.example.net"}
        return {
            "type": "ipsec",
            "profile": "tombolo",
            "segment": "prod",
            "local": OUTSIDE[4][self.side],
            "remote": OUTSIDE[4][self.far_side] if self.side == "a" else "any",
            "local-id": names[self.side],
            "remote-id": names[self.far_side],
            "secret": f"file:site-{number}.psk",
            "per-worker": False,
            "children": {"net": {"local": [prefix(self.side, number)], "remote": [prefix(self.far_side, number)]}},
        }

    def up(self):
        """How many tunnels are up."""
        try:
            return Control(self).get("/v1/status")["summary"]["tunnels-up"]
        except OSError:
            return 0

    def resident_kib(self):
        """Resident memory of tombolod that is its own."""
        return processes.private_kib(self.process.pid)


class Lab:
    """Both sites in the namespaces of the interoperability lab."""

    def __init__(self, root):
        self.name = f"m{os.getpid():x}"
        self.programs = find_programs(root)
        self.topology = Topology(self.name)
        self.directory = pathlib.Path(tempfile.gettempdir()) / f"tombolo-thousand-{self.name}"
        self.gateways = {
            side: Site(side, self.namespace(f"gw-{side}"), self.directory, self.programs) for side in ("a", "b")
        }

    def namespace(self, role):
        """Name of a role's namespace."""
        return self.topology.namespaces[role]

    def build_network(self):
        """Namespaces and links; hosts with an address in some of the prefixes."""
        self.directory.mkdir(mode=0o700)
        self.topology.build({"a": False, "b": False})
        for side in self.gateways:
            for number in SAMPLES:
                self.topology.address_of(f"host-{side}", "lo", f"{host(side, number)}/32")

    def start_gateways(self):
        """Writes what they need; `come_up` starts them."""
        for gateway in self.gateways.values():
            gateway.configure(TUNNELS)

    def remove(self):
        """Ends every process of the lab, removes its namespaces and directories."""
        self.topology.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


def come_up(lab, verdicts):
    """From a start of the side that begins until both count all of them up."""
    a, b = lab.gateways.values()
    b.start()
    processes.running(b)
    before = b.resident_kib()
    began = time.monotonic()
    a.start()
    seen = []

    def all_up():
        seen.append((round(time.monotonic() - began, 1), a.up(), b.up()))
        return seen[-1][1:] == (TUNNELS, TUNNELS) or f"{seen[-1][1:]} are up"

    try:
        until(all_up, GIVE_UP_SECONDS, "all tunnels are up")
    except Failed as failed:
        verdicts.note(str(failed))
    seconds, *up = seen[-1]
    verdicts.note(f"seconds, up at A, up at B: {seen[:: max(1, len(seen) // 12)]}")
    name = f"{TUNNELS} tunnels are up in under {SECONDS_MAX:.0f} s"
    verdicts.check(name, up == [TUNNELS, TUNNELS] and seconds < SECONDS_MAX, f"{seconds} s, {up}")
    time.sleep(SETTLE_SECONDS)
    each = (b.resident_kib() - before) / TUNNELS
    name = f"a tunnel that came up costs tombolod at the hub under {KIB_EACH_MAX:.0f} KiB"
    verdicts.check(name, up[1] == TUNNELS and each < KIB_EACH_MAX, f"{each:.2f} KiB")


def carry(lab, verdicts):
    """Some of them, first and last."""
    for number in SAMPLES:
        for attempt in range(2):
            words = ("ping", "-n", "-c", 5, "-i", 0.1, "-W", 1, "-I", host("a", number), host("b", number))
            answer = ask(*words, namespace=lab.namespace("host-a"))
            if " 5 received" in answer.output:
                break
        verdicts.check(f"tunnel {number} carries echoes", " 5 received" in answer.output, answer.output.splitlines()[-2:-1])


SECTIONS = (come_up, carry)
