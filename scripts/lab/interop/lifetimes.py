"""Keys are replaced under traffic, and nothing is lost: by order, by a cloud's lifetimes, each second for a minute."""

import time

from ..shell import until
from . import traffic
from .check import Check
from .clouds import ACCEPTED
from .tunnel import Tunnel

# The longer lifetime of a cloud takes this long here, and the shorter one as much less as in truth, but no less than this.
SCALED_IKE_SECONDS = 8
SCALED_CHILD_SECONDS_MIN = 2
ECHO_SECONDS = 11
MINUTE = 60
MEGABITS = 50


def ordered(lab, tunnel):
    """The child with a key exchange of its own, then the IKE SA, then the child under the new one; echoes all the time."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    echoes = traffic.Echoes(lab, 6)
    for _ in range(2):
        before = set(lab.b.children())
        lab.a.rekey_child()
        until(lambda before=before: replaced(before, lab.b.children()), 5, "the child is replaced")
        # The first child has none: its keys come from IKE_AUTH.
        group = next(iter(lab.b.children().values()))
        ike = set(lab.b.ike())
        lab.a.rekey_ike()
        until(lambda ike=ike: replaced(ike, lab.b.ike()), 5, "the IKE SA is replaced")
    lost, _ = echoes.lost()
    return lost == 0 and bool(group), lost


def replaced(before, now):
    """One is there, and it is another one."""
    return len(now) == 1 and not before & set(now) or f"{sorted(before)}, then {sorted(now)}"


def scaled(lab, tunnel):
    """The cloud's own lifetimes, scaled: it rekeys both, echoes all the time."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    echoes = traffic.Echoes(lab, ECHO_SECONDS)
    lost, _ = echoes.lost()
    children = lab.b.said(r"inbound CHILD_SA net\{\d+\} established")
    ikes = lab.b.said(r"IKE_SA peer\[\d+\] rekeyed between")
    return lost == 0 and children >= 2 and ikes >= 1, lost


def each_second(lab, tunnel):
    """Both sides replace keys each second for a minute under 50 Mbit/s; both at once again and again (RFC 7296 §2.8.1, §2.8.2)."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    stream = traffic.Stream(lab, MEGABITS, MINUTE)
    if pause := lab.a.by_order(tunnel):
        for _ in range(int(MINUTE / pause)):
            time.sleep(pause)
            lab.a.rekey_ike()
    lost, sent, rate = stream.finish()
    replaced_children = lab.b.said(r"inbound CHILD_SA net\{\d+\} established")
    replaced_ikes = lab.b.said(r"IKE_SA peer\[\d+\] rekeyed between")
    often = all(
        count >= MINUTE // 2
        for seconds, count in ((tunnel.rekey_child, replaced_children), (tunnel.rekey_ike, replaced_ikes))
        if seconds.get("a") == 1
    )
    return lost == 0 and often and replays(lab) == 0 and sent > 0 and rate > 0.9 * MEGABITS, lost


def replays(lab):
    """Packets that fell out of the peer's window, or came twice."""
    return lab.b.said("failed sequence number verification|sequence number verification failed|replayed packet")


def no_replays(lab, tunnel):
    """At 50 Mbit/s no packet falls out of the peer's window of 128."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    lost, sent, _ = traffic.Stream(lab, MEGABITS, 5).finish()
    return lost == 0 and replays(lab) == 0 and sent > 0, replays(lab)


def times(cloud):
    """A cloud's lifetimes in its own proportion, `(ike, child)`."""
    child = SCALED_IKE_SECONDS * cloud.child_seconds // cloud.ike_seconds
    return SCALED_IKE_SECONDS, max(SCALED_CHILD_SECONDS_MIN, min(child, 3))


def of_cloud(cloud, initiator="a"):
    """The rows of a cloud."""
    ike, child = times(cloud)
    who = "we begin" if initiator == "a" else "it begins"
    lost = "echoes lost"
    yield Check(f"{cloud.name}: rekeyed by order, {who}", cloud.tunnel(initiator=initiator), ordered, lost)
    yield Check(
        f"{cloud.name}: rekeyed by its lifetimes, {who}",
        cloud.tunnel(initiator=initiator, rekey_ike={"b": ike}, rekey_child={"b": child}),
        scaled,
        lost,
    )


CHECKS = (
    *(row for cloud in ACCEPTED for row in of_cloud(cloud)),
    *(row for cloud in ACCEPTED if cloud.may_begin for row in of_cloud(cloud, "b")),
    Check("50 Mbit/s, failed sequence verifications", Tunnel(), no_replays, "packets"),
    *(
        Check(f"{what} for a minute, 50 Mbit/s", Tunnel(rekey_ike=ike, rekey_child=child), each_second, "packets lost", long=True)
        for what, ike, child in (
            ("both rekey the child each second", {}, {"a": 1, "b": 1}),
            ("both rekey the IKE SA each second", {"a": 1, "b": 1}, {}),
            ("child each second, IKE SA each five", {"a": 5, "b": 5}, {"a": 1, "b": 1}),
        )
    ),
)
