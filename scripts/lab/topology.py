"""The namespaces, their links and addresses.

    a-prod ─┐                                                   ┌─ b-prod
            ├─ gw-a ──────────── internet ──────────── gw-b ────┤
    a-dev ──┘  (Tombolo)      (kernel router)        (Tombolo)  └─ b-dev
                                   │
                                  web

The names on the machine are `tombolo-<lab>-<role>`; nothing outside these namespaces is touched.
"""

from .namespaces import End, Namespaces
from .shell import must

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


class Topology(Namespaces):
    """The namespaces of one lab."""

    def __init__(self, lab):
        super().__init__({role: f"tombolo-{lab}-{role}" for role in ROLES})

    def build(self):
        """Makes everything but the gateways' addresses, which `tombolod` puts on its ports itself."""
        self.make()
        for link in LINKS:
            peer = End(link.peer, link.peer_device, plain_checksums=link.peer not in GATEWAYS)
            self.connect(End(link.role, link.device, link.addresses), peer, MTU, QUEUES)
        for bare in ROUTER_TO_WEB:
            self.address_of("internet", "to-web", bare)
        for role, gateways in DEFAULT_ROUTES.items():
            for gateway in gateways:
                self.route(role, "default", gateway)
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        must("sysctl", "-q", "-w", *forwarding, namespace=self.namespaces["internet"])
