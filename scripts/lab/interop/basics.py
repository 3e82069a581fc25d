"""The tunnel comes up, whoever begins, whatever proves it, and carries what it shall."""

from . import traffic
from .check import Check
from .clouds import AZURE_DEFAULT
from .lab import NotUp
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


def refused(lab, tunnel):
    """It must not come up; the value is the reason as the side that begins tells it."""
    try:
        lab.bring_up(tunnel)
    except NotUp as why:
        return not lab.b.children() and traffic.ping(lab, 4, 1) == 1, reason(why.output)
    return False, "it came up"


def reason(output):
    """The notification that says why."""
    words = {"AUTH_FAILED": "AUTHENTICATION_FAILED", "AUTHENTICATION_FAILED": "AUTHENTICATION_FAILED", "NO_PROP": "NO_PROPOSAL_CHOSEN", "TS_UNACCEPT": "TS_UNACCEPTABLE"}
    return next((long for word, long in words.items() if word in output), "refused")


def fragments(lab, tunnel):
    """IKE_AUTH in fragments of its own (RFC 7383): a router that drops every IP fragment does not matter."""
    lab.topology.rules(NO_FRAGMENTS)
    lab.bring_up(tunnel)
    lost = traffic.ping(lab, 4, ECHOES)
    count = lab.b.said(r"parsed IKE_AUTH \w+ \d+ \[ EF\(")
    return lost == 0 and count >= 2, count


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
    *(Check(name, Tunnel(ike=ike, esp=esp), carries, LOST) for name, ike, esp in PROPOSALS),
    Check("everything in one selector", Tunnel(everything=True), carries_all, LOST),
    Check("begins on UDP 4500", Tunnel(start_on_4500=True), carries, LOST),
    Check("MOBIKE is offered", Tunnel(mobike=True, initiator="b"), ignores_mobike, LOST),
    Check(
        "another group is asked for",
        Tunnel(ike="aes256gcm16-prfsha256-x25519-ecp384", peer_ike="aes256gcm16-prfsha256-ecp384"),
        other_group,
        LOST,
    ),
    Check("large certificates, IP fragments dropped", Tunnel(proof="large"), fragments, "fragments came"),
    Check("PPK", Tunnel(ppk={"a": PPK, "b": PPK}), with_ppk, LOST),
    Check("another PPK is refused", Tunnel(ppk={"a": PPK, "b": PPK[::-1]}), refused),
    Check("another PSK is refused", Tunnel(secrets={"a": SECRET, "b": SECRET + ".not"}), refused),
    Check("Azure's default policy is refused", AZURE_DEFAULT.tunnel(), refused),
)
