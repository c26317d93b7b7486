"""What became of a schedule's ticks: their runs by the records, and those that were missed."""

from datetime import datetime
from itertools import islice, takewhile
from typing import Literal

from msgspec import Struct

from jobs.runs.lease import is_gone, read_lease
from jobs.runs.record import Counts, RunRecord, read_record
from jobs.runs.times import read_stamp, stamp_of, text_of
from jobs.schedules.deciding import recorded_ticks
from jobs.schedules.schedule import Scheduled
from jobs.words import duration, failure_words, megapixels
from ops.stores import open_store

Fate = Literal["running", "done", "failed", "stopped", "cut off", "missed", "not begun"]


class Past(Struct, frozen=True, kw_only=True):
    """A tick, and what became of it. Without a run there is no record."""

    tick: str
    run: str
    outcome: Fate
    status: int | None = None
    seconds: float | None = None
    begun: int = 0
    counts: Counts | None = None
    message: str | None = None

    def cells(self) -> tuple[str, ...]:
        """Return a row for people."""
        counts = self.counts or Counts()
        done = f"{counts.done:,} of {counts.images:,}" if self.counts else ""
        pixels = megapixels(round(counts.megapixels * 1e6)) if counts.megapixels else ""
        took = "" if self.seconds is None else duration(self.seconds)
        failures = failure_words(counts.failures) if counts.failures else self.message or ""
        return (self.tick, self.outcome, took, done, pixels, failures)


HEADINGS = ("TICK", "OUTCOME", "TOOK", "IMAGES", "SIZE", "FAILURES")


def history(scheduled: Scheduled, now: datetime, num_ticks: int) -> list[Past]:
    """Return the newest ticks, newest first, back to the first that has a record. No other records are read."""
    recorded = recorded_ticks(scheduled)
    if not recorded:
        return []
    # By second, since records know no more.
    wanted = {stamp_of(tick) for tick in recorded[-num_ticks:]}
    planned = takewhile(lambda tick: tick >= recorded[0], scheduled.before(now))
    wanted |= {stamp_of(tick) for tick in islice(planned, num_ticks)}
    ticks = [read_stamp(stamp) for stamp in sorted(wanted, reverse=True)[:num_ticks]]
    known = {stamp_of(tick) for tick in recorded}
    newest = next(scheduled.before(now), None)
    return [
        _past(scheduled, tick, stamp_of(tick) in known, is_newest=tick == newest and tick > recorded[-1])
        for tick in ticks
    ]


def _past(scheduled: Scheduled, tick: datetime, is_known: bool, *, is_newest: bool) -> Past:
    run = scheduled.run_id(tick)
    record = read_record(scheduled.place, run) if is_known else None
    if record is None:
        return Past(tick=text_of(tick), run=run, outcome="not begun" if is_newest else "missed")
    return Past(
        tick=text_of(tick),
        run=run,
        outcome="cut off" if record.outcome == "running" and _is_cut_off(scheduled, record) else record.outcome,
        status=record.status,
        seconds=record.seconds,
        begun=record.begun,
        counts=record.counts,
        message=record.message,
    )


def _is_cut_off(scheduled: Scheduled, record: RunRecord) -> bool:
    """Say whether a run that says it is running holds its place no more."""
    place = scheduled.place
    lease = read_lease(open_store(place.url), place.lease)
    return lease is None or lease.run != record.id or is_gone(lease) is True
