"""Running programs, in a network namespace or not. Every one has a time limit; long ones are stopped by pid."""

import os
import signal
import subprocess
import time

SECONDS = 30


class Failed(Exception):
    """A command of the lab itself failed, or something did not come up: the lab cannot go on."""


class Answer:
    """What a program said."""

    def __init__(self, code, output):
        self.code = code
        self.output = output

    @property
    def ok(self):
        return self.code == 0


def _command(namespace, arguments):
    arguments = [str(argument) for argument in arguments]
    return ["ip", "netns", "exec", namespace, *arguments] if namespace else arguments


def ask(*arguments, namespace=None, seconds=SECONDS, standard_input=None):
    """Runs a program that may fail; a timeout is exit code 124, a missing program 127."""
    try:
        done = subprocess.run(
            _command(namespace, arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL if standard_input is None else None,
            input=standard_input,
            timeout=seconds,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as late:
        output = late.output or ""
        return Answer(124, output.decode(errors="replace") if isinstance(output, bytes) else output)
    except FileNotFoundError as missing:
        return Answer(127, str(missing))
    return Answer(done.returncode, done.stdout)


def must(*arguments, namespace=None, seconds=SECONDS):
    """Runs a program that may not fail; returns its output."""
    answer = ask(*arguments, namespace=namespace, seconds=seconds)
    if not answer.ok:
        command = " ".join(str(argument) for argument in arguments)
        raise Failed(f"{command}: exit code {answer.code}\n{answer.output.strip()}")
    return answer.output


def start(*arguments, namespace=None, log, environment=None):
    """Starts a program that stays, in a session of its own so that Ctrl-C reaches it only through `stop`."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            _command(namespace, arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )


def stop(pids, seconds=5):
    """Ends processes: first asks, then insists."""
    waiting = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        time.sleep(0.02)
        waiting = [pid for pid in waiting if alive(pid)]
    for pid in waiting:
        _signal(pid, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in waiting) and time.monotonic() < deadline:
        time.sleep(0.02)


def _signal(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def alive(pid):
    """Whether a process runs. A child that ended is collected here."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, seconds, what):
    """Waits until `condition()` is true; its last false answer, if it is text, explains a failure."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer is True:
            return
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s" + (f" ({answer})" if answer else ""))
        time.sleep(0.05)
