"""Telling a webhook how a tick ended: after its last try, with what its record says."""

import shlex
import socket
from collections.abc import Callable
from datetime import datetime

from jobs.errors import UsageError, tell
from jobs.notifying import Notify, notify_from, read_notify
from jobs.runs import bad_ends
from jobs.runs.bad_ends import BadEnd
from jobs.runs.record import RunRecord, kind_of, read_record
from jobs.runs.times import text_of
from jobs.schedules.schedule import Scheduled


def notify_of(scheduled: Scheduled) -> Notify | None:
    """Return whom a schedule has told, or else its job. Raises UsageError or OSError for a job that cannot be read."""
    return notify_from(scheduled.schedule.notify) or read_notify(scheduled.job)


def tell_of_tick(
    scheduled: Scheduled, tick: datetime, status: int, *, deadline_passed: bool, say: Callable[[str], None]
) -> None:
    """Tell of a tick whose run has failed, was killed, or was stopped by its deadline, if anybody is to be told."""
    try:
        notify = notify_of(scheduled)
    except (UsageError, OSError) as error:
        said = tell(error)
        say(f"{scheduled.run_id(tick)}: nobody is told how it ended: {said.line if said else error}")
        return
    if notify:
        bad_ends.tell(notify, _end(scheduled, tick, status, deadline_passed=deadline_passed), say)


def _end(scheduled: Scheduled, tick: datetime, status: int, *, deadline_passed: bool) -> BadEnd:
    run, place = scheduled.run_id(tick), scheduled.place
    record = _record(scheduled, run)
    if record is None or record.status is None:
        # It was refused before it could leave a record, or was killed.
        known = record or RunRecord(
            id=run, kind=kind_of(scheduled.request), request={}, digest="", started="", host=socket.gethostname(),
            schedule=scheduled.name, tick=text_of(tick),
        )  # fmt: skip
        record = bad_ends.ended_by_itself(known, status)
    again = shlex.join(["regrow", "run", scheduled.job, "--run-id", run])
    why = "deadline passed" if deadline_passed else None
    return bad_ends.bad_end(record, place.url, place.record(run), again, why)


def _record(scheduled: Scheduled, run: str) -> RunRecord | None:
    """Return a run's record; nothing where it cannot be read either: the run's end is told all the same."""
    try:
        return read_record(scheduled.place, run)
    except Exception as error:
        if tell(error) is None:
            raise
        return None
