"""What a peer does not notice: our processes killed, restarted, and given other secrets; and what it shall: a tunnel that is taken away."""

import random
import re
import shutil
import time

from ..processes import running
from ..shell import Failed, until
from . import certificates, traffic
from .check import Check
from .lifetimes import replays
from .tunnel import Tunnel

MEGABITS = 20
STREAM_SECONDS = 8
KILLS = 4
EACH_SECOND = {"a": 1, "b": 1}
ECHO_SECONDS = 4
# Secrets are looked at this often.
SETTINGS_SECONDS = 5
UNTIL_ECHOES_MAX = 10
DOWN_SECONDS = 3
OTHER_SECRET = "another.one.of.no.value.but.long.enough"
GOODBYE = r"received DELETE for IKE_SA"
# How the peer would tell that it noticed.
BEGUN = r"IKE_SA peer\[\d+\] established between"
TROUBLE = r"giving up after|AUTHENTICATION_FAILED|INVALID_SYNTAX|INVALID_MESSAGE_ID|received message ID \d+, expected"
NOTICED = rf"{GOODBYE}|{TROUBLE}"


def control_killed(lab, tunnel):
    """kill -9 of tombolod, again and again at any moment of the exchanges, while both replace all keys each second."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    stream = traffic.Stream(lab, MEGABITS, STREAM_SECONDS)
    chance = random.Random(8)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.6, 1.2))
        lab.a.kill_control()
        lab.a.again()
    lost, _ = stream.finish()
    # Counted before the end, which is no trouble of the peer's.
    # A goodbye to an IKE SA that was replaced is none of them.
    begun, noticed = lab.b.said(BEGUN), re.findall(f".*(?:{TROUBLE}).*", lab.b.words())
    if begun != 1 or noticed or replays(lab):
        raise Failed(f"{lost} lost; the peer saw {begun} IKE SAs begun, {replays(lab)} replays, {noticed}")
    replaced = lab.b.said(r"inbound CHILD_SA net\{\d+\} established")
    return lost == 0 and replaced > KILLS, lost


def dataplane_killed(lab, tunnel):
    """kill -9 of the dataplane: packets stand still until the next one runs; IKE and its child SAs go on."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike(), set(lab.b.children())
    echoes = traffic.Echoes(lab, ECHO_SECONDS)
    time.sleep(0.5)
    dead = lab.a.kill_dataplane()
    running(lab.a, other_than=dead)
    lost, _ = echoes.lost()
    passes = traffic.ping(lab) == 0
    same = (lab.b.ike(), set(lab.b.children())) == before and not lab.b.said(NOTICED)
    return passes and same and replays(lab) == 0, round(lost * traffic.ECHO_PAUSE, 2)


def both_killed(lab, tunnel):
    """kill -9 of both: nothing is left but the configuration, and the tunnel is negotiated anew."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    killed = lab.a.kill()
    lab.a.again()
    if not traffic.reaches(lab, seconds=UNTIL_ECHOES_MAX):
        raise Failed("no echo passes")
    return True, round(time.monotonic() - killed, 1)


def restarted(lab, tunnel):
    """A restart says nothing to the peer, and no echo is lost."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike()
    echoes = traffic.Echoes(lab, ECHO_SECONDS)
    lab.a.restart()
    lost, _ = echoes.lost()
    return lost == 0 and lab.b.ike() == before and not lab.b.said(NOTICED), lost


def removed(lab, tunnel):
    """A tunnel that is no longer in the configuration says goodbye; when it is there again, it comes up by itself."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    whole = lab.a.configuration(tunnel)
    lab.a.apply({**whole, "tunnels": {}, "routes": {"internet": whole["routes"]["internet"]}})
    until(lambda: not lab.b.ike() and lab.b.said(GOODBYE) == 1 or "no goodbye", 5, "the peer is told")
    lab.a.apply(whole)
    until(lambda: len(lab.b.ike()) == 1, UNTIL_ECHOES_MAX, "the tunnel comes up again")
    lost = traffic.ping(lab)
    return lost == 0, lost


def taken_down(lab, tunnel):
    """A tunnel that was taken down stays so when `tombolod` is killed, though it is we who begin; an order brings it back."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    lab.a.forget()
    lab.a.kill_control()
    lab.a.again()
    # It would begin at once.
    time.sleep(DOWN_SECONDS)
    if lab.b.ike() or lab.a.ike():
        raise Failed(f"it came back: {lab.b.ike()}")
    lab.bring_up(tunnel)
    lost = traffic.ping(lab)
    return lost == 0, lost


def other_secret(lab, tunnel):
    """Another pre-shared key on both sides: the tunnel stays, and the next one is proven with it."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike()
    echoes = traffic.Echoes(lab, SETTINGS_SECONDS + 1)
    (lab.a.secrets_dir / "peer.psk").write_text(OTHER_SECRET)
    lab.b.other_secret(OTHER_SECRET)
    lost, _ = echoes.lost()
    stayed = lab.b.ike() == before
    lab.a.forget()
    lab.bring_up(tunnel)
    return lost == 0 and stayed and traffic.ping(lab) == 0, lost


def other_certificate(lab, tunnel):
    """Another certificate of ours: the tunnel stays, and the next one is proven with it."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike()
    echoes = traffic.Echoes(lab, SETTINGS_SECONDS + 1)
    made = certificates.renew(lab.certificates[tunnel.proof], "a", lab.directory / "renewed")
    for source, name in (("a.pem", "own.pem"), ("a.key", "own.key")):
        _give(lab, made / source, name)
    lost, _ = echoes.lost()
    stayed = lab.b.ike() == before
    lab.a.forget()
    lab.bring_up(tunnel)
    shutil.rmtree(made)
    renewed = lab.b.said(f"using certificate .*O={certificates.RENEWED}") > 0
    return lost == 0 and stayed and renewed and traffic.ping(lab) == 0, lost


def trusts_no_more(change, why):
    """A check that what we trust changes: the tunnel stays and loses nothing, and the peer's next IKE_AUTH is refused. `change(lab)`
    gives us other files."""

    def measure(lab, tunnel):
        lab.bring_up(tunnel)
        traffic.reaches(lab)
        before = lab.b.ike()
        echoes = traffic.Echoes(lab, SETTINGS_SECONDS + 1)
        change(lab)
        lost, _ = echoes.lost()
        if lab.b.ike() != before:
            raise Failed(f"the tunnel did not stay: {lab.b.ike()} in place of {before}")
        lab.a.forget()
        told = lab.a.refusal()
        if not re.search(why, told):
            raise Failed(f"told {told!r}")
        until(lambda: not lab.b.ike() and not lab.b.children(), 5, "the peer has no IKE SA either")
        return lost == 0 and traffic.ping(lab, 4, 1) == 1, lost

    return measure


def revoked(lab):
    """A new list of revocations has the peer's certificate."""
    made = lab.certificates.pop("listed")
    certificates.revoke(made, "b")
    _give(lab, made / certificates.REVOKED, certificates.REVOKED)
    # The next who wants one gets a certificate that is not revoked.
    shutil.rmtree(made)


def other_root(lab):
    """Another root takes the place of the one that has signed the peer's certificate."""
    made = certificates.make("ecdsa-256", lab.directory / "other-root")
    _give(lab, made / "root.pem", "root.pem")
    shutil.rmtree(made)


def _give(lab, source, name):
    """A file for the secrets directory, whole at once."""
    shutil.copy(source, lab.a.secrets_dir / f"{name}.new")
    (lab.a.secrets_dir / f"{name}.new").chmod(0o600)
    (lab.a.secrets_dir / f"{name}.new").rename(lab.a.secrets_dir / name)


CHECKS = (
    Check(
        f"tombolod killed {KILLS} times, both rekey each second",
        Tunnel(rekey_child=EACH_SECOND, rekey_ike={"a": 2, "b": 2}),
        control_killed,
        "packets lost",
    ),
    Check("the dataplane is killed", Tunnel(), dataplane_killed, "s without echoes"),
    Check("both are killed", Tunnel(), both_killed, "s until echoes pass"),
    Check("tombolod is restarted", Tunnel(), restarted, "echoes lost"),
    Check("a tunnel is removed, and is there again", Tunnel(), removed, "echoes lost"),
    Check("a tunnel that was taken down, tombolod killed: it stays down", Tunnel(), taken_down, "echoes lost"),
    Check("another PSK without a drop", Tunnel(), other_secret, "echoes lost"),
    Check("another certificate without a drop", Tunnel(proof="ecdsa-256"), other_certificate, "echoes lost"),
    Check("a new list revokes the peer, the tunnel stays, the next is refused", Tunnel(proof="listed"), trusts_no_more(revoked, "revoked"), "echoes lost"),
    Check("other roots, the tunnel stays, the next is refused", Tunnel(proof="ecdsa-256"), trusts_no_more(other_root, "root"), "echoes lost"),
)
