"""What earlier runs of the same job have come to, by their records: where the next one goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from jobs.errors import InputError
from jobs.requests import AnyRequest
from jobs.runs.places import place_of
from jobs.runs.record import RunRecord, read_record, recorded_ids, request_digest
from ops.archive.layout import locate
from ops.archive.seal_names import stands
from pipelines.requests import ReconstructRequest, VerifyRequest
from pipelines.verify import Sweep

READS_AT_ONCE = 16
Say = Callable[[str], None]


def seen_by_last(request: ReconstructRequest, say: Say) -> int | None:
    """Return the number of the newest seal of which a run of this job has done all; -1 where there is none.

    Nothing for a job that does not go by that. No clock decides: seals count up, and one is known by its checksum, so
    that an archive made anew in the same place is all new.
    """
    if request.new_since is None:
        return None
    done = [(record.seal, record.id) for record in earlier_runs(request, say) if record.seal is not None]
    location = locate(request.archive)
    for seal, run in sorted(done, key=lambda one: one[0].number, reverse=True):
        if stands(location, seal):
            say(f"New is what was archived after seal {seal.number}, which run {run} has seen")
            return seal.number
    if done:
        say(f"Note: {request.archive} is another archive than the one that earlier runs have seen: all of it is new")
    else:
        say("No run of this job is done yet: all of the archive is new")
    return -1


def last_sweep(request: VerifyRequest, say: Say) -> Sweep | None:
    """Return how far runs of this job have come in reading the archive share by share."""
    if request.share is None:
        return None
    sweeps = [record.sweep for record in earlier_runs(request, say) if record.sweep is not None]
    return max(sweeps, key=lambda sweep: sweep.turn, default=None)


def earlier_runs(request: AnyRequest, say: Say) -> Iterator[RunRecord]:
    """Yield the records of runs that were asked for the same, in no order. A damaged one is told, and passed over."""
    place, digest = place_of(request), request_digest(request)

    def read(run: str) -> RunRecord | str | None:
        try:
            return read_record(place, run)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for found in pool.map(read, recorded_ids(place)):
            if isinstance(found, str):
                say(f"Note: {found}")
            elif found is not None and found.digest == digest:
                yield found
