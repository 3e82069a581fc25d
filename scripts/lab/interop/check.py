"""A check: a tunnel, how the lab is set up for it, and a function that measures one figure on it."""

import dataclasses
import typing

from .tunnel import Tunnel


@dataclasses.dataclass(frozen=True)
class Check:
    """`measure(lab, tunnel)` answers `(ok, value)`; `Failed` from it is a failure with that text."""

    name: str
    tunnel: Tunnel
    measure: typing.Callable
    unit: str = ""
    behind_nat: bool = False
    log_keys: bool = False
    # It lasts a minute: left out by --quick.
    long: bool = False
