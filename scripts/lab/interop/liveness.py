"""Whether the peer lives, where only a part of what it sends arrives: IKE alone is lost, or ESP alone, or both."""

import time

from ..shell import Failed, until
from . import traffic
from .capture import Capture
from .check import Check
from .tunnel import Tunnel

# `dpd: { delay: 1, timeout: 5 }`
DELAY_SECONDS, TIMEOUT_SECONDS = 1, 5
# Much longer than a dead peer is believed in.
LOST_SECONDS = 10
# From the last sign of life: silence, then questions without an answer, and some for the machine.
DEAD_SECONDS_MAX = DELAY_SECONDS + TIMEOUT_SECONDS + 2

# IKE in UDP begins with four bytes of zero (RFC 3948 §2.2).
RULES = """table ip lossy {{
  chain forward {{ type filter hook forward priority 0;
    {rules}
  }}
}}
"""
NO_IKE = ("udp dport 500 counter drop", "udp dport 4500 @th,64,32 0 counter drop", "udp sport 4500 @th,64,32 0 counter drop")
NO_ESP = ("ip protocol esp counter drop", "udp dport 4500 @th,64,32 != 0 counter drop", "udp sport 4500 @th,64,32 != 0 counter drop")


def loses(lab, rules):
    """The router drops this from now on."""
    lab.topology.rules(RULES.format(rules="\n    ".join(rules)))


def ike_lost(lab, tunnel):
    """Authentic ESP is a sign of life (RFC 7296 §2.4): the tunnel stays, and no echo is lost."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike()
    loses(lab, NO_IKE)
    lost, _ = traffic.Echoes(lab, LOST_SECONDS).lost()
    lab.topology.no_rules()
    return lost == 0 and before == lab.b.ike() == lab.a.ike(), lost


def ike_lost_when_idle(lab, tunnel):
    """The same where a question is under way already, which IKE never answers: the ESP that comes after it does."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike()
    loses(lab, NO_IKE)
    capture = Capture(lab, "to-a")
    time.sleep(DELAY_SECONDS + TIMEOUT_SECONDS / 2)
    capture.stop()
    if not any(datagram.is_ike for datagram in capture.datagrams()):
        raise Failed("nothing was asked")
    # Until well after the question's time is up.
    lost, _ = traffic.Echoes(lab, TIMEOUT_SECONDS + 1).lost()
    lab.topology.no_rules()
    return lost == 0 and before == lab.b.ike() == lab.a.ike(), lost


def esp_lost(lab, tunnel):
    """Answers to IKE are a sign of life: the tunnel stays, and carries echoes as soon as ESP passes again."""
    lab.bring_up(tunnel)
    traffic.reaches(lab)
    before = lab.b.ike()
    loses(lab, NO_ESP)
    lost, sent = traffic.Echoes(lab, LOST_SECONDS - 2).lost()
    if lost != sent:
        raise Failed(f"{sent - lost} echoes passed where none could")
    lab.topology.no_rules()
    lost = traffic.ping(lab)
    return lost == 0 and before == lab.b.ike() == lab.a.ike(), lost


def both_lost(lab, tunnel):
    """No sign of life at all."""
    lab.bring_up(tunnel)
    echoes = traffic.Echoes(lab, LOST_SECONDS)
    time.sleep(1)
    loses(lab, NO_IKE + NO_ESP)
    began = time.monotonic()
    until(lambda: not lab.a.ike(), DEAD_SECONDS_MAX + 10, "the tunnel is down")
    seconds = time.monotonic() - began
    echoes.lost()
    return DELAY_SECONDS < seconds < DEAD_SECONDS_MAX, round(seconds, 1)


WATCHED = Tunnel(dpd_seconds={"a": DELAY_SECONDS})

CHECKS = (
    Check("IKE alone is lost: the tunnel stays", WATCHED, ike_lost, "echoes lost"),
    Check("IKE is lost while idle, then ESP comes: the tunnel stays", WATCHED, ike_lost_when_idle, "echoes lost"),
    Check("ESP alone is lost: the tunnel stays", WATCHED, esp_lost, "echoes lost after it"),
    Check("both are lost: the tunnel goes down", WATCHED, both_lost, "s", noisy=True),
)
