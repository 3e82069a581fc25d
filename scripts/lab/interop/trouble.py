"""What happens on the way and at the other end: translation, its changes, death; and what an onlooker with the keys sees."""

import time

from ..shell import Failed, until
from . import traffic
from .capture import KEEPALIVE, Capture, IkeKeys
from .check import Check
from .topology import NAT_ADDRESSES, NAT_PORTS, OUTSIDE
from .tunnel import Tunnel

DPD_SECONDS = 1
# RFC 3948 §4.
KEEPALIVE_SECONDS = 20
# A check each second, five messages from 0.5 s on with a back-off of 1.5: 6.6 s, and some for the machine.
DPD_SECONDS_MAX = 10


def within(ports, port):
    """Whether a port is one of `first-last`."""
    first, last = (int(end) for end in ports.split("-"))
    return first <= port <= last


def put_behind_nat(lab, side="a"):
    """A masquerade gives a side other ports from now on; what came up without it is forgotten."""
    (lab.a if side == "a" else lab.b).forget()
    lab.topology.masquerade(side, NAT_PORTS[0])
    lab.topology.forget_mappings()


def behind_nat(side):
    """A check that the port of a side is another one: seen on the wire."""

    def measure(lab, tunnel):
        put_behind_nat(lab, side)
        capture = Capture(lab, "to-b" if side == "a" else "to-a")
        lab.bring_up(tunnel)
        lost = traffic.ping(lab, 4, 5)
        capture.stop()
        seen = capture.sources(NAT_ADDRESSES[side])
        rewritten = bool(seen) and all(within(NAT_PORTS[0], port) for port in seen)
        return lost == 0 and rewritten, max(seen, default=None)

    return measure


def keeps_alive(lab, tunnel):
    """Idle behind a NAT, we send one byte after 20 s, and the other side, which is behind none, sends nothing (RFC 3948 §4)."""
    put_behind_nat(lab)
    capture = Capture(lab, "to-b", "udp")
    lab.bring_up(tunnel)
    time.sleep(KEEPALIVE_SECONDS + 2)
    capture.stop()
    ours, theirs = ([seen for seen in capture.datagrams() if seen.source == source] for source in (NAT_ADDRESSES["a"], OUTSIDE[4]["b"]))
    alive = [seen for seen in ours if seen.payload == KEEPALIVE]
    last = max((seen.time for seen in ours if seen.payload != KEEPALIVE), default=0)
    if len(alive) != 1 or not theirs or any(seen.payload == KEEPALIVE for seen in theirs):
        raise Failed(f"{len(alive)} keepalives of ours, {[seen.payload[:8].hex() for seen in theirs]} of theirs")
    # To where IKE and ESP in UDP go, from where the NAT has a mapping for them.
    same_way = {(seen.source_port, seen.port) for seen in alive} <= {(seen.source_port, seen.port) for seen in ours if seen not in alive}
    seconds = alive[0].time - last
    return same_way and abs(seconds - KEEPALIVE_SECONDS) < 1, round(seconds, 1)


def nat_moves(lab, tunnel):
    """The NAT forgets us under traffic and gives us another port: the peer follows what it can authenticate (RFC 7296 §2.23)."""
    put_behind_nat(lab)
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    spis = lab.b.ike()
    echoes = traffic.Echoes(lab, 8)
    time.sleep(1)
    lab.topology.masquerade("a", NAT_PORTS[1])
    lab.topology.forget_mappings()
    moved = time.monotonic()
    capture = Capture(lab, "to-b")
    try:
        until(lambda: traffic.ping(lab, 4, 1) == 0, 7, "echoes pass again")
        seconds = time.monotonic() - moved
    finally:
        capture.stop()
        echoes.lost()
    followed = any(within(NAT_PORTS[1], port) for port in capture.sources(NAT_ADDRESSES["a"]))
    return followed and lab.b.ike() == spis, round(seconds, 1)


def peer_dies(lab, tunnel):
    """kill -9 of the peer: how long until we know."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    killed = lab.b.kill()
    until(lambda: not lab.a.ike(), DPD_SECONDS_MAX + 5, "the dead peer is noticed")
    seconds = time.monotonic() - killed
    return seconds < DPD_SECONDS_MAX, round(seconds, 1)


def peer_returns(lab, tunnel):
    """The peer says goodbye (DELETE) and the tunnel is brought up again by the side that begins."""
    lab.bring_up(tunnel)
    first = lab.b.ike()
    lab.b.swanctl("--terminate", "--ike", "peer")
    until(lambda: not lab.b.ike() or lab.b.ike() != first, 5, "the peer forgets it")
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, 5)
    return lost == 0 and lab.b.ike() != first, lost


def decrypted(lab, tunnel):
    """tshark opens the whole exchange with the peer's keys: IKE_AUTH's payloads are those of RFC 7296 §1.2."""
    lab.a.forget()
    capture = Capture(lab, "to-b")
    lab.bring_up(tunnel)
    time.sleep(0.3)
    capture.stop()
    sa, _ = lab.b.suite()
    encryption = (sa["encr-alg"], sa.get("encr-keysize", ""))
    keys = IkeKeys(sa["initiator-spi"], sa["responder-spi"], encryption, lab.b.words())
    lines = capture.decrypted(keys, "isakmp.exchangetype", "isakmp.typepayload", "isakmp.auth.method")
    # Identification (35 or 36), AUTH (39), SA (33), selectors (44, 45) lie within the encrypted payload (46).
    opened = [line for line in lines if line.startswith("35\t") and {"39", "33", "44", "45"} <= set(line.split("\t")[1].split(","))]
    return len(opened) == 2, len(opened)


CHECKS = (
    Check("behind a NAT, our port as the peer sees it", Tunnel(), behind_nat("a"), behind_nat="a"),
    Check("behind a NAT, certificates", Tunnel(proof="ecdsa-256"), behind_nat("a"), behind_nat="a"),
    Check("the peer behind a NAT begins, its port as we see it", Tunnel(initiator="b"), behind_nat("b"), behind_nat="b"),
    Check(
        "the NAT's port changes under traffic",
        Tunnel(dpd_seconds={"a": DPD_SECONDS}),
        nat_moves,
        "s until echoes pass",
        behind_nat="a",
    ),
    Check("the peer is killed", Tunnel(dpd_seconds={"a": DPD_SECONDS}), peer_dies, "s until we know", noisy=True),
    Check("the peer ends it, we begin again", Tunnel(), peer_returns, "echoes lost"),
    Check(
        "tshark decrypts IKE_AUTH",
        Tunnel(),
        decrypted,
        "messages",
        log_keys=True,
    ),
)
