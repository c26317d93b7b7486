"""A tick: the runs that are due, each in a process of its own, which its deadline can stop."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

from msgspec import Struct

from jobs.errors import FAILED
from jobs.runs.times import text_of
from jobs.schedules.deciding import decide
from jobs.schedules.notifying import tell_of_tick
from jobs.schedules.schedule import Scheduled

# What a child answers that found its place held by another run, and was not to wait.
SKIPPED = 75
STOPPED = 128
RETRY_SECONDS = 30.0
# From SIGTERM a run gives Ray's workers their time to end; a second one, later SIGKILL, ends it at once.
STOP_SECONDS = (60.0, 15.0)
_LOOK_SECONDS = 0.2


class Limits(Struct, kw_only=True):
    """Until when a tick may run, by the monotonic clock, the signal that is to stop it, and the process of its run."""

    until: float | None
    signalled: int | None = None
    child: "subprocess.Popen[bytes] | None" = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return float("inf") if self.until is None else self.until - time.monotonic()

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal, and hand it on to the process, but Ctrl-C where the terminal sends it there itself."""
        self.signalled = number
        if self.child is not None and self.child.poll() is None and (number == signal.SIGTERM or not _has_terminal()):
            self.child.send_signal(number)


def tick(scheduled: Scheduled, now: datetime, say: Callable[[str], None], *, quiet: bool = False) -> int:
    """Run what is due at a moment; return the exit status, 0 where nothing is."""
    decision = decide(scheduled, now)
    for line in decision.lines:
        say(f"{scheduled.name}: {line}")
    deadline, worst = scheduled.deadline_seconds(), 0
    limits = Limits(until=None if deadline is None else time.monotonic() + deadline)
    with _signals_to(limits):
        for at in decision.ticks:
            if limits.signalled or limits.seconds_left <= 0:
                return STOPPED + (limits.signalled or signal.SIGTERM)
            status = _with_retries(scheduled, at, limits, say, quiet=quiet)
            if status == SKIPPED:
                return 0
            if status and not limits.signalled:
                tell_of_tick(scheduled, at, status, deadline_passed=limits.seconds_left <= 0, say=say)
            if status > FAILED:
                return status
            worst = worst or status
    return worst


def _with_retries(
    scheduled: Scheduled, at: datetime, limits: Limits, say: Callable[[str], None], *, quiet: bool
) -> int:
    for retries_left in reversed(range(scheduled.schedule.retries + 1)):
        status = _run(scheduled, at, limits, say, quiet=quiet)
        crashed = status >= STOPPED and limits.signalled is None and limits.seconds_left > 0
        if not (status == FAILED or crashed) or not retries_left or limits.seconds_left <= RETRY_SECONDS:
            return status
        say(f"{scheduled.run_id(at)} failed (exit status {status}): again in {RETRY_SECONDS:g} s")
        if not _pause(limits):
            return STOPPED + (limits.signalled or 0)
    raise AssertionError(scheduled.name)  # the last round returns


def _pause(limits: Limits) -> bool:
    """Wait between tries; say whether nobody asked to stop meanwhile."""
    end = time.monotonic() + RETRY_SECONDS
    while time.monotonic() < end and limits.signalled is None:
        time.sleep(_LOOK_SECONDS)
    return limits.signalled is None


def _run(scheduled: Scheduled, at: datetime, limits: Limits, say: Callable[[str], None], *, quiet: bool) -> int:
    """Run one tick's job in a child and return its exit status, as a shell would have it."""
    limits.child = child = _start(scheduled, at, quiet=quiet)
    if limits.signalled:  # while it was started
        child.send_signal(limits.signalled)
    try:
        while child.poll() is None and limits.seconds_left > 0:
            time.sleep(_LOOK_SECONDS)
        if child.poll() is None:
            say(f"{scheduled.run_id(at)}: deadline {scheduled.schedule.deadline} has passed: stopping it")
    finally:  # nor does it outlive its tick where that fails
        if child.poll() is None:
            _stop(child)
    return child.returncode if child.returncode >= 0 else STOPPED - child.returncode


def _start(scheduled: Scheduled, at: datetime, *, quiet: bool) -> "subprocess.Popen[bytes]":
    # This Python and this regrow, whatever lies in the working directory.
    command = [sys.executable, "-P", "-c", "from jobs.cli import main; main()"]
    command += ["schedule", "run-tick", scheduled.file, text_of(at), *["--quiet"] * quiet]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603  our own command
        command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    )


def _stop(child: subprocess.Popen[bytes]) -> None:
    for seconds in STOP_SECONDS:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    child.kill()
    child.wait()


@contextmanager
def _signals_to(limits: Limits) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C stop a tick by its limits, while the block runs in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, limits.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
