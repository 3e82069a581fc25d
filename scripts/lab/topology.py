"""The namespaces, their links and addresses.

    a-prod ─┐                                                   ┌─ b-prod
            ├─ gw-a ──────────── internet ──────────── gw-b ────┤
    a-dev ──┘  (Tombolo)      (kernel router)        (Tombolo)  └─ b-dev
                                   │
                                  web

The names on the machine are `tombolo-<lab>-<role>`; nothing outside these namespaces is touched.
"""

import os

from .shell import ask, must, stop

HOSTS = ("a-prod", "a-dev", "b-prod", "b-dev", "web")
GATEWAYS = ("gw-a", "gw-b")
ROLES = (*HOSTS, *GATEWAYS, "internet")
MTU = 1500
QUEUES = 2


class Link:
    """A veth: an end with addresses of ours, and an end that is a gateway's port (or the web server's)."""

    def __init__(self, role, device, addresses, peer, peer_device):
        self.role = role
        self.device = device
        self.addresses = addresses
        self.peer = peer
        self.peer_device = peer_device


LINKS = (
    Link("a-prod", "eth0", ("10.1.0.10/24", "fd00:1::10/64"), "gw-a", "prod0"),
    Link("a-dev", "eth0", ("10.1.1.10/24", "fd00:1:1::10/64"), "gw-a", "dev0"),
    Link("b-prod", "eth0", ("10.2.0.10/24", "fd00:2::10/64"), "gw-b", "prod0"),
    Link("b-dev", "eth0", ("10.2.1.10/24", "fd00:2:1::10/64"), "gw-b", "dev0"),
    Link("internet", "to-a", ("192.0.2.254/24", "2001:db8:a::fe/64"), "gw-a", "up0"),
    Link("internet", "to-b", ("198.51.100.254/24", "2001:db8:b::fe/64"), "gw-b", "up0"),
    Link("web", "eth0", ("203.0.113.80/24", "2001:db8:80::80/64"), "internet", "to-web"),
)
ROUTER_TO_WEB = ("203.0.113.254/24", "2001:db8:80::fe/64")
DEFAULT_ROUTES = {
    "a-prod": ("10.1.0.1", "fd00:1::1"),
    "a-dev": ("10.1.1.1", "fd00:1:1::1"),
    "b-prod": ("10.2.0.1", "fd00:2::1"),
    "b-dev": ("10.2.1.1", "fd00:2:1::1"),
    "web": ("203.0.113.254", "2001:db8:80::fe"),
}
# What the internet sees of each gateway.
OUTSIDE = {"gw-a": "192.0.2.1", "gw-b": "198.51.100.1"}
OUTSIDE6 = {"gw-a": "2001:db8:a::1", "gw-b": "2001:db8:b::1"}


def address(role, version=4):
    """A host's own address, without its length."""
    link = next(link for link in LINKS if link.role == role)
    return link.addresses[0 if version == 4 else 1].split("/")[0]


class Topology:
    """The namespaces of one lab."""

    def __init__(self, lab):
        self.namespaces = {role: f"tombolo-{lab}-{role}" for role in ROLES}

    def build(self):
        """Makes everything but the gateways' addresses, which `tombolod` puts on its ports itself."""
        for namespace in self.namespaces.values():
            must("ip", "netns", "add", namespace)
            must("ip", "-n", namespace, "link", "set", "lo", "up")
        for link in LINKS:
            self._connect(link)
        for bare in ROUTER_TO_WEB:
            self._address("internet", "to-web", bare)
        for role, gateways in DEFAULT_ROUTES.items():
            for gateway in gateways:
                must("ip", "-n", self.namespaces[role], "route", "add", "default", "via", gateway)
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        must("sysctl", "-q", "-w", *forwarding, namespace=self.namespaces["internet"])

    def _connect(self, link):
        queues = ("numtxqueues", QUEUES, "numrxqueues", QUEUES)
        ours, theirs = self.namespaces[link.role], self.namespaces[link.peer]
        must(
            *("ip", "link", "add", link.device, "netns", ours, "mtu", MTU, *queues),
            *("type", "veth", "peer", "name", link.peer_device, "netns", theirs, "mtu", MTU, *queues),
        )
        for bare in link.addresses:
            self._address(link.role, link.device, bare)
        must("ip", "-n", theirs, "link", "set", link.peer_device, "up")
        must("ip", "-n", ours, "link", "set", link.device, "up")
        # A veth sender leaves checksums to a card that is not there, and AF_XDP would see them unfinished.
        must("ethtool", "-K", link.device, "tx", "off", namespace=ours)
        if link.peer not in GATEWAYS:
            must("ip", "-n", theirs, "link", "set", link.peer_device, "up")
            must("ethtool", "-K", link.peer_device, "tx", "off", namespace=theirs)

    def _address(self, role, device, bare):
        # Duplicate address detection would hold the IPv6 address back for a second.
        nodad = ("nodad",) if ":" in bare else ()
        must("ip", "-n", self.namespaces[role], "address", "add", bare, "dev", device, *nodad)

    def remove(self):
        """Ends whatever runs in the namespaces, then removes them. Never fails: it runs after failures."""
        present = [namespace for namespace in self.namespaces.values() if exists(namespace)]
        # tombolod first: it would start the dataplane again.
        for name in ("tombolod", None):
            stop([pid for namespace in present for pid in pids(namespace) if name in (None, program(pid))])
        for namespace in present:
            ask("ip", "netns", "delete", namespace)


def exists(namespace):
    """Whether a namespace of that name is there."""
    return os.path.exists(f"/run/netns/{namespace}")


def pids(namespace):
    """Processes in a namespace."""
    return [int(pid) for pid in ask("ip", "netns", "pids", namespace).output.split() if pid.isdigit()]


def program(pid):
    """Name of a process's program, `None` if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
            return comm.read().strip()
    except OSError:
        return None
