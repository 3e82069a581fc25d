"""A check: a tunnel, how the lab is set up for it, and a function that measures one figure on it."""

import dataclasses
import typing

from ..shell import Failed
from .tunnel import Tunnel


class Disturbed(Failed):
    """The lab itself was too slow, and counters of its own show it: nothing is known of the tunnel. Measured again."""


@dataclasses.dataclass(frozen=True)
class Check:
    """`measure(lab, tunnel)` answers `(ok, value)`; `Failed` from it is a failure with that text."""

    name: str
    tunnel: Tunnel
    measure: typing.Callable
    unit: str = ""
    # The side that a masquerade gives another address: `a` or `b`.
    behind_nat: str = ""
    log_keys: bool = False
    # It lasts a minute: left out by --quick.
    long: bool = False
    # The figure is a time with a bound, which a neighbour on a shared machine can spoil: one beyond it is measured again. What fails
    # in another way has failed: what is lost, refused, replayed or in clear is no matter of time.
    noisy: bool = False
