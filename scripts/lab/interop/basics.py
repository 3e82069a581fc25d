"""The tunnel comes up, whoever begins, whatever proves it, and carries what it shall."""

import dataclasses
import re
import time

from ..shell import until
from . import traffic
from .capture import IKE_PORT, NAT_TRAVERSAL_PORT, Capture
from .check import Check
from .clouds import AZURE_DEFAULT
from .topology import NO_FRAGMENTS
from .tunnel import SECRET, Tunnel

ECHOES = 5
LOST = "echoes lost"

# RFC 8784 §6.1: 256 bits.
PPK = "a post-quantum pre-shared key of more than 32 bytes"

def carries(lab, tunnel):
    """Echoes of every family inside."""
    lab.bring_up(tunnel)
    lost = 0
    for family in tunnel.inside:
        traffic.reaches(lab, family)
        lost += traffic.ping(lab, family, ECHOES)
    return lost == 0, lost


def carries_all(lab, tunnel):
    """The same where everything inside is one selector; nothing leaves the tunnel's way."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    lost = traffic.ping(lab, 4, ECHOES)
    return lost == 0 and len(lab.b.children()) == 1, lost


@dataclasses.dataclass(frozen=True)
class Refusal:
    """The notification of RFC 7296 §3.10.1, patterns that the log of the side which refuses has, and one that the other side tells."""

    notification: str
    logged: tuple
    told: str


# In our words, or in swanctl's where that is on our side.
NOT_PROVEN = "did not accept the proof of identity|received AUTHENTICATION_FAILED"
NO_PROOF = r"generating IKE_AUTH response \d+ \[ N\(AUTH_FAILED\) \]"
NO_MAC = "tried 1 shared key .* but MAC mismatched"
ANOTHER_PSK = Refusal("AUTHENTICATION_FAILED", (NO_MAC, NO_PROOF), NOT_PROVEN)
ANOTHER_PPK = Refusal("AUTHENTICATION_FAILED", (r"parsed IKE_AUTH request \d+ \[.* N\(PPK_ID\)", NO_MAC, NO_PROOF), NOT_PROVEN)
NO_PROPOSAL = Refusal(
    "NO_PROPOSAL_CHOSEN",
    (r"generating IKE_SA_INIT response 0 \[ N\(NO_PROP\) \]",),
    # With the policy that Azure has to be given.
    "accepts none of the proposals.*GCMAES256|received NO_PROPOSAL_CHOSEN",
)


def refused(why):
    """A check that it does not come up, and that both sides say why. Nobody at the other end is no refusal."""

    def measure(lab, tunnel):
        begins, refuses = (lab.a, lab.b) if tunnel.initiator == "a" else (lab.b, lab.a)
        told = begins.refusal()
        missing = [pattern for pattern in why.logged if not refuses.said(pattern)]
        if missing or not re.search(why.told, told):
            return False, f"told {told!r}, not logged {missing}"
        down = not lab.b.children() and not lab.a.ike() and traffic.ping(lab, 4, 1) == 1
        return down, why.notification if down else "it came up"

    return measure


def fragments(lab, tunnel):
    """IKE_AUTH of both sides in fragments of its own (RFC 7383): a router that drops every IP fragment does not matter."""
    lab.topology.rules(NO_FRAGMENTS)
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, ECHOES)
    ours, theirs = (lab.b.said(rf"{verb} IKE_AUTH \w+ \d+ \[ EF\(") for verb in ("parsed", "generating"))
    return lost == 0 and min(ours, theirs) >= 2, ours


def only_4500(lab, tunnel):
    """From its first message on, the tunnel is negotiated on UDP 4500: nothing is seen on 500, in neither direction."""
    lab.a.forget()
    capture = Capture(lab, "to-a", "udp")
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, ECHOES)
    time.sleep(0.2)
    capture.stop()
    seen = capture.datagrams()
    on_500 = sum(IKE_PORT in (datagram.source_port, datagram.port) for datagram in seen)
    negotiated = sum(datagram.is_ike and datagram.port == NAT_TRAVERSAL_PORT for datagram in seen)
    return lost == 0 and negotiated >= 4 and on_500 == 0, on_500


def no_padding(lab, tunnel):
    """For each child SA, the first and those that either side replaces it by, we say that we take no TFC padding (RFC 7296 §1.3.1)."""
    lab.bring_up(tunnel)
    said = [_told_no_padding(lab)]
    for side in (lab.a, lab.b):
        before = set(lab.b.children())
        side.rekey_child()
        until(lambda before=before: bool(lab.b.children()) and not before & set(lab.b.children()), 5, "the child is replaced")
        said.append(_told_no_padding(lab))
    return said == [1, 2, 3], said[-1]


def _told_no_padding(lab):
    return lab.b.said("received ESP_TFC_PADDING_NOT_SUPPORTED")


def rekeyed(lab, tunnel):
    """The same algorithms again for the next IKE SA, and for a child SA with a key exchange of its own; echoes all the time."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    echoes = traffic.Echoes(lab, 1.5)
    for side, what, now in ((lab.a, "rekey_ike", lab.b.ike), (lab.b, "rekey_child", lambda: set(lab.b.children()))):
        before = set(now())
        getattr(side, what)()
        until(lambda before=before, now=now: len(now()) == 1 and not before & set(now()), 5, "keys are replaced")
    lost, _ = echoes.lost()
    return lost == 0, lost


def other_group(lab, tunnel):
    """A group that the peer does not begin with: INVALID_KE_PAYLOAD and a second IKE_SA_INIT (RFC 7296 §1.2)."""
    lab.bring_up(tunnel)
    asked = lab.b.said("INVAL_KE")
    lost = traffic.ping(lab, 4, ECHOES)
    return lost == 0 and asked > 0, lost


def with_ppk(lab, tunnel):
    """The post-quantum pre-shared key took part (RFC 8784)."""
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, ECHOES)
    return lost == 0 and lab.b.said("using PPK") > 0, lost


def ignores_mobike(lab, tunnel):
    """The peer offers MOBIKE, and we leave it at that."""
    lab.bring_up(tunnel)
    offered, taken = lab.b.said("generating IKE_AUTH.*MOBIKE_SUP"), lab.b.said("parsed IKE_AUTH.*MOBIKE_SUP")
    lost = traffic.ping(lab, 4, ECHOES)
    return lost == 0 and offered > 0 and taken == 0, lost


PROOFS = (
    ("PSK", "psk"),
    ("RSA 2048 certificates", "rsa"),
    ("RSA 4096 certificates", "rsa-4096"),
    ("ECDSA P-256 certificates", "ecdsa-256"),
    ("ECDSA P-384 certificates", "ecdsa-384"),
    ("Ed25519 certificates", "ed25519"),
)
BEGINS = (("we begin", "a"), ("the peer begins", "b"))
PROPOSALS = (
    ("AES-128-GCM, SHA-256, P-256", "aes128gcm16-prfsha256-ecp256", "aes128gcm16-ecp256"),
    ("AES-256-GCM, SHA-384, P-384", "aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"),
    ("AES-256-GCM, SHA-512, MODP 2048", "aes256gcm16-prfsha512-modp2048", "aes256gcm16-modp2048"),
    ("ChaCha20-Poly1305, X25519", "chacha20poly1305-prfsha256-x25519", "chacha20poly1305-x25519"),
    ("AES-256-CBC, HMAC-SHA-256 for IKE alone", "aes256-sha256-prfsha256-modp2048", "aes256gcm16-modp2048"),
    ("AES-128-CBC, HMAC-SHA-384 for IKE alone", "aes128-sha384-prfsha384-ecp256", "aes128gcm16-ecp256"),
)
REKEYED = (
    ("AES-256-GCM, SHA-512, P-521, rekeyed", "aes256gcm16-prfsha512-ecp521", "aes256gcm16-ecp521"),
    ("AES-256-CBC, HMAC-SHA-512 for IKE alone, rekeyed", "aes256-sha512-prfsha512-ecp384", "aes256gcm16-ecp384"),
)

CHECKS = (
    *(
        Check(f"{name}, {who}", Tunnel(proof=proof, initiator=initiator), carries, LOST)
        for name, proof in PROOFS
        for who, initiator in BEGINS
    ),
    *(
        Check(f"IPv{outside} outside, IPv{inside} inside", Tunnel(outside=outside, inside=(inside,)), carries, LOST)
        for outside in (4, 6)
        for inside in (4, 6)
    ),
    Check("IPv4 and IPv6 in one tunnel", Tunnel(inside=(4, 6)), carries, LOST),
    Check("IPv6 outside, IPv6 inside, the peer begins", Tunnel(outside=6, inside=(6,), initiator="b"), carries, LOST),
    *(Check(name, Tunnel(ike=ike, esp=esp), carries, LOST) for name, ike, esp in PROPOSALS),
    *(Check(name, Tunnel(ike=ike, esp=esp), rekeyed, LOST) for name, ike, esp in REKEYED),
    Check("everything in one selector", Tunnel(everything=True), carries_all, LOST),
    Check("begins on UDP 4500", Tunnel(start_on_4500=True), only_4500, "datagrams on 500"),
    *(
        Check(f"TFC padding is said to be unsupported, {who}", Tunnel(initiator=initiator), no_padding, "times")
        for who, initiator in BEGINS
    ),
    Check("MOBIKE is offered", Tunnel(mobike=True, initiator="b"), ignores_mobike, LOST),
    Check(
        "another group is asked for",
        Tunnel(ike="aes256gcm16-prfsha256-x25519-ecp384", peer_ike="aes256gcm16-prfsha256-ecp384"),
        other_group,
        LOST,
    ),
    *(
        Check(f"large certificates, IP fragments dropped, {who}", Tunnel(proof="large", initiator=initiator), fragments, "fragments came")
        for who, initiator in BEGINS
    ),
    Check("PPK", Tunnel(ppk={"a": PPK, "b": PPK}), with_ppk, LOST),
    Check("another PPK is refused", Tunnel(ppk={"a": PPK, "b": PPK[::-1]}), refused(ANOTHER_PPK)),
    Check("another PSK is refused", Tunnel(secrets={"a": SECRET, "b": SECRET + ".not"}), refused(ANOTHER_PSK)),
    Check(
        "another PSK is refused, the peer begins",
        Tunnel(secrets={"a": SECRET, "b": SECRET + ".not"}, initiator="b"),
        refused(Refusal("AUTHENTICATION_FAILED", ("AUTH does not fit the pre-shared key",), NOT_PROVEN)),
    ),
    Check("Azure's default policy is refused", AZURE_DEFAULT.tunnel(), refused(NO_PROPOSAL)),
)
