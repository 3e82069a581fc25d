"""Who stands at the other end, and what is checked with it."""

import dataclasses
import types
import typing

from ..gateway import find_programs
from . import basics, between, canary, floods, lifetimes, liveness, straight, survival, trouble
from .charon import Charon
from .packets import Packets
from .tombolo import Tombolo


@dataclasses.dataclass(frozen=True)
class Program:
    """`make(side, namespace, directory)` makes a gateway; some set the addresses of their ports themselves."""

    make: typing.Callable
    sets_own_addresses: bool


@dataclasses.dataclass(frozen=True)
class Peer:
    """`program(root)` answers a `Program`; `sections`: a title and a module with `CHECKS`."""

    program: typing.Callable[..., Program]
    sections: tuple[tuple[str, types.ModuleType], ...]


def strongswan(_root):
    """charon with swanctl."""
    return Program(Charon, False)


def scapy(_root):
    """ESP and keys by hand."""
    return Program(Packets, False)


def tombolo(root):
    """The release build of this checkout."""
    programs = find_programs(root)
    return Program(lambda side, namespace, directory: Tombolo(side, namespace, directory, programs), True)


PEERS = {
    "strongswan": Peer(
        strongswan,
        (
            ("The tunnel", basics),
            ("Rekeying", lifetimes),
            ("Trouble", trouble),
            ("Liveness", liveness),
            ("Survival", survival),
            ("Floods", floods),
        ),
    ),
    "scapy": Peer(scapy, (("ESP straight in IP", straight),)),
    "tombolo": Peer(tombolo, (("Between two of us", between), ("Nothing in clear", canary))),
}
# Programs that can stand on both sides and are not ours.
REFERENCES = {"strongswan"}


def gateways(root, peer, reference):
    """The programs in gateway A and B; with `reference` the peer's is in both."""
    there = PEERS[peer].program(root)
    return {"a": there if reference else tombolo(root), "b": there}
