"""The fields of a cron line as other schedulers take them: numbers, lists, and days they can say."""

import re
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim
from msgspec import Struct

from jobs.schedules.schedule import Scheduled

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_ANY = datetime(2024, 1, 1, tzinfo=UTC)
_PLAIN = re.compile(r"\*(/\d+)?|[\d,-]+")
# How far ahead is looked for ticks that fall into an hour that is skipped.
_AHEAD = timedelta(days=5 * 366)


class Fields(Struct, frozen=True, kw_only=True):
    """A cron line taken apart. Days are None where any will do; `either`: one of both kinds of days is enough.

    Not `exact` where it means days that other schedulers cannot say (the last weekday, the second Friday): then the
    line comes more often.
    """

    text: tuple[str, str, str, str, str]
    minutes: list[int]
    hours: list[int]
    days: list[int] | None
    months: list[int]
    weekdays: list[int] | None
    either: bool
    exact: bool

    def cron(self) -> str:
        """Return a cron line that every cron and Kubernetes reads, Sunday being 0."""
        days = _plain(self.text[2], self.days) if self.days else "*"
        return " ".join(
            [
                _plain(self.text[0], self.minutes),
                _plain(self.text[1], self.hours),
                days,
                _plain(self.text[3], self.months),
                ",".join(map(str, self.weekdays)) if self.weekdays else "*",
            ]
        )

    def calendar(self, zone: str) -> list[str]:
        """Return the same as systemd's OnCalendar, a line each."""
        months = "*" if len(self.months) == 12 else _two(self.months)
        days = _two(self.days) if self.days else "*"
        hours = "*" if len(self.hours) == 24 else _two(self.hours)
        minutes = "*" if len(self.minutes) == 60 else _two(self.minutes)
        time = f"{hours}:{minutes}:00 {zone}"
        weekdays = f"{','.join(_WEEKDAYS[day] for day in self.weekdays)} " if self.weekdays else ""
        if self.either:
            return [f"*-{months}-{days} {time}", f"{weekdays}*-{months}-* {time}"]
        return [f"{weekdays}*-{months}-{days} {time}"]


class Moved(NamedTuple):
    """When a tick comes, by the wall clock, whose own hour is skipped that day."""

    month: int
    hour: int
    minute: int


def fields_of(scheduled: Scheduled) -> Fields:
    """Return the fields of a schedule's cron line."""
    parsed = CronSim(scheduled.schedule.cron, _ANY)
    special = any(day < 0 for day in parsed.days), any(isinstance(day, tuple) for day in parsed.weekdays)
    days = None if special[0] or len(parsed.days) == 31 else sorted(parsed.days)
    numbers = {day % 7 for day in parsed.weekdays if isinstance(day, int)}
    weekdays = None if special[1] or len(numbers) == 7 else sorted(numbers)
    either = not parsed.day_and
    if either and (days is None or weekdays is None):
        days = weekdays = None
    minute, hour, day, month, weekday = scheduled.schedule.cron.split()
    return Fields(
        text=(minute, hour, day, month, weekday), minutes=sorted(parsed.minutes), hours=sorted(parsed.hours), days=days,
        months=sorted(parsed.months), weekdays=weekdays, either=either and days is not None, exact=not any(special),
    )  # fmt: skip


def moved_ticks(scheduled: Scheduled, now: datetime) -> list[Moved]:
    """Return at which times ticks come, in the next years, that lie in an hour that is skipped in spring.

    systemd and Kubernetes leave those out.
    """
    fields, zone = fields_of(scheduled), ZoneInfo(scheduled.schedule.zone)
    if scheduled.shortest_gap(now) <= timedelta(hours=1):
        return []  # the next one is as near
    ticks = takewhile(lambda tick: tick < now + _AHEAD, scheduled.after(now))
    local = (tick.astimezone(zone) for tick in ticks)
    found = {
        Moved(one.month, one.hour, one.minute)
        for one in local
        if one.hour not in fields.hours or one.minute not in fields.minutes
    }
    return sorted(found)


def _plain(text: str, values: list[int]) -> str:
    """Return a field as it is written where every cron reads it so, else as a list."""
    return text if _PLAIN.fullmatch(text) else ",".join(map(str, values))


def _two(values: list[int]) -> str:
    return ",".join(f"{value:02d}" for value in values)
