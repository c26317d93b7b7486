"""Archiving: plan, encode what has no part yet, seal. Running it again takes up where it stopped."""

import secrets
import shlex
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from time import monotonic
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from clusters.machine import this_machine
from clusters.session import ray_session, waiting_seconds
from ops.archive import attempts
from ops.archive.escrowed_weights import places_of
from ops.archive.layout import ArchiveDocument, ArchiveError, Location, create, locate, read_document
from ops.archive.lease import driving
from ops.archive.parts import finished_parts
from ops.archive.plan import Plan, read_index
from ops.archive.reading import Archive
from ops.archive.seals import Seal, highest_seal, open_generation, sweep_leftovers
from ops.archive.undoing import take_back
from ops.codecs.learned import is_learned
from ops.evaluation.document import evaluation_file
from ops.evaluation.plan import PIXELS_PER_BYTE
from ops.stores import absolute, child_of, is_there
from pipelines.deadline import longest_seconds
from pipelines.documents import CodecHere, check_agrees, codec_here, complete, proposed, settled
from pipelines.encode import ArchiveTask, EncodeChunk, Scoring, fetch_chunk
from pipelines.events import UNTRAINED, Budgeted, Listener, Noted, Planned, Started, nobody
from pipelines.idle_gpus import refuse_idle_gpus
from pipelines.judgings import scoring_of
from pipelines.outage import Outage
from pipelines.planning import NothingToDo, Target, failed_entries, plan_first, plan_growth, plan_retry
from pipelines.preflight import is_due, preflight
from pipelines.requests import ArchiveRequest, RetryRequest
from pipelines.rows import read_receipt
from pipelines.sealing import seal_plan
from pipelines.streaming import Stages, stream

# What Ray may take beyond the longest chunk before a run counts as stuck; machines that are to be added come on top.
SPARE_SECONDS = 900.0
SECONDS_BETWEEN_LOOKS = 60.0


class Run(NamedTuple):
    """One call of a pipeline: where it works, and who listens. `made`: it has begun the archive itself."""

    location: Location
    document: ArchiveDocument
    here: CodecHere
    listen: Listener
    address: str | None
    weights: Sequence[str] = ()
    scoring: Scoring | None = None
    preflight: bool = False
    made: bool = False


def archive(request: ArchiveRequest, listen: Listener = nobody) -> Seal | None:
    """Archive a source, or what is new there; return the new seal, or nothing if it was not to seal.

    What was begun is finished first, from its plan alone; then the source is looked at again. Raises ArchiveError or
    SourceError where the request cannot be met, before any work; NothingToDo where all is done.
    """
    location = locate(request.archive)
    source = absolute(request.source)
    if child_of(source, location.url) or child_of(location.url, source):
        raise ArchiveError(f"{location.url} and its source {source} lie in one another: name a destination elsewhere")
    found = read_document(location)
    request = settled(request, found)
    if found is None:
        document, here = proposed(location, request)
    else:
        check_agrees(found, request, location)
        document, here = found, codec_here(found, location, request.weights)
    with driving(location) as location:
        created = found or create(location, document)
        check_agrees(created, request, location)
        complete(location, created, here)
        made = found is None and created is document  # no other driver was faster
        run = _run_of(request, location, created, here, listen)._replace(made=made)
        finished = _finish_begun(run, source, seal=request.seal)
        if finished and not request.seal:
            return None
        seal = highest_seal(location)
        try:
            plan = _next_plan(Target(location, created, seal), request)
        except NothingToDo as nothing:
            if not finished or nothing.problems:
                raise
            return seal
        listen(Planned(plan, found_unfinished=False))
        return _work_through(run, plan, seal=request.seal)


def _run_of(
    request: ArchiveRequest | RetryRequest, location: Location, document: ArchiveDocument,
    here: CodecHere, listen: Listener,
) -> Run:  # fmt: skip
    if document.untrained:
        listen(Noted(UNTRAINED))
    scoring = scoring_of(request.score, document, location) if request.score else None
    wanted = isinstance(request, ArchiveRequest) and request.preflight
    return Run(location, document, here, listen, request.address, request.weights, scoring, wanted)


def _finish_begun(run: Run, source: str, *, seal: bool) -> bool:
    """Work through plans that were not come to their end, this driver's or another's; say whether there were any."""
    finished = False
    while (plan := open_generation(run.location)[0]) is not None:
        if plan.kind != "retry" and plan.source != source:
            command = shlex.join(["regrow", "archive", plan.source, run.location.url])
            raise ArchiveError(
                f"{run.location.url} is half done from {plan.source}: finish that first ({command}), then add {source}"
            )
        run.listen(Planned(plan, found_unfinished=True))
        _work_through(run, plan, seal=seal)
        finished = True
        if not seal:
            break
    return finished


def retry(request: RetryRequest, listen: Listener = nobody) -> Seal | None:
    """Try an archive's failures again, as a generation of its own. Raises NothingToDo where nothing failed."""
    location = locate(request.archive)
    opened = Archive.open(request.archive)
    with driving(location) as location:
        plan, seal = open_generation(location)
        if plan and plan.kind != "retry":
            raise ArchiveError(f"{location.url} is half done from {plan.source}: run that archive command again first")
        found = plan is not None
        if plan is None and seal:
            failed = failed_entries(opened.failures(), request.codes)
            plan = plan_retry(Target(location, opened.document, seal), failed, request.codes)
        if plan is None:
            wanted = f" with {', '.join(request.codes)}" if request.codes else ""
            raise NothingToDo(f"{location.url}: no image failed{wanted}")
        listen(Planned(plan, found))
        here = codec_here(opened.document, location, request.weights)
        return _work_through(_run_of(request, location, opened.document, here, listen), plan, seal=True)


def _next_plan(target: Target, request: ArchiveRequest) -> Plan:
    if target.seal is None:
        return plan_first(target, request)
    sweep_leftovers(target.location, target.seal)
    return plan_growth(target, request)


def _work_through(run: Run, plan: Plan, *, seal: bool) -> Seal | None:
    location, listen, address = run.location, run.listen, run.address
    index = read_index(location, plan)
    remaining = _without_parts(index, location, plan)
    listen(
        Started(
            num_images=_sum(remaining["num_images"]),
            num_bytes=_sum(remaining["num_bytes"]),
            num_done=plan.num_images - _sum(remaining["num_images"]),
        )
    )
    if remaining.num_rows:
        refuse_idle_gpus([run.here.config], address, this_machine().gpus)
    if run.preflight and is_due(run.here.config, plan, remaining):
        beside = [evaluation_file(run.scoring.url)] if run.scoring else []
        undo = partial(take_back, location, plan, beside) if run.made else None
        preflight(run.here, Target(location, run.document, None), plan, listen, undo)
    if remaining.num_rows:
        _encode(run, plan, remaining)
    if not seal:
        return None
    return seal_plan(location, plan, address, listen)


def _without_parts(index: pa.Table, location: Location, plan: Plan) -> pa.Table:
    done = finished_parts(location, plan.generation)
    return index.filter(pc.invert(pc.is_in(index["chunk_id"], done["chunk_id"])))


def _encode(run: Run, plan: Plan, remaining: pa.Table) -> None:
    location, document, listen = run.location, run.document, run.listen
    task = ArchiveTask(
        location=location,
        run=secrets.token_hex(8),
        generation=plan.generation,
        plan_digest=plan.digest,
        codec=run.here.config,
        codec_digest=document.codec_digest,
        reading=document.reading,
        scoring=run.scoring,
        weights=places_of(location, [absolute(place) for place in run.weights]),
    )
    run.here.let_go()
    num_bytes, judging = _most(remaining["num_bytes"]), run.scoring.judging if run.scoring else None
    longest = longest_seconds(run.here.config, judging, num_bytes, PIXELS_PER_BYTE * num_bytes) + waiting_seconds()
    outage, look_at = Outage(plan.source), monotonic() + SECONDS_BETWEEN_LOOKS
    try:
        with (
            ray_session(run.address, accelerated=bool(run.scoring) or is_learned(run.here.config)) as budget,
            closing(stream(remaining, Stages(fetch_chunk, EncodeChunk, task), budget, longest + SPARE_SECONDS)) as rows,
        ):
            listen(Budgeted(budget))
            for row in rows:
                receipt = read_receipt(row)
                listen(receipt)
                if plan.kind != "retry":  # failures that fail again are no news
                    outage.watch(receipt)
                if monotonic() > look_at:
                    if is_there(location.store, location.seal(plan.generation)):
                        return  # another driver was faster; its seal counts
                    look_at = monotonic() + SECONDS_BETWEEN_LOOKS
    except BaseException:
        # Nobody died of what is under way now. A store that is gone takes no mark either.
        with suppress(OSError):
            attempts.stop(location, task.run)
        raise


def _sum(column: pa.ChunkedArray) -> int:
    return pc.sum(column).as_py() or 0


def _most(column: pa.ChunkedArray) -> int:
    return pc.max(column).as_py() or 0
