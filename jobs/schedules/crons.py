"""Cron text and time zones: which moments they mean, and what is wrong with those that mean none.

cronsim follows Debian's cron. So of jobs at fixed hours a tick in the hour that is skipped in spring comes once, at the
first moment after it, and one in the hour that comes twice in autumn once, the first time; croniter 7.0 would yield it
twice. Where minute or hour begins with `*`, ticks keep their distance, and all of both hours count.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from jobs.errors import UsageError
from jobs.strict_yaml import nearest

FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_ANY = datetime(2024, 1, 1, tzinfo=UTC)
# cronsim goes by the wall clock: begun inside an hour that comes twice, it takes the one for the other.
_AWAY = timedelta(hours=3)


def check_cron(text: str) -> None:
    """Raise UsageError for text that is no cron line of five fields, or names no day that there is."""
    remedy = f"write {', '.join(FIELDS[:-1])} and {FIELDS[-1]}, such as '30 2 * * *'"
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise UsageError(f"cron {text!r} has {len(fields)} fields, not five: {remedy}")
    try:
        next(CronSim(text, _ANY))
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        said = f" {fields[FIELDS.index(name)]!r}" if name in FIELDS else ""
        raise UsageError(f"cron {text!r} has no such {name}{said}: {remedy}") from error
    except StopIteration as error:
        raise UsageError(f"cron {text!r} never comes in 50 years: {remedy}") from error


def check_zone(name: str) -> None:
    """Raise UsageError for a time zone that is not in the IANA's data base."""
    known = available_timezones()
    if name not in known:
        raise UsageError(f"no time zone {name!r}{nearest(name, known)}: write one of the IANA's, such as Europe/Berlin")


def after(text: str, zone: str, moment: datetime) -> Iterator[datetime]:
    """Yield the ticks after a moment, in UTC."""
    for tick in CronSim(text, (moment - _AWAY).astimezone(ZoneInfo(zone))):
        if tick.astimezone(UTC) > moment:
            yield tick.astimezone(UTC)


def before(text: str, zone: str, moment: datetime) -> Iterator[datetime]:
    """Yield the ticks up to a moment, itself among them, in UTC, newest first, of 50 years.

    Found by looking forward from ever earlier: cronsim's way back differs from its way forward in some zones.
    """
    end, length = moment, timedelta(hours=6)
    while length < timedelta(days=366 * 50):
        start = end - length
        yield from reversed(list(takewhile(lambda tick, end=end: tick <= end, after(text, zone, start))))
        end, length = start, length * 4
