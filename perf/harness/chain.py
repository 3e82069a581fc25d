"""Network namespaces in a row: generator, one or two gateways, sink. The same for whatever forwards.

    gen ── 10.9.0.0/24 ── gw-a [── 10.9.1.0/24 ── gw-b] ── 10.9.n.0/24 ── sink

The device towards the sink is `right`, the one towards the generator `left`; the left end of each link is .1, the right one .2.
"""

import itertools
import os

from lab.shell import ask, must, stop
from lab.topology import exists, pids, program

QUEUES = 1
PREFIX = "tombolo-perf-"
_numbers = itertools.count()


class Chain:
    """Namespaces that vanish with `remove`."""

    def __init__(self, gateways=1, mtu=1500, gateway_addresses=True):
        names = [chr(ord("a") + number) for number in range(gateways)]
        self.roles = ["gen", *(f"gw-{name}" for name in names), "sink"]
        lab = f"{PREFIX}{os.getpid():x}-{next(_numbers)}"
        self.namespaces = {role: f"{lab}-{role}" for role in self.roles}
        self.mtu = mtu
        self.gateway_addresses = gateway_addresses

    def build(self):
        """Makes everything; kernel routes lead both ways through the gateways."""
        for namespace in self.namespaces.values():
            must("ip", "netns", "add", namespace)
            must("ip", "-n", namespace, "link", "set", "lo", "up")
        for link in range(len(self.roles) - 1):
            self._connect(link)
        last = len(self.roles) - 2
        self._route("gen", "default", self.address("gw-a", "left"))
        self._route("sink", "default", self.address(self.roles[-2], "right"))
        if self.gateway_addresses and last > 1:
            self._route("gw-a", f"10.9.{last}.0/24", self.address("gw-b", "left"))
            self._route("gw-b", "10.9.0.0/24", self.address("gw-a", "right"))
        return self

    def _connect(self, link):
        left, right = self.roles[link], self.roles[link + 1]
        queues = ("numtxqueues", QUEUES, "numrxqueues", QUEUES)
        must(
            *("ip", "link", "add", "right", "netns", self.namespaces[left], "address", mac(link, 1), "mtu", self.mtu),
            *(*queues, "type", "veth", "peer", "name", "left", "netns", self.namespaces[right]),
            *("address", mac(link, 2), "mtu", self.mtu, *queues),
        )
        for role, device in ((left, "right"), (right, "left")):
            namespace = self.namespaces[role]
            if role in ("gen", "sink") or self.gateway_addresses:
                must("ip", "-n", namespace, "address", "add", f"{self.address(role, device)}/24", "dev", device)
            must("ip", "-n", namespace, "link", "set", device, "up")
            # A veth sender leaves checksums to a card that is not there, and AF_XDP would see them unfinished.
            must("ethtool", "-K", device, "tx", "off", namespace=namespace)

    def _route(self, role, to, via):
        must("ip", "-n", self.namespaces[role], "route", "add", to, "via", via)

    def address(self, role, device):
        """IPv4 address of a device."""
        at = self.roles.index(role)
        return f"10.9.{at}.1" if device == "right" else f"10.9.{at - 1}.2"

    def mac(self, role, device):
        """MAC address of a device."""
        at = self.roles.index(role)
        return mac(at, 1) if device == "right" else mac(at - 1, 2)

    def know_neighbours(self):
        """Nobody has to ask for a MAC address while packets are counted."""
        for at, role in enumerate(self.roles):
            for device, other, back in (("right", at + 1, "left"), ("left", at - 1, "right")):
                if 0 <= other < len(self.roles):
                    peer = self.roles[other]
                    ask(
                        *("ip", "-n", self.namespaces[role], "neigh", "replace", self.address(peer, back)),
                        *("lladdr", self.mac(peer, back), "dev", device),
                    )

    def remove(self):
        """Ends whatever runs in the namespaces, then removes them. Never fails."""
        present = [namespace for namespace in self.namespaces.values() if exists(namespace)]
        for name in ("tombolod", None):
            stop([pid for namespace in present for pid in pids(namespace) if name in (None, program(pid))])
        for namespace in present:
            ask("ip", "netns", "delete", namespace)


def remove_left_over():
    """Removes the chains of runs that were killed."""
    for name in ask("ip", "netns", "list").output.split():
        owner = name.removeprefix(PREFIX).partition("-")[0] if name.startswith(PREFIX) else ""
        if owner and not os.path.exists(f"/proc/{int(owner, 16)}"):
            stop(pids(name))
            ask("ip", "netns", "delete", name)


def mac(link, end):
    """The MAC address of an end of a link."""
    return f"02:00:00:00:{link:02x}:{end:02x}"
