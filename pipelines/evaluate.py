"""Evaluating: freeze which image is judged against which reference, judge what has no scores yet."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from clusters.machine import this_machine
from clusters.session import ray_session, waiting_seconds
from ops.archive import attempts
from ops.archive.escrowed_weights import places_of
from ops.archive.layout import ArchiveError, Location, locate, read_document
from ops.archive.reading import Archive, catalog_rows
from ops.archive.rows import OK
from ops.codecs.names import codec_from
from ops.evaluation.document import EvaluationDocument, create_evaluation, read_evaluation
from ops.evaluation.plan import (
    PIXELS_PER_BYTE,
    EvaluationPlan,
    Pair,
    grouped,
    plan_of_keys,
    read_index,
    read_plan,
    write_plan,
)
from ops.evaluation.scores import finished_works, forget_failures, read_scores
from ops.readers.base import Entry
from ops.sources.report import ScanReport
from ops.sources.scanning import scan
from ops.stores import absolute, join, open_store
from pipelines.deadline import judging_seconds
from pipelines.events import Budgeted, Listener, Started, nobody
from pipelines.idle_gpus import refuse_idle_gpus
from pipelines.judge import JudgeTask, JudgeWork, fetch_work
from pipelines.judgings import evaluation_url, patches_of, places_for, proposed, scoring_of, shares_of
from pipelines.outage import Outage
from pipelines.requests import ArchiveRequest, EvaluateRequest, RetryRequest
from pipelines.rows import read_receipt
from pipelines.selecting import drawn, rows_of
from pipelines.streaming import Stages, stream

# The unit of resuming. Pixels count once for the reference and once for each candidate: a quarter of an hour of work on
# one processor with every metric, seconds with those of pixels.
WORK_IMAGES, WORK_PIXELS = 8, 60_000_000
SPARE_SECONDS = 3600.0


class Evaluated(NamedTuple):
    """An evaluation that is complete: where it lies, what was asked, and its plan.

    `weights` are where those of its codecs are looked for, once more for its report.
    """

    url: str
    document: EvaluationDocument
    plan: EvaluationPlan
    weights: tuple[str, ...] = ()


def evaluate(request: EvaluateRequest, listen: Listener = nobody) -> Evaluated:
    """Judge an archive against its references, or codecs over a source. Running it again takes up where it stopped.

    Raises ArchiveError or SourceError where the request cannot be met, before any work.
    """
    archive = archive_to_judge(request)
    document, weights = proposed(request, archive), places_for(request.weights, archive)
    url = evaluation_url(request, document, archive)
    plan = read_plan(url)
    if plan is not None:
        document = create_evaluation(url, document)
    else:
        # Before anything is written: a source that is not there leaves no folder behind.
        chosen = drawn(request, archive)
        pairs, notes = pairs_to_judge(chosen, archive)
        document = create_evaluation(url, document)
        plan = _write_plan(url, document, pairs, notes, rows_of(archive, chosen) if archive else None)
    if request.again:
        forget_failures(url)
    index = read_index(url, plan)
    remaining = index.filter(pc.invert(pc.is_in(index["id"], finished_works(url))))
    num_images = pc.sum(remaining["num_images"]).as_py() or 0
    num_bytes = pc.sum(remaining["num_bytes"]).as_py() or 0
    listen(Started(num_images=num_images, num_bytes=num_bytes, num_done=plan.num_images - num_images))
    if remaining.num_rows:
        task = JudgeTask(
            url=url, run=secrets.token_hex(8), judging=document.judging,
            location=archive.location if archive else None, version=archive.version if archive else "",
            references_named=bool(document.references), shares=plan.shares, weights=weights,
        )  # fmt: skip
        _judge(task, remaining, request, listen)
    # Marks of work under way; all of it is done.
    store = open_store(url)
    store.remove(stored.url for stored in store.walk(join(url, "attempts")))
    store.tidy(join(url, "attempts"))
    return Evaluated(url, document, plan, weights)


def archive_to_judge(request: EvaluateRequest) -> Archive | None:
    """Return the archive that a request judges; nothing where it is codecs over a source."""
    return Archive.open(request.target) if _is_archive(request.target) else None


def _write_plan(
    url: str, document: EvaluationDocument, pairs: Iterable[Pair], notes: Iterable[str],
    rows: Callable[[], Iterator[pa.Table]] | None,
) -> EvaluationPlan:  # fmt: skip
    """Write the plan of pairs; `rows` yields the catalog's rows of them, where they are of an archive."""
    judging = document.judging

    def shares(num_images: int) -> dict[str, float]:
        if rows is None:
            # Sizes are not known: each image that counts has one patch or more.
            return shares_of(judging.protocol, lambda _: num_images)
        tables = [table.filter(pc.equal(table["status"], OK)) for table in rows()]
        return shares_of(judging.protocol, lambda side: sum(patches_of(table, side) for table in tables))

    most_pixels = WORK_PIXELS // (1 + len(judging.candidates))
    return write_plan(url, grouped(pairs, WORK_IMAGES, most_pixels), shares, notes)


def scored_at_archiving(request: ArchiveRequest | RetryRequest) -> Evaluated:
    """Return the evaluation that an archive's runs with these `score` settings have filled so far.

    Of images that were archived without them there are no scores.
    """
    location = locate(request.archive)
    document = read_document(location)
    if document is None or request.score is None:
        raise ArchiveError(f"{request.archive} is no archive, or no scores were asked for: use regrow evaluate")
    found = opened(scoring_of(request.score, document, location).url)
    return found._replace(weights=places_of(location, [absolute(place) for place in request.weights]))


def opened(url: str) -> Evaluated:
    """Return an evaluation by its folder or URL. Raises ArchiveError where there is none, or it is not complete."""
    url = absolute(url)
    document = read_evaluation(url)
    done = finished_works(url)
    plan = read_plan(url)
    if plan is None and document.kind == "source":
        raise ArchiveError(f"{url} was not planned to its end: run its evaluate command again")
    if plan is None:  # scores that were taken while an archive was made
        names = [candidate.name for candidate in document.judging.candidates]
        table = read_scores(url, document.judging.protocol.columns(), names)
        plan = plan_of_keys(pc.unique(table["key"]).to_pylist(), len(done))
        # Of images that were archived without scores there are none: they count as planned, and the report says so.
        plan = replace(plan, num_images=max(plan.num_images, len(Archive.open(document.target))))
    if len(done) < plan.num_works:
        raise ArchiveError(
            f"{url} is not complete, {len(done)} of {plan.num_works} works are done: run its evaluate command again"
        )
    return Evaluated(url, document, plan)


def _judge(task: JudgeTask, remaining: pa.Table, request: EvaluateRequest, listen: Listener) -> None:
    refuse_idle_gpus(map(codec_from, task.judging.codecs), request.address, this_machine().gpus)
    stages = Stages(fetch_work, JudgeWork, task)
    largest = PIXELS_PER_BYTE * (pc.max(remaining["num_bytes"]).as_py() or 0)
    longest = 2 * judging_seconds(task.judging, WORK_IMAGES, max(largest, WORK_PIXELS))
    longest += SPARE_SECONDS + waiting_seconds()
    outage = Outage(request.references or request.target, "add --again then, for these")
    try:
        with (
            ray_session(request.address) as budget,
            closing(stream(remaining, stages, budget, longest)) as rows,
        ):
            listen(Budgeted(budget))
            for row in rows:
                receipt = read_receipt(row)
                listen(receipt)
                outage.watch(receipt)
    except BaseException:
        with suppress(OSError):
            attempts.stop(Location(task.url), task.run)
        raise


def _is_archive(url: str) -> bool:
    return read_document(Location(absolute(url))) is not None


def pairs_to_judge(request: EvaluateRequest, archive: Archive | None) -> tuple[Iterator[Pair], Iterable[str]]:
    """Return what is to be judged, in the order of the plan, and notes on it that are complete at its end.

    Raises SourceError or ArchiveError where there is nothing.
    """
    report = ScanReport()
    if archive is not None:
        references = _References(request.references, archive) if request.references else None
        pairs = _pairs(archive, request, references)
    else:
        names = ("keys", "match", "where", "sample", "references")
        given = {name: getattr(request, name) for name in names}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise ArchiveError(f"{request.target} is no archive: {', '.join(wrong)} select of one; leave that out")
        pairs = (Pair(key=entry.key, reference=entry) for entry in scan(request.target, report=report))
    first = next(pairs, None)
    if first is None:
        raise ArchiveError(f"{request.target} has no image that meets the request")
    return chain([first], pairs), (f"{place}: {problem}" for place, problem in report.problems)


class _References:
    """The references that a source holds: by key, or by the key without its suffix where that is plain.

    It is where one reference and one image of the archive have it, and the reference is no other image's by its key.
    """

    def __init__(self, source: str, archive: Archive) -> None:
        stems: dict[str, list[Entry]] = {}
        self._by_key: dict[str, Entry] = {}
        for entry in scan(source, report=ScanReport()):
            self._by_key[entry.key] = entry
            stems.setdefault(_stem(entry.key), []).append(entry)
        wanted: Counter[str] = Counter()
        for table in archive.select():
            wanted.update(stem for key in table["key"].to_pylist() if (stem := _stem(key)) in stems)
        self._by_stem = {stem: entries[0] for stem, entries in stems.items() if len(entries) == 1 and wanted[stem] == 1}

    def of(self, key: str) -> Entry | None:
        """Return the reference of a key, or nothing."""
        return self._by_key.get(key) or self._by_stem.get(_stem(key))


def _stem(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _pairs(archive: Archive, request: EvaluateRequest, references: _References | None) -> Iterator[Pair]:
    """Yield pairs in the order in which thumbnails lie in packs, so that one range brings many of them."""
    for table in rows_of(archive, request)():
        for row in catalog_rows(table.sort_by([("pack", "ascending"), ("row", "ascending")])):
            yield Pair(key=row.key, row=row, reference=references.of(row.key) if references else None)
