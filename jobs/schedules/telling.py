"""Schedules for people: their facts, their ticks, the files that are made of them."""

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from jobs.notifying import Notify
from jobs.output import write_lines
from jobs.runs.record import kind_of
from jobs.runs.times import text_of
from jobs.schedules.notifying import notify_of
from jobs.schedules.schedule import Scheduled
from jobs.words import count

_OVERLAP = {"skip": "a tick is left out while another run works there", "wait": "a tick waits for another run there"}
_CATCH_UP = {"once": "of missed ticks the newest is run", "skip": "missed ticks are left out"}


def tick_words(scheduled: Scheduled, tick: datetime) -> str:
    """Return a tick by the schedule's clock and in UTC."""
    local = tick.astimezone(ZoneInfo(scheduled.schedule.zone))
    here = f"{local:%a %Y-%m-%d %H:%M} {local.tzname()}"
    return here if scheduled.schedule.zone == "UTC" else f"{here}  {text_of(tick)}"


def facts_of(scheduled: Scheduled, now: datetime) -> list[tuple[str, str]]:
    """Return what a schedule does."""
    schedule = scheduled.schedule
    retries = f"{count(schedule.retries, 'time')} within a tick" if schedule.retries else "by the next tick"
    where = "in this file" if scheduled.job == scheduled.file else scheduled.job
    ticks = [tick_words(scheduled, tick) for tick in islice(scheduled.after(now), 3)]
    return [
        ("job", f"{where} ({kind_of(scheduled.request)})"),
        ("when", f"{schedule.cron} in {schedule.zone}"),
        *zip(("next", "", ""), ticks, strict=False),
        ("overlap", f"{schedule.overlap}: {_OVERLAP[schedule.overlap]}"),
        ("catch up", f"{schedule.catch_up}: {_CATCH_UP[schedule.catch_up]}"),
        ("again", retries),
        ("deadline", schedule.deadline or "none"),
        ("told", _told_words(notify_of(scheduled))),
        ("records", scheduled.place.records),
    ]


def _told_words(notify: Notify | None) -> str:
    """Return who is told of bad ends, but no URL."""
    if notify is None:
        return "nobody, when a run ends badly: name a webhook in notify"
    unset = [name for name in notify.variables if not os.environ.get(name)]
    named = f" by {', '.join(notify.variables)}" if notify.variables else ""
    return f"a webhook{named}{', not set here: ' + ', '.join(unset) if unset else ''}, when a run ends badly"


def write_files(files: Mapping[str, str], folder: str | None) -> None:
    """Write files into a folder, or all of them on stdout, each under its name where there are several."""
    if folder is None:
        named = len(files) > 1
        sys.stdout.write("\n".join(f"# {name}\n{text}" if named else text for name, text in files.items()))
        return
    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    write_lines(str(place / name) for name in files)
