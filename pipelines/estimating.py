"""Estimating a job before it runs: headers are read, a few images are tried in this process, nothing is written."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from ops.archive.known import KnownKeys
from ops.archive.layout import ArchiveDocument, ArchiveError, Location, locate, read_document
from ops.archive.plan import CHUNK_BYTES, CHUNK_IMAGES
from ops.archive.reading import Archive, CatalogRow, catalog_rows, read_image_rows
from ops.archive.rows import OK, ImageRow
from ops.archive.seals import highest_seal, read_catalog
from ops.census import Sampled, rank, take_census
from ops.codecs.base import Runtime
from ops.codecs.bicubic import BicubicConfig
from ops.codecs.binding import reach
from ops.codecs.learned import is_learned
from ops.images import Failure
from ops.judging import Judge
from ops.readers.base import Entry
from ops.regrowing import Regrower
from ops.trial import try_archiving, try_judging, try_regrowing
from pipelines.documents import CodecHere, codec_here, proposed, settled
from pipelines.estimate import Asked, Estimate, Job, composed
from pipelines.evaluate import WORK_IMAGES, archive_to_judge, pairs_to_judge
from pipelines.judgings import places_for
from pipelines.judgings import proposed as proposed_evaluation
from pipelines.planning import BATCH, scan_source
from pipelines.reconstruct import GROUP_IMAGES, GROUP_PIXELS, LEARNED_PIXELS, style_of
from pipelines.requests import ArchiveRequest, EvaluateRequest, ReconstructRequest
from pipelines.selecting import drawn, rows_of, selection_of

MOST_TRIED = 64


def estimate(
    request: ArchiveRequest | ReconstructRequest | EvaluateRequest, asked: Asked, since: int | None = None
) -> Estimate:
    """Return what a request will take. Nothing is written. Raises as the request itself would, before any work.

    `since` is the seal that the last run of a reconstruction has seen, where it goes by that; -1 for none.
    """
    match request:
        case ArchiveRequest():
            return _archiving(request, asked)
        case ReconstructRequest():
            return _reconstructing(request, asked, since)
        case EvaluateRequest():
            return _evaluating(request, asked)


def _archiving(request: ArchiveRequest, asked: Asked) -> Estimate:
    location = locate(request.archive)
    found = read_document(location)
    request = settled(request, found)
    document, here = proposed(location, request) if found is None else _there(found, location, request)
    begun = time.monotonic()
    codec = here.codec()
    loading = time.monotonic() - begun
    census, sample = take_census(_new_entries(request, location), asked.headers)
    if not census.num_images:
        raise ArchiveError(f"{location.url} holds everything that {request.source} has: there is nothing to estimate")
    entries = [one.entry for one in _readable(sample)]
    judge = asked.judge and not isinstance(here.config, BicubicConfig)  # with which others are compared
    trial = try_archiving(here.config, codec, entries, document.reading, asked.seconds, judge=judge)
    units = max(math.ceil(census.num_images / CHUNK_IMAGES), math.ceil(census.num_bytes / CHUNK_BYTES))
    job = Job(census.num_images, census.pixels, census.num_bytes, units, "encode")
    return composed(
        "archive",
        here.config.spelling(),
        job,
        trial,
        asked,
        device=here.device,
        loading=loading,
        census=census,
        here=here,
        accelerated=is_learned(here.config) or request.score is not None,
    )


def _there(found: ArchiveDocument, location: Location, request: ArchiveRequest) -> tuple[ArchiveDocument, CodecHere]:
    return found, codec_here(found, location, request.weights)


def _new_entries(request: ArchiveRequest, location: Location) -> Iterator[Entry]:
    """Yield what a source holds that the archive does not, or not as it is now."""
    entries, _ = scan_source(request)
    seal = highest_seal(location) if read_document(location) else None
    if seal is None:
        yield from entries
        return
    known = KnownKeys(read_catalog(location, seal, KnownKeys.COLUMNS))
    while batch := list(islice(entries, BATCH)):
        standings = zip(batch, known.standing(batch), strict=True)
        wanted = ("new", "changed") if request.changed == "new" else ("new",)
        yield from (entry for entry, standing in standings if standing in wanted)


def _readable(sample: Sequence[Sampled]) -> list[Sampled]:
    return [one for one in sample if not isinstance(one.header, Failure)]


def _reconstructing(request: ReconstructRequest, asked: Asked, since: int | None) -> Estimate:
    archive = Archive.open(request.archive)
    here = codec_here(archive.document, archive.location, request.weights)
    begun = time.monotonic()
    regrower = Regrower(here.codec(), style_of(archive, request), Runtime(device=here.device))
    loading = time.monotonic() - begun
    tables = selection_of(archive, request, since).tables(archive)
    rows, num_images, pixels, num_bytes = _selected(tables)
    if not num_images:
        raise ArchiveError(f"{archive.location.url} has no image with a thumbnail that meets the request")
    trial = try_regrowing(regrower, _kept(archive, rows), asked.seconds)
    group = LEARNED_PIXELS if here.config.seconds_per_megapixel.up else GROUP_PIXELS
    units = max(math.ceil(num_images / GROUP_IMAGES), math.ceil(pixels / group))
    job = Job(num_images, pixels, num_bytes, units, "regrow")
    return composed(
        "reconstruct",
        here.config.spelling(),
        job,
        trial,
        asked,
        device=here.device,
        loading=loading,
        here=here,
        accelerated=is_learned(here.config),
    )


def _selected(tables: Iterable[pa.Table]) -> tuple[list[CatalogRow], int, int, int]:
    """Return some rows of a selection, spread at random, and of all of them number, pixels and bytes."""
    chosen: list[tuple[int, CatalogRow]] = []
    num_images = pixels = num_bytes = 0
    for table in tables:
        good = table.filter(pc.equal(table["status"], OK))
        num_images += good.num_rows
        sides = [good[side].cast("int64") for side in ("width", "height")]
        pixels += pc.sum(pc.multiply(*sides)).as_py() or 0
        num_bytes += pc.sum(good["length"]).as_py() or 0
        chosen = sorted([*chosen, *((rank(row.key), row) for row in catalog_rows(good))], key=lambda one: one[0])
        chosen = chosen[:MOST_TRIED]
    return [row for _, row in chosen], num_images, pixels, num_bytes


def _kept(archive: Archive, rows: Sequence[CatalogRow]) -> Iterator[ImageRow]:
    for row in rows:
        yield from (
            one for one in read_image_rows(archive.location, [row], archive.version) if isinstance(one, ImageRow)
        )


def _evaluating(request: EvaluateRequest, asked: Asked) -> Estimate:
    archive = archive_to_judge(request)
    document, places = proposed_evaluation(request, archive), places_for(request.weights, archive)
    judging, device = document.judging, "cpu"
    begun = time.monotonic()
    judge = Judge(judging, reach(Runtime(device=device), places))
    loading = time.monotonic() - begun
    kept: dict[str, ImageRow] = {}
    if archive is None:
        references = (pair.reference for pair in pairs_to_judge(request, archive)[0])
        census, sample = take_census((one for one in references if one is not None), asked.headers)
        entries, total = [one.entry for one in _readable(sample)], (census.num_images, census.pixels, census.num_bytes)
    else:
        request = drawn(request, archive)
        rows, *total = _selected(rows_of(archive, request)())
        kept = {row.key: row for row in _kept(archive, rows)}
        named = {pair.key: pair.reference for pair in pairs_to_judge(request, archive)[0] if pair.key in kept}
        entries = [named.get(key) or _reference(row) for key, row in kept.items()]
        census = None
    trial = try_judging(judge, entries, judging.reading, asked.seconds, kept.get)
    num_images, pixels, num_bytes = total
    job = Job(num_images, pixels, num_bytes, math.ceil(num_images / WORK_IMAGES), "judge")
    what = f"{len(judging.candidates)} candidates, {len(judging.protocol.metrics)} metrics"
    return composed(
        "evaluate", what, job, trial, asked, device=device, loading=loading, census=census, accelerated=True
    )


def _reference(row: ImageRow) -> Entry:
    return Entry(key=row.key, uri=row.uri, locator=row.locator, size=row.source_bytes)
