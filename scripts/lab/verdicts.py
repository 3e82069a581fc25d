"""What a test of the lab prints: one line per verdict, the measurements, and the counts at the end."""

import contextlib
import os
import pathlib
import signal
import traceback

from .network import Lab
from .shell import Failed

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a neighbour on a shared machine can spoil: counts of lost packets and times under load. A section that fails in nothing
# else is measured again. Whatever else fails (a nonce twice, a packet in clear, a changed rule) has failed.
MEASURED = ("packet lost", "in under 1 s", "use less than", "connection goes on", "tunnels are up in under")
ATTEMPTS = 3
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A polite request to end."""


class Verdicts:
    """The results of one test program."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = 0
        self.failed = 0
        self.failures = []

    def check(self, name, ok, value=None):
        """One verdict; `value` is what was seen and explains a failure."""
        seen = "" if value is None else f" ({value})"
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(name)
        print(f"test {self.suite} {name} ... {'ok' if ok else 'FAILED'}{seen}", flush=True)
        return ok

    def note(self, text):
        """A measurement, or what disturbed one."""
        print(f"{self.suite}: {text}", flush=True)

    def end(self):
        """Prints the counts; the exit code."""
        print(f"lab result: {self.passed} passed; {self.failed} failed")
        return 0 if self.failed == 0 else 1


def run(suite, sections, make=Lab):
    """A test program: builds a lab with running gateways (`make(ROOT)`), goes through the sections, removes the lab. Its exit code."""
    if os.geteuid() != 0:
        print(f"NOT RUN: lab {suite}: needs root (network namespaces, AF_XDP)")
        return 0
    verdicts = Verdicts(suite)
    with _clean_up_on_signals():
        lab = None
        try:
            lab = make(ROOT)
            lab.build_network()
            lab.start_gateways()
            for section in sections:
                _go_through(section, lab, verdicts)
        except Failed as failed:
            words = [gateway.last_words() for gateway in lab.gateways.values()] if lab else []
            verdicts.check("lab", False, "\n".join([str(failed), *words]))
        except Exception:
            # A mistake of the test, or an answer of a form that it does not know: counted, and the lab removed.
            verdicts.check("lab", False, traceback.format_exc())
        except Interrupted as interrupted:
            verdicts.check("lab", False, f"interrupted ({interrupted})")
        finally:
            for number in INTERRUPTIONS:
                signal.signal(number, signal.SIG_IGN)
            if lab is not None:
                lab.remove()
    return verdicts.end()


def _go_through(section, lab, verdicts):
    """Runs a section. On a shared machine a neighbour can take the cores for longer than any socket buffers: what is measured
    may be measured again, and that is said."""
    for attempt in range(1, ATTEMPTS + 1):
        before = (verdicts.passed, verdicts.failed)
        verdicts.failures.clear()
        section(lab, verdicts)
        disturbed = verdicts.failures and all(any(part in name for part in MEASURED) for name in verdicts.failures)
        if not disturbed or attempt == ATTEMPTS:
            return
        verdicts.passed, verdicts.failed = before
        verdicts.note(f"{section.__name__}: failed, perhaps disturbed: attempt {attempt + 1} of {ATTEMPTS}")


@contextlib.contextmanager
def _clean_up_on_signals():
    def interrupt(number, _frame):
        raise Interrupted(signal.Signals(number).name)

    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)
    yield
