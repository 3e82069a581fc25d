"""Two Tombolos: what strongSwan's user-space ESP cannot show (ESP straight in IP, ESN, lifetimes by volume), and what only we speak."""

import time

from ..shell import Failed, must, until
from ..underlay import ESP, UDP, frames, ip_payload
from . import full, traffic
from .basics import ECHOES, LOST, PPK, Refusal, carries, refused
from .capture import IKE_PORT, Capture
from .check import Check
from .tombolo import member_names
from .topology import NETS
from .trouble import DPD_SECONDS, behind_nat, keeps_alive, nat_moves
from .tunnel import Tunnel

RAW = "esp or ip6 proto 50 or udp port 4500"
MEGABITS = 50
FLOWS = 8
WORKERS = 2
# Packets within some milliseconds.
UNDER_WAY = 30
IKE_INTERMEDIATE = 43
REKEYED = "child SA net replaced"
BYTES = 4_000_000
PACKETS = 5_000
SECONDS = 5
MINUTE = 60
# A second address of each host, in no prefix of the first child.
SECOND = {"a": "10.71.0.200", "b": "10.72.0.200"}


def tunnel(**more):
    """With the profile of our own kind."""
    return Tunnel(profile="tombolo", **more)


def bring_up(lab, wanted):
    """Up on both sides: the one that begins knows first."""
    lab.bring_up(wanted)
    until(lambda: lab.a.ike() == lab.b.ike() != [] or f"{lab.a.ike()}, {lab.b.ike()}", 5, "both sides know one IKE SA")


def raw(lab, wanted):
    """No NAT, no UDP: protocol 50 on the wire."""
    plain, in_udp, lost = _esp_seen(lab, wanted)
    return lost == 0 and plain >= 2 * ECHOES and in_udp == 0, plain


def in_udp(lab, wanted):
    """By order in UDP, though there is no NAT."""
    plain, in_udp, lost = _esp_seen(lab, wanted)
    return lost == 0 and in_udp >= 2 * ECHOES and plain == 0, in_udp


def _esp_seen(lab, wanted):
    """Packets of ESP in IP and in UDP that the router passed on during some echoes, and echoes lost."""
    bring_up(lab, wanted)
    traffic.reaches(lab)
    capture = Capture(lab, "to-b", RAW)
    lost = traffic.ping(lab, 4, ECHOES)
    time.sleep(0.2)
    capture.stop()
    seen = [ip_payload(frame) for frame in frames(capture.file.read_bytes())]
    plain = sum(protocol == ESP for protocol, _ in seen)
    # Four bytes of zero begin IKE (RFC 3948 §2.2), a single one is a keepalive.
    in_udp = sum(protocol == UDP and len(payload) > 12 and payload[8:12] != bytes(4) for protocol, payload in seen)
    return plain, in_udp, lost


def hybrid(lab, wanted):
    """X25519 and ML-KEM-768: an exchange of its own carries the second (RFC 9242, 9370); its secret stays in the keys of a rekey."""
    bring_up(lab, wanted)
    # Who is taken down stays down; the other side hears of it.
    lab.a.forget()
    until(lambda: not lab.b.ike(), 5, "the peer has heard")
    capture = Capture(lab, "to-b")
    bring_up(lab, wanted)
    capture.stop()
    both = all(side.suite().endswith("Curve25519+MlKem768") for side in (lab.a, lab.b))
    messages = _exchanges(capture).count(IKE_INTERMEDIATE)
    traffic.reaches(lab)
    echoes = traffic.Echoes(lab, 2)
    first = lab.a.ike()
    lab.a.rekey_ike()
    until(lambda: lab.a.ike() not in (first, []), 5, "the IKE SA is replaced")
    lost, _ = echoes.lost()
    return lost == 0 and both and messages >= 2, lost


def inside(lab, wanted):
    """The gateways themselves answer on their addresses inside the tunnel, and see the other's through it alone."""
    bring_up(lab, wanted)
    ours, theirs = (wanted.own_inside[side].split("/")[0] for side in "ab")
    traffic.reaches(lab)
    capture = Capture(lab, "to-b", "esp or icmp")
    lost = traffic.ping(lab, count=ECHOES, between=(ours, theirs), sender="gw-a")
    lost += traffic.ping(lab, count=ECHOES, between=(theirs, ours), sender="gw-b")
    time.sleep(0.2)
    capture.stop()
    seen = [protocol for protocol, _ in map(ip_payload, frames(capture.file.read_bytes()))]
    return lost == 0 and seen.count(ESP) >= 4 * ECHOES and ICMP not in seen, lost


def _exchanges(capture):
    """Exchange types of the IKE messages on port 500."""
    return [datagram.payload[18] for datagram in capture.datagrams() if datagram.port == IKE_PORT and len(datagram.payload) > 28]


def extended(lab, wanted):
    """Extended sequence numbers on every SA of both sides."""
    bring_up(lab, wanted)
    lost = traffic.ping(lab, 4, ECHOES)
    sas = [sa["esn"] for side in (lab.a, lab.b) for direction in ("inbound", "outbound") for sa in side.sas(direction)]
    return lost == 0 and len(sas) == 4 and all(sas), lost


def by_volume(lab, wanted):
    """Under load keys are replaced again and again since so much passed."""
    bring_up(lab, wanted)
    traffic.reaches(lab)
    lost, _ = traffic.Stream(lab, MEGABITS, SECONDS).finish()
    replaced = lab.a.said(REKEYED)
    return lost == 0 and replaced >= 3, lost


def several(lab, wanted):
    """Three child SAs, and each carries what is its own."""
    for side in ("a", "b"):
        lab.topology.address_of(f"host-{side}", "eth0", f"{SECOND[side]}/24")
    try:
        bring_up(lab, wanted)
        until(lambda: len(lab.b.children()) == 3 or f"{lab.b.children()}", 5, "three child SAs")
        traffic.reaches(lab)
        traffic.reaches(lab, 6)
        before = {sa["spi"]: sa["packets"] for sa in lab.b.sas()}
        lost = traffic.ping(lab, 4, ECHOES) + traffic.ping(lab, 6, ECHOES)
        lost += traffic.ping(lab, 4, ECHOES, between=(SECOND["a"], SECOND["b"]))
        used = sum(sa["packets"] >= before[sa["spi"]] + ECHOES for sa in lab.b.sas())
    finally:
        for side in ("a", "b"):
            must("ip", "-n", lab.namespace(f"host-{side}"), "address", "del", f"{SECOND[side]}/24", "dev", "eth0")
    return lost == 0 and used == 3, lost


def by_worker(lab, wanted):
    """A child SA for all and one for each worker (RFC 9611); two workers seal, each with its own."""
    bring_up(lab, wanted)
    until(lambda: len(lab.a.sas("outbound")) > WORKERS or f"{len(lab.a.sas('outbound'))} SAs", 10, "an SA for each worker")
    traffic.reaches(lab)
    before = {sa["spi"]: sa["packets"] for sa in lab.a.sas("outbound")}
    lost, sent = traffic.Stream(lab, MEGABITS, SECONDS, FLOWS).finish()
    used = [sa["packets"] - before.get(sa["spi"], 0) for sa in lab.a.sas("outbound")]
    return lost == 0 and sum(packets > sent / 100 for packets in used) == WORKERS, lost


def at_once(lab, wanted):
    """Both begin in the same moment, again and again; each time both end with the same one IKE SA."""
    alike = 0
    for _ in range(ECHOES):
        for side in (lab.a, lab.b):
            side.forget()
        for process in [side.begin_up() for side in (lab.a, lab.b)]:
            process.wait(10)
        until(lambda: _settled(lab), 10, "both sides have the same one IKE SA")
        lost = traffic.ping(lab, 4, ECHOES)
        alike += lost == 0
    return alike == ECHOES, alike


def _settled(lab):
    ours, theirs = lab.a.ike(), lab.b.ike()
    counts = [len(side.children()) for side in (lab.a, lab.b)]
    return ours == theirs != [] and counts == [1, 1] or f"{ours}, {theirs}, child SAs {counts}"


def each_second(seconds):
    """Both rekey each second under 50 Mbit/s; the longer check is left out by --quick."""

    def measure(lab, wanted):
        bring_up(lab, wanted)
        traffic.reaches(lab)
        stream = traffic.Stream(lab, MEGABITS, seconds)
        if pause := lab.a.by_order(wanted):
            for _ in range(int(seconds / pause)):
                time.sleep(pause)
                for side in (lab.a, lab.b):
                    side.rekey_ike()
        lost, _ = stream.finish()
        children, ikes = lab.a.said(REKEYED), lab.a.said("IKE SA replaced")
        often = (children if wanted.rekey_child else ikes) >= seconds // 2
        return lost == 0 and often, lost

    return measure


def peer_dies(lab, wanted):
    """kill -9 of both of its processes: how long until we know."""
    bring_up(lab, wanted)
    traffic.reaches(lab)
    killed = lab.b.kill()
    until(lambda: not lab.a.ike(), 10, "the dead peer is noticed")
    return True, round(time.monotonic() - killed, 1)


def goodbye(lab, wanted):
    """`tunnel down` tells the peer, which has nothing left; `tunnel up` begins anew."""
    bring_up(lab, wanted)
    lab.a.forget()
    until(lambda: not lab.b.ike() and not lab.b.children(), 5, "the peer forgets it")
    bring_up(lab, wanted)
    lost = traffic.ping(lab, 4, ECHOES)
    return lost == 0, lost


def bundle_up(lab, wanted):
    """Both members are up, and each carries some of the flows."""
    lab.bring_up(wanted)
    until(lambda: len(lab.b.ike()) == 2 or f"{lab.b.ike()}", 10, "both members are up")
    traffic.reaches(lab)


def member_down(lab, wanted):
    """Eight flows on two members; one is taken down, and its flows go on with the other."""
    bundle_up(lab, wanted)
    stream = traffic.Stream(lab, MEGABITS, SECONDS, FLOWS)
    time.sleep(SECONDS / 2)
    carried = [sum(sa["packets"] for sa in lab.b.sas(name=name)) for name in member_names(wanted)]
    lab.a.take_down(member_names(wanted)[0])
    lost, _ = stream.finish()
    # The peer forgets the keys with the goodbye, and what was under way then is lost.
    if min(carried) == 0 or len(lab.a.ike()) != 1:
        raise Failed(f"{carried} packets by the members, {lab.a.ike()} left")
    return lost <= UNDER_WAY, lost


def member_dead(lab, wanted):
    """Nothing of one member's packets arrives any more: from when it is noticed, all flows pass."""
    bundle_up(lab, wanted)
    lab.topology.rules(NO_IPV4)
    began = time.monotonic()
    until(lambda: traffic.udp_flows(lab, 4 * FLOWS) == 4 * FLOWS, 20, "all flows pass")
    return len(lab.a.ike()) == 1, round(time.monotonic() - began, 1)


CHILDREN = {
    "first": {"a": "10.71.0.0/25", "b": "10.72.0.0/25"},
    "second": {"a": "10.71.0.128/25", "b": "10.72.0.128/25"},
    "six": NETS[6],
}
NO_IPV4 = """table ip mute {
  chain forward { type filter hook forward priority 0; policy drop; }
}
"""
# One child SA, or as many as the configuration names.
SHARED = {"per-worker": False}
UDP_ONLY = {"nat-t": "force"}
# Nobody asks whether the other one lives.
IDLE = {"dpd": {"delay": 600, "timeout": 900}}
ICMP = 1
INSIDE = {"a": "169.254.10.1/30", "b": "169.254.10.2/30"}
PPKS = {"a": PPK, "b": PPK}
EACH_SECOND = {"a": 1, "b": 1}

NOT_PROVEN = Refusal("AUTHENTICATION_FAILED", ("AUTH does not fit the pre-shared key",), "did not accept the proof of identity")

CHECKS = (
    Check("ESP straight in IPv4, packets seen", tunnel(), raw),
    Check("ESP straight in IPv6, packets seen", tunnel(outside=6), raw),
    Check("ESP in UDP by order, packets seen", tunnel(statement=UDP_ONLY), in_udp),
    Check("X25519 with ML-KEM-768, rekeyed", tunnel(), hybrid, LOST),
    Check("addresses inside the tunnel are answered on", tunnel(everything=True, own_inside=INSIDE), inside, LOST),
    Check("PPK", tunnel(ppk=PPKS), carries, LOST),
    Check("another PPK is refused", tunnel(ppk={"a": PPK, "b": PPK[::-1]}), refused(NOT_PROVEN)),
    Check("ML-KEM-768, PPK and Ed25519 certificates", tunnel(ppk=PPKS, proof="ed25519"), hybrid, LOST),
    Check("extended sequence numbers, all four SAs", tunnel(statement=SHARED), extended, LOST),
    Check(f"rekeyed each {BYTES // 10**6} MB, 50 Mbit/s", tunnel(statement={"esp": {"bytes": BYTES}}), by_volume, "packets lost"),
    Check(f"rekeyed each {PACKETS} packets, 50 Mbit/s", tunnel(statement={"esp": {"packets": PACKETS}}), by_volume, "packets lost"),
    Check("three child SAs", tunnel(inside=(4, 6), children=CHILDREN, statement=SHARED), several, LOST),
    Check("a child SA for each of two workers", tunnel(), by_worker, "packets lost"),
    Check("both begin at once", tunnel(initiator="both", statement=SHARED), at_once, "times one IKE SA"),
    Check("both rekey the child each second, 50 Mbit/s", tunnel(rekey_child=EACH_SECOND), each_second(SECONDS), "packets lost"),
    Check("both rekey the IKE SA each second, 50 Mbit/s", tunnel(rekey_ike=EACH_SECOND), each_second(SECONDS), "packets lost"),
    Check(
        "both rekey the child each second for a minute",
        tunnel(rekey_child=EACH_SECOND),
        each_second(MINUTE),
        "packets lost",
        long=True,
    ),
    Check("all rekeyed twice a second at 80 % of the lab's rate, 5 s", tunnel(), full.rekeyed(5), "lost"),
    Check("all rekeyed twice a second at 80 % of the lab's rate, 20 s", tunnel(), full.rekeyed(20), "lost", long=True),
    Check("a bundle: a member is taken down", tunnel(bundle=(4, 6)), member_down, "packets under way lost", noisy=True),
    Check(
        "a bundle: a member's path is dead",
        tunnel(bundle=(4, 6), dpd_seconds={"a": DPD_SECONDS, "b": DPD_SECONDS}),
        member_dead,
        "s until all flows pass",
    ),
    Check("behind a NAT, the port as the peer sees it", tunnel(), behind_nat("a"), behind_nat="a"),
    Check("behind a NAT, idle, a keepalive", tunnel(statement=IDLE), keeps_alive, "s after the last packet", behind_nat="a"),
    Check(
        "the NAT's port changes under traffic, followed",
        tunnel(dpd_seconds={"a": DPD_SECONDS}),
        nat_moves,
        "s until echoes pass",
        behind_nat="a",
    ),
    Check("the other Tombolo is killed", tunnel(dpd_seconds={"a": DPD_SECONDS}), peer_dies, "s until we know"),
    Check("a goodbye, and up again", tunnel(), goodbye, LOST),
)
