"""Network namespaces joined by veth pairs: made, and gone again with whatever runs in them."""

import os

from .shell import ask, must, stop


class End:
    """One end of a link. Without `plain_checksums` its device stays as it was made: whoever takes it sees to that itself."""

    def __init__(self, role, device, addresses=(), mac=None, plain_checksums=True):
        self.role = role
        self.device = device
        self.addresses = addresses
        self.mac = mac
        self.plain_checksums = plain_checksums


class Namespaces:
    """Namespaces by role."""

    def __init__(self, namespaces):
        self.namespaces = namespaces

    def make(self):
        """Makes them, empty."""
        for namespace in self.namespaces.values():
            must("ip", "netns", "add", namespace)
            must("ip", "-n", namespace, "link", "set", "lo", "up")

    def connect(self, end, other, mtu, queues):
        """A veth between two of them, up, with the addresses of its ends."""
        count = ("numtxqueues", queues, "numrxqueues", queues)
        must(
            *("ip", "link", "add", end.device, "netns", self.namespaces[end.role], *_mac(end), "mtu", mtu, *count, "type", "veth"),
            *("peer", "name", other.device, "netns", self.namespaces[other.role], *_mac(other), "mtu", mtu, *count),
        )
        for each in (end, other):
            for bare in each.addresses:
                self.address_of(each.role, each.device, bare)
        for each in (other, end):
            must("ip", "-n", self.namespaces[each.role], "link", "set", each.device, "up")
            if each.plain_checksums:
                # A veth sender leaves checksums to a card that is not there, and AF_XDP would see them unfinished.
                must("ethtool", "-K", each.device, "tx", "off", namespace=self.namespaces[each.role])

    def address_of(self, role, device, bare):
        """Adds an address with its length."""
        # Duplicate address detection would hold the IPv6 address back for a second.
        nodad = ("nodad",) if ":" in bare else ()
        must("ip", "-n", self.namespaces[role], "address", "add", bare, "dev", device, *nodad)

    def route(self, role, to, via):
        """Adds a route."""
        must("ip", "-n", self.namespaces[role], "route", "add", to, "via", via)

    def remove(self):
        """Ends whatever runs in the namespaces, then removes them. Never fails: it runs after failures."""
        remove(namespace for namespace in self.namespaces.values() if exists(namespace))


def _mac(end):
    return ("address", end.mac) if end.mac else ()


def remove(present):
    """The same for some namespaces that are there."""
    present = list(present)
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
