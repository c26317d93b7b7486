"""How this machine calls a schedule's tick: with absolute paths, since timers have no working directory."""

import os
import shutil
import sys
from pathlib import Path

from jobs.schedules.schedule import Scheduled
from ops.stores.routing import scheme_of

_LOCALTIME = Path("/etc/localtime")


def tick_command(scheduled: Scheduled) -> list[str]:
    """Return the command that calls a schedule's tick. Raises FileNotFoundError where regrow is not installed."""
    beside = Path(sys.executable).with_name("regrow")
    found = str(beside) if beside.is_file() else shutil.which("regrow")
    if found is None:
        raise FileNotFoundError(
            f"no command regrow beside {sys.executable} or on PATH: install it (pip install regrow)"
        )
    return [str(Path(found).absolute()), "schedule", "tick", scheduled.file]


def log_file(scheduled: Scheduled) -> str:
    """Return where what a tick says is kept: beside the schedule, or at home for one in a bucket."""
    folder = Path.home() if scheme_of(scheduled.file) else Path(scheduled.file).parent
    return str(folder / f"{scheduled.name}.log")


def system_zone() -> str | None:
    """Return this machine's time zone, if it can be told."""
    if "TZ" in os.environ:
        return os.environ["TZ"].removeprefix(":") or "UTC"
    try:
        place = str(_LOCALTIME.resolve(strict=True))
    except OSError:
        return "UTC"
    return place.partition("/zoneinfo/")[2] or None
