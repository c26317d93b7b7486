"""Evaluating: freeze which image is judged against which reference, judge what has no scores yet."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from clusters.session import ray_session
from ops.archive import attempts
from ops.archive.layout import ArchiveError, Location, locate, read_document
from ops.archive.reading import Archive, catalog_rows
from ops.evaluation.document import EvaluationDocument, create_evaluation, read_evaluation
from ops.evaluation.plan import EvaluationPlan, Pair, grouped, plan_of_keys, read_index, read_plan, write_plan
from ops.evaluation.scores import finished_works, read_scores
from ops.readers.base import Entry
from ops.sources.report import ScanReport
from ops.sources.scanning import scan
from ops.stores import absolute, join, open_store
from pipelines.events import Listener, Started, nobody
from pipelines.judge import JudgeTask, JudgeWork, fetch_work
from pipelines.judgings import evaluation_url, proposed, scoring_of
from pipelines.requests import ArchiveRequest, EvaluateRequest
from pipelines.rows import read_receipt
from pipelines.streaming import Stages, stream

# The unit of resuming: some minutes of work on one processor with every metric.
WORK_IMAGES, WORK_BYTES = 8, 64 << 20
NO_PROGRESS_SECONDS = 4 * 3600.0


class Evaluated(NamedTuple):
    """An evaluation that is complete: where it lies, what was asked, and its plan."""

    url: str
    document: EvaluationDocument
    plan: EvaluationPlan


def evaluate(request: EvaluateRequest, listen: Listener = nobody) -> Evaluated:
    """Judge an archive against its references, or codecs over a source. Running it again takes up where it stopped.

    Raises ArchiveError or SourceError where the request cannot be met, before any work.
    """
    archive = Archive.open(request.target) if _is_archive(request.target) else None
    document = proposed(request, archive)
    url = evaluation_url(request, document, archive)
    plan = read_plan(url)
    if plan is not None:
        document = create_evaluation(url, document)
    else:
        # Before anything is written: a source that is not there leaves no folder behind.
        images = _images(request, archive)
        document = create_evaluation(url, document)
        plan = write_plan(url, grouped(images.pairs, WORK_IMAGES, WORK_BYTES), images.notes)
    index = read_index(url, plan)
    remaining = index.filter(pc.invert(pc.is_in(index["id"], finished_works(url))))
    num_images = pc.sum(remaining["num_images"]).as_py() or 0
    num_bytes = pc.sum(remaining["num_bytes"]).as_py() or 0
    listen(Started(num_images=num_images, num_bytes=num_bytes, num_done=plan.num_images - num_images))
    if remaining.num_rows:
        task = JudgeTask(
            url=url, run=secrets.token_hex(8), judging=document.judging,
            location=archive.location if archive else None, version=archive.version if archive else "",
            references_named=bool(document.references),
        )  # fmt: skip
        _judge(task, remaining, request.address, listen)
    # Marks of work under way; all of it is done.
    store = open_store(url)
    store.remove(stored.url for stored in store.walk(join(url, "attempts")))
    store.tidy(join(url, "attempts"))
    return Evaluated(url, document, plan)


def scored_at_archiving(request: ArchiveRequest) -> Evaluated:
    """Return the evaluation that an archive's runs with these `score` settings have filled so far.

    Of images that were archived without them there are no scores.
    """
    location = locate(request.archive)
    document = read_document(location)
    if document is None or request.score is None:
        raise ArchiveError(f"{request.archive} is no archive, or no scores were asked for: use regrow evaluate")
    return opened(scoring_of(request.score, document, location).url)


def opened(url: str) -> Evaluated:
    """Return an evaluation by its folder or URL. Raises ArchiveError where there is none, or it is not complete."""
    url = absolute(url)
    document = read_evaluation(url)
    done = finished_works(url)
    plan = read_plan(url)
    if plan is None:  # scores that were taken while an archive was made
        names = [candidate.name for candidate in document.judging.candidates]
        table = read_scores(url, document.judging.protocol.columns(), names)
        plan = plan_of_keys(pc.unique(table["key"]).to_pylist(), len(done))
    if len(done) < plan.num_works:
        raise ArchiveError(
            f"{url} is not complete, {len(done)} of {plan.num_works} works are done: run its evaluate command again"
        )
    return Evaluated(url, document, plan)


def _judge(task: JudgeTask, remaining: pa.Table, address: str | None, listen: Listener) -> None:
    stages = Stages(fetch_work, JudgeWork, task)
    try:
        with (
            ray_session(address) as budget,
            closing(stream(remaining, stages, budget, NO_PROGRESS_SECONDS)) as rows,
        ):
            for row in rows:
                listen(read_receipt(row))
    except BaseException:
        with suppress(OSError):
            attempts.stop(Location(task.url), task.run)
        raise


def _is_archive(url: str) -> bool:
    return read_document(Location(absolute(url))) is not None


class _Images(NamedTuple):
    """What is to be judged, in the order of the plan, and what people should know of the list."""

    pairs: Iterable[Pair]
    notes: list[str]


def _images(request: EvaluateRequest, archive: Archive | None) -> _Images:
    if archive is not None:
        references = _References(request.references) if request.references else None
        return _Images(_pairs(archive, request, references), [])
    report = ScanReport()
    pairs = [Pair(key=entry.key, reference=entry) for entry in scan(request.target, report=report)]
    return _Images(pairs, [f"{place}: {problem}" for place, problem in report.problems])


class _References:
    """The references that a source holds: by key, or by the key without its suffix where only one image has it."""

    def __init__(self, source: str) -> None:
        self._by_key: dict[str, Entry] = {}
        stems: dict[str, list[Entry]] = {}
        for entry in scan(source, report=ScanReport()):
            self._by_key[entry.key] = entry
            stems.setdefault(_stem(entry.key), []).append(entry)
        self._by_stem = {stem: entries[0] for stem, entries in stems.items() if len(entries) == 1}

    def of(self, key: str) -> Entry | None:
        """Return the reference of a key, or nothing."""
        return self._by_key.get(key) or self._by_stem.get(_stem(key))


def _stem(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _pairs(archive: Archive, request: EvaluateRequest, references: _References | None) -> Iterator[Pair]:
    """Yield pairs in the order in which thumbnails lie in packs, so that one range brings many of them."""
    selection: dict[str, Any] = {"keys": request.keys, "match": request.match, "where": request.where}
    for table in archive.select(**selection):
        for row in catalog_rows(table.sort_by([("pack", "ascending"), ("row", "ascending")])):
            yield Pair(key=row.key, row=row, reference=references.of(row.key) if references else None)
