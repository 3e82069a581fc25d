"""Keys are replaced under traffic, and nothing is lost: by order, by a cloud's lifetimes, each second for a minute."""

import time

from ..shell import Failed, until
from . import traffic
from .check import Check, Disturbed
from .clouds import ACCEPTED
from .tunnel import Tunnel

# The longer lifetime of a cloud takes this long here, and the shorter one as much less as in truth, but no less than this.
SCALED_IKE_SECONDS = 8
SCALED_CHILD_SECONDS_MIN = 2
ECHO_SECONDS = 11
MINUTE = 60
MEGABITS = 50
FLOWS = 8
# As if the peer had a window in which two workers cannot overtake each other.
WIDE = {"peer-window": 4096}


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
    lost, _ = stream.finish()
    replaced_children = lab.b.said(r"inbound CHILD_SA net\{\d+\} established")
    replaced_ikes = lab.b.said(r"IKE_SA peer\[\d+\] rekeyed between")
    often = all(
        count >= MINUTE // 2
        for seconds, count in ((tunnel.rekey_child, replaced_children), (tunnel.rekey_ike, replaced_ikes))
        if seconds.get("a") == 1
    )
    return lost == 0 and often and replays(lab) == 0, lost


def replays(lab):
    """Packets that fell out of the peer's window, or came twice."""
    return lab.b.said("failed sequence number verification|sequence number verification failed|replayed packet")


def no_replays(hands_over):
    """A check that at 50 Mbit/s in flows of two workers no packet falls out of the peer's window of 128. `hands_over`: one worker seals
    for both, as long as a peer's window is narrow; else both do."""

    def measure(lab, tunnel):
        lab.bring_up(tunnel)
        traffic.reaches(lab)
        before, handed_before = lab.a.came_by_queue("in0"), lab.a.counter("cloud", "handed-over")
        lost, sent = traffic.Stream(lab, MEGABITS, 5, FLOWS).finish()
        came = [now - then for now, then in zip(lab.a.came_by_queue("in0"), before)]
        handed = lab.a.counter("cloud", "handed-over") - handed_before
        if min(came) < sent / 20:
            raise Disturbed(f"of {sent} packets {came} came to the workers: by chance all flows are of one")
        # Whoever does not seal hands all of its own over but what is for the gateway, and whoever seals none.
        shared = any(0.95 * count < handed <= count for count in came) if hands_over else handed == 0
        if not shared:
            raise Failed(f"{handed} of {came} were handed over")
        return lost == 0 and replays(lab) == 0, replays(lab)

    return measure


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
    Check("flows of two workers, one seals, failed sequence verifications", Tunnel(), no_replays(True), "packets"),
    Check("flows of two workers, both seal, failed sequence verifications", Tunnel(statement=WIDE), no_replays(False), "packets"),
    *(
        Check(f"{what} for a minute, 50 Mbit/s", Tunnel(rekey_ike=ike, rekey_child=child), each_second, "packets lost", long=True)
        for what, ike, child in (
            ("both rekey the child each second", {}, {"a": 1, "b": 1}),
            ("both rekey the IKE SA each second", {"a": 1, "b": 1}, {}),
            ("child each second, IKE SA each five", {"a": 5, "b": 5}, {"a": 1, "b": 1}),
        )
    ),
)
