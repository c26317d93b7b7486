"""A run with an id is run once: what is done is not done again, what was cut off is taken up, two never meet."""

import sys

from jobs.errors import UsageError
from jobs.output import Show, write_json
from jobs.requests import AnyRequest
from jobs.running import perform
from jobs.runs.lease import holding
from jobs.runs.places import Place, place_of
from jobs.runs.record import RunRecord, check_id, read_record, request_digest
from jobs.runs.recording import Run


def perform_once(request: AnyRequest, show: Show, run: Run, *, wait: bool = False) -> int:
    """Run a request under an id, unless its record says that it is done; return the exit status.

    Raises UsageError where the id belongs to a run of other settings, Held while another run works for the same place,
    unless it is to `wait` for that.
    """
    check_id(run.id)
    place = place_of(request)
    if done := _done(place, request, run.id):
        return _tell_done(done, show)
    with holding(place.url, place.lease, run.id, wait=wait, say=lambda line: _say(line, show)) as is_ours:
        # Who held it meanwhile may have run the same.
        if done := _done(place, request, run.id):
            return _tell_done(done, show)
        return perform(request, show, run, is_ours)


def _done(place: Place, request: AnyRequest, run_id: str) -> RunRecord | None:
    found = read_record(place, run_id)
    if found is None:
        return None
    if found.digest != request_digest(request):
        raise UsageError(
            f"run {run_id} at {place.url} was begun {found.started} with other settings: give another --run-id, or "
            f"remove {place.record(run_id)}"
        )
    return found if found.outcome == "done" else None


def _tell_done(record: RunRecord, show: Show) -> int:
    if show.json:
        write_json(record)
    _say(f"run {record.id} is done since {record.ended}: nothing is run again", show)
    return 0


def _say(line: str, show: Show) -> None:
    if not show.quiet:
        sys.stderr.write(f"regrow: {line}\n")
