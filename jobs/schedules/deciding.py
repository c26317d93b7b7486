"""Which runs a call of `regrow schedule tick` begins: decided by the clock and the records of the runs before."""

import re
from datetime import datetime

from msgspec import Struct

from jobs.runs.record import RunRecord, read_record, recorded_ids, request_digest
from jobs.runs.times import read_stamp, text_of
from jobs.schedules.schedule import Scheduled

_UNFINISHED = ("running", "stopped")


class Decision(Struct, frozen=True, kw_only=True):
    """The ticks whose runs are begun, oldest first, and what a user should know of it."""

    ticks: list[datetime] = []
    lines: list[str] = []


def recorded_ticks(scheduled: Scheduled) -> list[datetime]:
    """Return the ticks of which there is a record, oldest first, by the names of the records alone."""
    name = re.compile(re.escape(scheduled.name) + r"-(\d{8}T\d{6}Z)")
    return sorted(read_stamp(found[1]) for found in map(name.fullmatch, recorded_ids(scheduled.place)) if found)


def decide(scheduled: Scheduled, now: datetime) -> Decision:
    """Return what is due at a moment.

    Of ticks that passed without a run only the newest counts. The newest run that has a record is taken up first where
    it was cut off or stopped; one that is done, or failed, is over, also when the clock has been set back before it.
    """
    recorded = recorded_ticks(scheduled)
    last = read_record(scheduled.place, scheduled.run_id(recorded[-1])) if recorded else None
    taken_up = _taken_up(scheduled, recorded[-1], last) if last else Decision()
    newest = next(scheduled.before(now), None)
    new = _new(scheduled, newest, now) if newest and (not recorded or newest > recorded[-1]) else Decision()
    found = Decision(ticks=[*taken_up.ticks, *new.ticks], lines=[*taken_up.lines, *new.lines])
    if found.ticks or found.lines:
        return found
    return Decision(lines=[f"{_nothing(scheduled, newest, last, now)}; next at {text_of(next(scheduled.after(now)))}"])


def _taken_up(scheduled: Scheduled, tick: datetime, record: RunRecord) -> Decision:
    if record.outcome not in _UNFINISHED:
        return Decision()
    run = scheduled.run_id(tick)
    if record.digest != request_digest(scheduled.request):
        return Decision(lines=[f"run {run} did not come to its end, and its job is another one by now: it is left so"])
    return Decision(ticks=[tick], lines=[f"taking up run {run}, which did not come to its end"])


def _new(scheduled: Scheduled, tick: datetime, now: datetime) -> Decision:
    late = now - tick
    if scheduled.schedule.catch_up == "skip" and late > scheduled.grace(tick):
        minutes = late.total_seconds() / 60
        return Decision(lines=[f"tick {text_of(tick)} was missed {minutes:,.0f} minutes ago, and catch_up is skip"])
    return Decision(ticks=[tick])


def _nothing(scheduled: Scheduled, newest: datetime | None, last: RunRecord | None, now: datetime) -> str:
    if newest is None or last is None:
        return "nothing is due"
    if last.tick and last.tick > text_of(now):
        return f"nothing is due: run {last.id} is {last.outcome}, though its tick lies ahead: was the clock set back?"
    again = f" (exit status {last.status}); to run it again: regrow run {scheduled.job} --run-id {last.id}"
    return f"nothing is due: run {last.id} is {last.outcome}{again if last.outcome == 'failed' else ''}"
