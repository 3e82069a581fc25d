"""Network namespaces in a row: generator, one or two gateways, sink. The same for whatever forwards.

    gen ── 10.9.0.0/24 ── gw-a [── 10.9.1.0/24 ── gw-b] ── 10.9.n.0/24 ── sink

The device towards the sink is `right`, the one towards the generator `left`; the left end of each link is .1, the right one .2.
"""

import itertools
import os

from lab.namespaces import End, Namespaces, remove
from lab.shell import ask

QUEUES = 1
PREFIX = "tombolo-perf-"
_numbers = itertools.count()


class Chain(Namespaces):
    """Namespaces that vanish with `remove`."""

    def __init__(self, gateways=1, mtu=1500, gateway_addresses=True):
        names = [chr(ord("a") + number) for number in range(gateways)]
        self.roles = ["gen", *(f"gw-{name}" for name in names), "sink"]
        lab = f"{PREFIX}{os.getpid():x}-{next(_numbers)}"
        super().__init__({role: f"{lab}-{role}" for role in self.roles})
        self.mtu = mtu
        self.gateway_addresses = gateway_addresses

    def build(self):
        """Makes everything; kernel routes lead both ways through the gateways."""
        self.make()
        for left, right in itertools.pairwise(self.roles):
            self.connect(self._end(left, "right"), self._end(right, "left"), self.mtu, QUEUES)
        last = len(self.roles) - 2
        self.route("gen", "default", self.address("gw-a", "left"))
        self.route("sink", "default", self.address(self.roles[-2], "right"))
        if self.gateway_addresses and last > 1:
            self.route("gw-a", f"10.9.{last}.0/24", self.address("gw-b", "left"))
            self.route("gw-b", "10.9.0.0/24", self.address("gw-a", "right"))
        return self

    def _end(self, role, device):
        addresses = [f"{self.address(role, device)}/24"] if role in ("gen", "sink") or self.gateway_addresses else []
        return End(role, device, addresses, self.mac(role, device))

    def address(self, role, device):
        """IPv4 address of a device."""
        at = self.roles.index(role)
        return f"10.9.{at}.1" if device == "right" else f"10.9.{at - 1}.2"

    def mac(self, role, device):
        """MAC address of a device."""
        link, end = (self.roles.index(role), 1) if device == "right" else (self.roles.index(role) - 1, 2)
        return f"02:00:00:00:{link:02x}:{end:02x}"

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


def remove_left_over():
    """Removes the chains of runs that were killed."""
    for name in ask("ip", "netns", "list").output.split():
        owner = name.removeprefix(PREFIX).partition("-")[0] if name.startswith(PREFIX) else ""
        if owner and not os.path.exists(f"/proc/{int(owner, 16)}"):
            remove([name])
