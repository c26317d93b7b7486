"""A tick: the runs that are due, each in a process of its own, which its deadline can stop."""

import os
import signal
import subprocess
import sys
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
from jobs.schedules.schedule import Scheduled

# What a child answers that found its place held by another run, and was not to wait.
SKIPPED = 75
STOPPED = 128
RETRY_SECONDS = 30.0
# From SIGTERM a run gives Ray's workers their time to end; a second one, later SIGKILL, ends it at once.
STOP_SECONDS = (60.0, 15.0)
_LOOK_SECONDS = 0.2


class Limits(Struct, kw_only=True):
    """Until when a tick may run, by the monotonic clock, and the signal that is to stop it before."""

    until: float | None
    signalled: int | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return float("inf") if self.until is None else self.until - time.monotonic()


def tick(scheduled: Scheduled, now: datetime, say: Callable[[str], None], *, quiet: bool = False) -> int:
    """Run what is due at a moment; return the exit status, 0 where nothing is."""
    decision = decide(scheduled, now)
    for line in decision.lines:
        say(f"{scheduled.name}: {line}")
    deadline, worst = scheduled.deadline_seconds(), 0
    limits = Limits(until=None if deadline is None else time.monotonic() + deadline)
    for at in decision.ticks:
        if limits.seconds_left <= 0:
            return STOPPED + signal.SIGTERM
        status = _with_retries(scheduled, at, limits, say, quiet=quiet)
        if status == SKIPPED:
            return 0
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
    with _signals(limits, None):
        end = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < end and limits.signalled is None:
            time.sleep(_LOOK_SECONDS)
    return limits.signalled is None


def _run(scheduled: Scheduled, at: datetime, limits: Limits, say: Callable[[str], None], *, quiet: bool) -> int:
    """Run one tick's job in a child and return its exit status, as a shell would have it."""
    child = _start(scheduled, at, quiet=quiet)
    with _signals(limits, child):
        while child.poll() is None and limits.seconds_left > 0:
            time.sleep(_LOOK_SECONDS)
        if child.poll() is None:
            say(f"{scheduled.run_id(at)}: deadline {scheduled.schedule.deadline} has passed: stopping it")
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
def _signals(limits: Limits, child: "subprocess.Popen[bytes] | None") -> Iterator[None]:
    """Hand SIGTERM on to the child, and Ctrl-C where the terminal does not send it there itself."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        limits.signalled = number
        if child is not None and child.poll() is None and (number != signal.SIGINT or not sys.stdin.isatty()):
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
