"""A tunnel as a check wants it: everything that both sides must agree on, and nothing of how a program is told."""

import dataclasses

from .topology import ANY, NETS

GOOD_IKE = "aes256gcm16-prfsha256-x25519"
GOOD_ESP = "aes256gcm16-x25519"
# In the letters that every cloud takes.
SECRET = "of.no.value.to.anybody.but.long.enough"


@dataclasses.dataclass(frozen=True)
class Tunnel:
    """`a` is Tombolo's side, `b` the peer's. Proposals are in the words of swanctl.conf; seconds of 0 mean: not by time."""

    outside: int = 4
    inside: tuple = (4,)
    # `a`, `b`, or `both`.
    initiator: str = "a"
    # `psk`, or a kind of certificate in certificates.py.
    proof: str = "psk"
    profile: str = "custom"
    ike: str = GOOD_IKE
    esp: str = GOOD_ESP
    # What the peer accepts where it is not the same.
    peer_ike: str = ""
    peer_esp: str = ""
    # All addresses, as the clouds want it, instead of the hosts' prefixes.
    everything: bool = False
    start_on_4500: bool = False
    # The peer offers to change its addresses (RFC 4555).
    mobike: bool = False
    rekey_ike: dict = dataclasses.field(default_factory=dict)
    rekey_child: dict = dataclasses.field(default_factory=dict)
    dpd_seconds: dict = dataclasses.field(default_factory=dict)
    ppk: dict = dataclasses.field(default_factory=dict)
    secrets: dict = dataclasses.field(default_factory=lambda: {"a": SECRET, "b": SECRET})
    # Bytes of the largest IKE datagram.
    fragment_bytes: int = 1280
    # Prefixes of both sides by the child's name, instead of one child for all.
    children: dict = dataclasses.field(default_factory=dict)
    # The gateways' own addresses inside the tunnel, with prefix lengths, by side.
    own_inside: dict = dataclasses.field(default_factory=dict)
    # Families outside of the members of a bundle, instead of one tunnel.
    bundle: tuple = ()
    # A second tunnel of side A takes whoever proves to be it.
    strangers: bool = False
    # What is behind side A reaches everything else by the uplink, translated.
    internet: bool = False
    # Numbers of the first ESP packets of a peer that may choose them; it counts on from the last.
    sequences: tuple = (1,)
    # Further words of Tombolo's statement on both sides: `{"esp": {"bytes": 1000000}}`.
    statement: dict = dataclasses.field(default_factory=dict)

    def proposals(self, side):
        """`(ike, esp)` of a side."""
        if side == "a":
            return self.ike, self.esp
        return self.peer_ike or self.ike, self.peer_esp or self.esp

    def selectors(self, side):
        """What lies behind a side, a prefix of each family."""
        if self.children:
            return [child[side] for child in self.children.values()]
        return [ANY[family] if self.everything else NETS[family][side] for family in self.inside]
