"""A schedule: a YAML file that says when a job runs, and what happens when runs meet, fail or were missed."""

import posixpath
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, pairwise
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from jobs.errors import UsageError
from jobs.notifying import notify_from
from jobs.requests import AnyRequest
from jobs.runs.places import Place, place_of
from jobs.runs.record import check_id
from jobs.runs.times import stamp_of
from jobs.schedules.crons import after, before, check_cron, check_zone
from jobs.schedules.durations import seconds_of
from jobs.spec import read_job, request_within
from jobs.strict_yaml import read_struct
from ops.archive.layout import SettingError
from ops.stack import regrow_version
from ops.stores import absolute, join, open_store
from ops.stores.routing import PathError, check_named, scheme_of
from pipelines.requests import EvaluateRequest

# An id is the name, a dash, and a tick such as 20261125T013000Z.
_MOST_NAME = 63
# A tick that is later than this, or than half the way to the next one, counts as missed.
GRACE = timedelta(minutes=15)


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a job runs: at the ticks of `cron` in a time `zone`.

    `overlap` says what a tick does while another run works for the same place; `catch_up` whether a tick that was
    missed is run `once`, the newest of them, or not at all; `retries` how often a run is tried again within its tick
    when it failed in part or whole; `deadline` after how long a tick is stopped, to be gone on with by the next;
    `notify` whom to tell when it ended badly, as a job file may say it, too (jobs.notifying reads it). `job` is a job
    file, or the fields of a job.
    """

    cron: str
    job: str | dict[str, Any]
    zone: str = "UTC"
    overlap: Literal["skip", "wait"] = "skip"
    catch_up: Literal["once", "skip"] = "once"
    retries: Annotated[int, Meta(ge=0, le=10)] = 0
    deadline: str | None = None
    notify: Any = None
    name: str = ""


class Scheduled(Struct, frozen=True, kw_only=True):
    """A schedule as it lies in a file, and what its job asks for.

    `file` and `job` are absolute; of a job that stands in its schedule both are one.
    """

    file: str
    schedule: Schedule
    job: str
    request: AnyRequest

    @property
    def name(self) -> str:
        """The name that its runs begin with."""
        return self.schedule.name

    @property
    def place(self) -> Place:
        """Where its runs leave records."""
        return place_of(self.request)

    def run_id(self, tick: datetime) -> str:
        """Return the id of a tick's run."""
        return f"{self.name}-{stamp_of(tick)}"

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield its ticks after a moment."""
        return after(self.schedule.cron, self.schedule.zone, moment)

    def before(self, moment: datetime) -> Iterator[datetime]:
        """Yield its ticks up to a moment, newest first."""
        return before(self.schedule.cron, self.schedule.zone, moment)

    def grace(self, tick: datetime) -> timedelta:
        """Return how late a tick may be begun that is not to be caught up: 15 minutes, or half the way to the next."""
        return min(GRACE, (next(self.after(tick)) - tick) / 2)

    def shortest_gap(self, moment: datetime, num_ticks: int = 100) -> timedelta:
        """Return the shortest time between its next ticks."""
        ticks = list(islice(self.after(moment), num_ticks))
        return min((later - tick for tick, later in pairwise(ticks)), default=timedelta(days=366))

    def deadline_seconds(self) -> int | None:
        """Return how long a tick may take, if that is limited."""
        return None if self.schedule.deadline is None else seconds_of(self.schedule.deadline)


def read_scheduled(url: str) -> Scheduled:
    """Return a schedule and its job. Raises UsageError for what is wrong in either file, OSError without a schedule."""
    check_named(url, "schedule")
    file = absolute(url)
    try:
        schedule = parse_schedule(open_store(file).read(file), PurePosixPath(file).stem)
    except UsageError as error:
        raise UsageError(f"{url}: {error}") from error
    folder = file.rpartition("/")[0]
    if isinstance(schedule.job, str):
        job = _placed(schedule.job, folder)
        request = _read_job(job, url)
    else:
        job, request = file, _job_within(schedule.job, folder, url)
    if isinstance(request, EvaluateRequest) and request.destination is None and not place_of(request).document:
        raise UsageError(f"{job}: destination is missing: without it an evaluation lies wherever its tick is called")
    return Scheduled(file=file, schedule=schedule, job=job, request=request)


def parse_schedule(content: bytes | str, stem: str = "") -> Schedule:
    """Return the schedule that a YAML document is; `stem` names it where it has no name. Raises UsageError."""
    try:
        found = read_struct(content, Schedule)
    except UsageError as error:
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        # To YAML an asterisk begins the name of an anchor.
        hint = ": put cron text in quotes" if re.search(r"^cron:\s*\*", text, re.MULTILINE) else ""
        raise UsageError(f"{error}{hint}{_newer(error)}") from error
    found = replace(found, name=found.name or stem)
    notify_from(found.notify)
    check_cron(found.cron)
    check_zone(found.zone)
    if found.deadline is not None:
        try:
            seconds_of(found.deadline)
        except UsageError as error:
            raise UsageError(f"field deadline: {error}") from error
    if len(found.name) > _MOST_NAME:
        raise UsageError(f"name {found.name!r} has {len(found.name)} characters: write at most {_MOST_NAME}")
    try:
        check_id(found.name)
    except UsageError as error:
        raise UsageError(f"name {found.name!r}: write A-Z a-z 0-9 . _ - alone, or rename the file") from error
    return found


def _read_job(job: str, schedule: str) -> AnyRequest:
    try:
        return read_job(job)
    except FileNotFoundError as error:
        raise UsageError(f"{schedule}: there is no job {job}: `job` begins at the schedule's folder") from error
    except UsageError as error:
        raise UsageError(f"{error}{_newer(error)}") from error


def _job_within(fields: dict[str, Any], folder: str, schedule: str) -> AnyRequest:
    try:
        return request_within(fields, folder)
    except (UsageError, SettingError, PathError) as error:
        told = UsageError(f"job: {error}")
        raise UsageError(f"{schedule}: {told}{_newer(told)}") from error


def _newer(error: UsageError) -> str:
    """Return what else a field or kind may be that this regrow does not know."""
    if str(error).partition(": ")[2].startswith(("unknown field", "kind is '")) or "unknown field" in str(error):
        return f"; or is it for a regrow newer than {regrow_version()}?"
    return ""


def _placed(path: str, folder: str) -> str:
    """Return where a job lies that is named relative to the folder of its schedule."""
    if scheme_of(path) or path.startswith(("/", "~")):
        return absolute(path)
    scheme, separator, rest = join(folder, path).rpartition("://")
    return f"{scheme}{separator}{posixpath.normpath(rest)}"
