"""Keeping a run's record while it works: begun with its first event, ended with its outcome."""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clusters.budget import Budget
from clusters.logs import form_asked, of_run
from clusters.machine import this_machine
from jobs.errors import FAILED, tell
from jobs.progress import Watch
from jobs.requests import AnyRequest, address_of
from jobs.runs.places import Place, may_hold_records, place_of
from jobs.runs.record import (
    Counts,
    Outcome,
    RunRecord,
    counts_of,
    kind_of,
    new_id,
    put_record,
    read_record,
    request_digest,
    request_fields,
)
from jobs.runs.times import now_text
from ops.stack import stack

INTERRUPTED = 128
_LOG = logging.getLogger(__name__)


class Run(Struct, frozen=True, kw_only=True):
    """Which run this is: its id and, if it was given one, the schedule and the tick that it is of."""

    id: str
    schedule: str | None = None
    tick: str | None = None


class Recording:
    """A run's record, put when work has begun and at the end. A place that takes none is told once and fails nothing.

    Nothing is put before a pipeline has found its request sound: a refused one leaves nothing behind. Only a run that
    was given its id leaves a record of that, too, since somebody will ask for it. `is_ours` says whether the run still
    holds its lease.

    `tell_of` is called with the record of a run that failed, whether or not it could be put, and with the one that an
    earlier try of this run left behind when it was cut off. While the block runs, log lines say the run.
    """

    def __init__(
        self, request: AnyRequest, watch: Watch, run: Run | None,
        is_ours: Callable[[], bool] = lambda: True, tell_of: Callable[[RunRecord], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._request, self._watch, self._named, self._is_ours = request, watch, run is not None, is_ours
        self._tell_of, self._open = tell_of, ExitStack()
        self._run = run or Run(id=new_id())
        self._place: Place | None = None
        self._record: RunRecord | None = None
        self._begun, self._stood, self._failed = False, False, False
        self._started, self._started_at = now_text(), monotonic()

    def __enter__(self) -> Self:
        self._open.enter_context(of_run(self._run.id))
        # What is wrong with the place is told by the pipeline, which cannot do without it.
        self._try(self._look, quiet=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._open:
            if isinstance(error, KeyboardInterrupt):
                self.end(INTERRUPTED + 2)
            elif isinstance(error, Exception):
                told = tell(error)
                said = told.line if told else f"{type(error).__name__}: {error}"
                self.end(told.status if told else FAILED, said, finished=False)

    def looking(self, also: Callable[[], None]) -> Callable[[], None]:
        """Return what is to be called before each event: something else, then `look`."""

        def both() -> None:
            also()
            self.look()

        return both

    def look(self) -> None:
        """Put the record once work has begun: with any event, but in a new archive not before something is done.

        Until then its run may take it back, and would not where anything else lies in it.
        """
        tally = self._watch.tally
        if not self._begun and (self._stood or tally.num_receipts or tally.seal is not None):
            self._begun = True
            self._try(self._put)

    def end(self, status: int, message: str | None = None, *, finished: bool = True, **noted: Any) -> None:
        """Put the record with its outcome; a run that was not stopped has `finished`, unless it raised.

        `noted` are fields of the record that later runs look up.
        """
        outcome: Outcome = "stopped" if status >= INTERRUPTED else "failed" if status else "done"
        ended: dict[str, Any] = {
            "ended": now_text(), "seconds": round(monotonic() - self._started_at, 3), "outcome": outcome,
            "finished": finished and status < INTERRUPTED, "status": status, "message": message,
            **noted,
        }  # fmt: skip

        def put() -> None:
            place = self._place
            if place is not None and (self._begun or self._may_end(place)):
                self._put(**ended)

        self._try(put)
        if form_asked():  # Python itself would print an error that nobody handles
            said = f", {message}" if message else ""
            _LOG.log(
                logging.ERROR if outcome == "failed" else logging.INFO, "%s: exit status %d%s", outcome, status, said
            )
        if outcome == "failed":
            self._tell_of(replace(self._record or self._first(None), counts=self._counts(), **ended))

    def _look(self) -> None:
        self._place = place_of(self._request)
        self._stood = self._place.stands()

    def _may_end(self, place: Place) -> bool:
        if place.document:
            return self._stood or place.stands()
        return self._named and may_hold_records(self._request)

    def _put(self, **more: Any) -> None:
        if self._place is None or not self._is_ours():
            return
        if self._record is None:
            before = read_record(self._place, self._run.id) if self._named else None
            self._record = self._first(before)
            if before and before.outcome == "running":
                self._tell_of(before)
        resources = _resources(self._request, self._watch.tally.budget)
        self._record = replace(self._record, counts=self._counts(), resources=resources, **more)
        put_record(self._place, self._record)

    def _counts(self) -> Counts:
        return counts_of(self._request, self._watch.tally)

    def _first(self, before: RunRecord | None) -> RunRecord:
        return RunRecord(
            id=self._run.id,
            kind=kind_of(self._request),
            request=request_fields(self._request),
            digest=request_digest(self._request),
            started=self._started,
            begun=before.begun + 1 if before else 1,
            versions=stack(),
            host=socket.gethostname(),
            pid=os.getpid(),
            # A run that is taken up by hand stays the one of its tick.
            schedule=self._run.schedule or (before.schedule if before else None),
            tick=self._run.tick or (before.tick if before else None),
        )

    def _try(self, what: Callable[[], None], *, quiet: bool = False) -> None:
        try:
            what()
        except Exception as error:
            told = tell(error)
            if told is None:
                raise
            if not quiet and not self._failed:
                self._failed = True
                self._watch.say(f"Note: no record of this run is kept: {told.line}")


def _resources(request: AnyRequest, budget: Budget | None) -> dict[str, Any]:
    """Return what a run has: this machine, or the cluster's address; and what its stages take, once that is known."""
    address = address_of(request) or os.environ.get("RAY_ADDRESS") or "local"
    local = address == "local"
    found: dict[str, Any] = {"machine": msgspec.to_builtins(this_machine())} if local else {"address": address}
    return {**found, "budget": msgspec.to_builtins(budget)} if budget else found
