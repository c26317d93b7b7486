"""Keeping a run's record while it works: begun with its first event, ended with its outcome."""

import os
import socket
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clusters.budget import budget_for
from clusters.machine import this_machine
from jobs.errors import FAILED, tell
from jobs.progress import Watch
from jobs.requests import AnyRequest
from jobs.runs.places import Place, may_hold_records, place_of
from jobs.runs.record import (
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
    """

    def __init__(
        self, request: AnyRequest, watch: Watch, run: Run | None, is_ours: Callable[[], bool] = lambda: True
    ) -> None:
        self._request, self._watch, self._named, self._is_ours = request, watch, run is not None, is_ours
        self._run = run or Run(id=new_id())
        self._place: Place | None = None
        self._record: RunRecord | None = None
        self._begun, self._stood, self._failed = False, False, False
        self._started, self._started_at = now_text(), monotonic()

    def __enter__(self) -> Self:
        # What is wrong with the place is told by the pipeline, which cannot do without it.
        self._try(self._look, quiet=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.end(INTERRUPTED + 2)
        elif isinstance(error, Exception):
            told = tell(error)
            self.end(told.status if told else FAILED, told.line if told else f"{type(error).__name__}: {error}")

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

    def end(self, status: int, message: str | None = None) -> None:
        """Put the record with its outcome."""

        def put() -> None:
            place = self._place
            if place is None or not (self._begun or self._may_end(place)):
                return
            outcome: Outcome = "stopped" if status >= INTERRUPTED else "failed" if status else "done"
            seconds = round(monotonic() - self._started_at, 3)
            self._put(ended=now_text(), seconds=seconds, outcome=outcome, status=status, message=message)

        self._try(put)

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
            self._record = self._first(self._place)
        self._record = replace(self._record, counts=counts_of(self._request, self._watch.tally), **more)
        put_record(self._place, self._record)

    def _first(self, place: Place) -> RunRecord:
        before = read_record(place, self._run.id) if self._named else None
        return RunRecord(
            id=self._run.id,
            kind=kind_of(self._request),
            request=request_fields(self._request),
            digest=request_digest(self._request),
            started=self._started,
            begun=before.begun + 1 if before else 1,
            versions=stack(),
            resources=_resources(self._request),
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


def _resources(request: AnyRequest) -> dict[str, Any]:
    """Return what a run may take: the cluster's address, or what this machine has and how it is divided.

    With GPUs it depends on the codec how, which its pipeline alone knows.
    """
    address = request.address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        return {"address": address}
    machine = this_machine()
    found: dict[str, Any] = {"machine": msgspec.to_builtins(machine)}
    return found if machine.gpus else {**found, "budget": msgspec.to_builtins(budget_for(machine))}
