"""The namespaces of the interoperability lab.

    host-a ── gw-a ──────────── router ──────────── gw-b ── host-b
           (Tombolo)      (NAT where asked)       (the peer)

The names on the machine are `tombolo-<lab>-<role>`; nothing outside these namespaces is touched.
"""

import pathlib
import sys

from ..namespaces import End, Namespaces
from ..shell import must

ROLES = ("host-a", "gw-a", "router", "gw-b", "host-b")
MTU = 1500
QUEUES = 2
HOSTS = {4: {"a": "10.71.0.10", "b": "10.72.0.10"}, 6: {"a": "fd71::10", "b": "fd72::10"}}
NETS = {4: {"a": "10.71.0.0/24", "b": "10.72.0.0/24"}, 6: {"a": "fd71::/64", "b": "fd72::/64"}}
INSIDE = {"a": ("10.71.0.1/24", "fd71::1/64"), "b": ("10.72.0.1/24", "fd72::1/64")}
OUTSIDE = {4: {"a": "192.0.2.1", "b": "198.51.100.1"}, 6: {"a": "2001:db8:a::1", "b": "2001:db8:b::1"}}
OUTSIDE_NETS = {"a": ("192.0.2.1/24", "2001:db8:a::1/64"), "b": ("198.51.100.1/24", "2001:db8:b::1/64")}
ROUTER = {"a": ("192.0.2.254", "2001:db8:a::fe"), "b": ("198.51.100.254", "2001:db8:b::fe")}
ROUTER_NETS = {"a": ("192.0.2.254/24", "2001:db8:a::fe/64"), "b": ("198.51.100.254/24", "2001:db8:b::fe/64")}
ANY = {4: "0.0.0.0/0", 6: "::/0"}
# What the other side sees of a gateway behind the NAT.
NAT_ADDRESSES = {"a": ROUTER["b"][0], "b": ROUTER["a"][0]}
NAT_PORTS = ("30000-30999", "40000-40999")

MASQUERADE = """table ip nat {{
  chain after {{ type nat hook postrouting priority srcnat;
    oifname "to-{far_side}" ip saddr {outside}/24 meta l4proto udp masquerade to :{ports}
  }}
}}
"""
# Ahead of conntrack, which would join them.
NO_FRAGMENTS = """table inet whole {
  chain before { type filter hook prerouting priority -450;
    ip frag-off & 0x3fff != 0 counter drop
    exthdr frag exists counter drop
  }
}
"""


class Topology(Namespaces):
    """The namespaces of one lab."""

    def __init__(self, lab):
        super().__init__({role: f"tombolo-{lab}-{role}" for role in ROLES})

    def build(self, own_addresses):
        """Makes everything. `own_addresses`: whose addresses are set here, the others set theirs themselves."""
        self.make()
        for side in ("a", "b"):
            ours = own_addresses[side]
            gateway = f"gw-{side}"
            host = (f"{HOSTS[4][side]}/24", f"{HOSTS[6][side]}/64")
            inside = End(gateway, "in0", INSIDE[side] if ours else (), plain_checksums=ours)
            self.connect(End(f"host-{side}", "eth0", host), inside, MTU, QUEUES)
            outside = End(gateway, "up0", OUTSIDE_NETS[side] if ours else (), plain_checksums=ours)
            self.connect(End("router", f"to-{side}", ROUTER_NETS[side]), outside, MTU, QUEUES)
            for bare in INSIDE[side]:
                self.route(f"host-{side}", "default", bare.split("/")[0])
            if ours:
                for via in ROUTER[side]:
                    self.route(gateway, "default", via)
                self.forward(gateway)
                for family in (4, 6):
                    # A tunnel whose selector is everything must not take what is for the hosts behind this gateway.
                    rule = ("rule", "add", "pref", 100, "to", NETS[family][side], "lookup", "main")
                    must("ip", f"-{family}", "-n", self.namespaces[gateway], *rule)
        self.forward("router")

    def forward(self, role):
        """Lets the kernel of a namespace forward."""
        settings = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0")
        must("sysctl", "-q", "-w", *settings, "net.ipv4.conf.default.rp_filter=0", namespace=self.namespaces[role])

    def rules(self, text):
        """Gives the router these rules of nftables, and no others."""
        namespace = self.namespaces["router"]
        must("nft", "flush ruleset", namespace=namespace)
        must("nft", text, namespace=namespace)

    def masquerade(self, side, ports):
        """Translates what leaves a gateway; mappings that there are stay."""
        far_side = "b" if side == "a" else "a"
        self.rules(MASQUERADE.format(far_side=far_side, outside=OUTSIDE[4][side], ports=ports))

    def no_rules(self):
        """A router that translates and drops nothing."""
        must("nft", "flush ruleset", namespace=self.namespaces["router"])
        self.forget_mappings()

    def forget_mappings(self):
        """The NAT forgets: the next packet of each flow gets a mapping by the rules of now."""
        program = pathlib.Path(__file__).with_name("forget_mappings.py")
        must(sys.executable, "-B", program, namespace=self.namespaces["router"])
