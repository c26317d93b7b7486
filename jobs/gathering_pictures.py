"""The gallery of an evaluation: some of its images made anew, several at a time, and its codecs timed on a few."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from clusters.budget import BYTES_PER_PIXEL
from clusters.machine import this_machine
from jobs.report.findings import GalleryImage, Shown, Timing
from jobs.report.gallery import cut_to_crop
from ops.ahead import Ahead
from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive
from ops.archive.rows import OK, ImageRow
from ops.candidates import Maker
from ops.codecs.base import Codec, Runtime
from ops.codecs.binding import reach
from ops.codecs.names import codec_from
from ops.decoding import decode
from ops.encoding import limits_of
from ops.evaluation.document import EvaluationDocument
from ops.evaluation.plan import Pair, find_pairs
from ops.here import device_here
from ops.images import Failure, ImageError, Pixels
from ops.judging import judging_cost
from ops.metrics.base import SetMetricConfig
from ops.readers.base import Entry
from ops.sources import fetch
from pipelines.evaluate import Evaluated
from pipelines.judge import kept_of

# Worst, best and drawn, three of each.
SHOWN_OF_EACH = 3
# Larger ones would take minutes to encode anew for the page.
SHOWN_PIXELS = 60_000_000
# Of all codecs together: a page waits for them.
TIMED_SECONDS = 10.0
# Of this machine's memory, one part in so many is for images that are made at one time.
MEMORY_SHARE = 4
SEED = 0


class _Found(NamedTuple):
    """A reference, decoded, with what an archive keeps of it."""

    key: str
    reference: Pixels
    kept: ImageRow | None


def judged_archive(document: EvaluationDocument) -> Archive | None:
    """Return the archive that was judged; nothing where a source was, or where it is gone or another one by now."""
    if document.kind != "archive":
        return None
    try:
        found = Archive.open(document.target)
    except ArchiveError:
        return None
    # Where scores were taken on the way there is no version: it grows with every run.
    return found if document.seal in ("", found.version) else None


def _device(document: EvaluationDocument) -> str:
    """Return on what this machine regrows for a report."""
    devices = {device_here(codec_from(settings)) for settings in document.judging.codecs}
    return max(devices, default="cpu")


def _shown_pixels(document: EvaluationDocument) -> int:
    """Return the largest image to show: a full network takes minutes a megapixel where there is no accelerator."""
    slowest = max((codec_from(settings).seconds_per_megapixel.up for settings in document.judging.codecs), default=0.0)
    return int(SHOWN_PIXELS / (1 + slowest / 20)) if _device(document) == "cpu" else SHOWN_PIXELS


def _choose(table: pa.Table, document: EvaluationDocument, most_pixels: int) -> dict[str, str]:
    """Return the keys to show, and why: worst and best of the first codec, and some drawn by lot."""
    judging = document.judging
    codec = judging.candidates[0].name
    rows = table.filter(pc.and_(pc.equal(table["candidate"], codec), pc.equal(table["status"], OK)))
    pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    rows = rows.filter(pc.less_equal(pixels, most_pixels))
    metrics = [metric for metric in judging.protocol.metrics if not isinstance(metric, SetMetricConfig)]
    perceptual = [metric for metric in metrics if not metric.higher_is_better and metric.verified]
    chosen: dict[str, str] = {}
    if metrics:
        by = (perceptual or metrics)[0]
        scored = rows.filter(pc.is_valid(rows[by.column]))
        order = "ascending" if by.higher_is_better else "descending"
        keys = scored.sort_by([(by.column, order), ("key", "ascending")])["key"].to_pylist()
        chosen |= dict.fromkeys(keys[:SHOWN_OF_EACH], f"worst by {by.heading}")
        chosen |= {key: f"best by {by.heading}" for key in keys[::-1][:SHOWN_OF_EACH] if key not in chosen}
    rest = [key for key in rows["key"].to_pylist() if key not in chosen]
    drawn = random.Random(SEED).sample(rest, min(SHOWN_OF_EACH, len(rest)))  # noqa: S311  to look at, not to hide
    return chosen | dict.fromkeys(sorted(drawn), "drawn by lot")


def pictures(evaluated: Evaluated, table: pa.Table) -> tuple[list[GalleryImage], list[Timing]]:
    """Return the images to show, made anew from the references that are still there, and how long codecs take.

    `table` has the score rows. Images are made beside one another; time is taken afterwards, when nothing else runs.
    """
    document = evaluated.document
    chosen = _choose(table, document, _shown_pixels(document))
    shown = [candidate for candidate in document.judging.candidates if candidate.kind != "rate"]
    judging = replace(document.judging, candidates=shown)
    maker = Maker(judging, reach(Runtime(device=_device(document)), evaluated.weights))

    def made(found: _Found) -> GalleryImage | None:
        return _gallery_image(maker, found, chosen[found.key], _settings(table, found.key))

    here = this_machine()
    ahead = Ahead(here.cpus, here.memory_bytes // MEMORY_SHARE // BYTES_PER_PIXEL)
    found = _references(evaluated, list(chosen))
    costs = ((one, judging_cost(judging, one.reference.shape[0] * one.reference.shape[1])) for one in found)
    gallery = [image for image in ahead.in_order(made, costs) if image is not None]
    # Where a codec failed there is no time to take, and one that raised once would again.
    whole = [one.key for one in gallery if maker.codecs.keys() <= {shown.candidate for shown in one.shown}]
    return gallery, _timings(maker.codecs, (one.reference for one in _references(evaluated, whole)))


def _settings(table: pa.Table, key: str) -> dict[str, str]:
    """Return the settings of an image's baselines, as they were found when it was judged."""
    rows = table.filter(pc.and_(pc.equal(table["key"], key), pc.is_valid(table["settings"])))
    return dict(zip(rows["candidate"].to_pylist(), rows["settings"].to_pylist(), strict=True))


def _gallery_image(maker: Maker, found: _Found, why: str, settings: Mapping[str, str]) -> GalleryImage | None:
    """Return an image with what each candidate makes of it; nothing where the codec under test makes nothing."""
    made = maker.make(found.reference, None if found.kept is None else kept_of(found.kept), settings)
    payload = made[0].payload
    if payload is None:
        return None
    shown = [Shown(candidate=one.candidate, pixels=one.pixels) for one in made if one.pixels is not None]
    return cut_to_crop(
        GalleryImage(
            key=found.key, why=why, reference=found.reference, thumbnail=payload.thumbnail,
            media_type=payload.media_type, shown=shown,
        )
    )  # fmt: skip


def _references(evaluated: Evaluated, keys: Sequence[str]) -> Iterator[_Found]:
    """Yield the references of some keys, decoded; not those that are gone."""
    document = evaluated.document
    archive = judged_archive(document)
    if document.kind == "archive" and archive is None:
        return
    if archive is None or document.references:
        pairs = find_pairs(evaluated.url, evaluated.plan, keys)
    else:
        pairs = {key: Pair(key=key, row=archive.find(key)) for key in keys}
    reading = document.judging.reading
    for key in keys:
        pair, kept = pairs[key], None
        if archive is not None:
            if pair.row is None or not pair.row.good:
                continue
            kept = archive.facts(pair.row)
            kept.thumbnail = archive.thumbnail(pair.row)
        entry = pair.reference
        if entry is None and kept is not None:
            entry = Entry(key=key, uri=kept.uri, locator=kept.locator, size=kept.source_bytes)
        if entry is None:
            continue
        [encoded] = fetch([entry], 1, limits_of(reading))
        if isinstance(encoded, bytes):
            try:
                yield _Found(key, decode(encoded, limits_of(reading), reading.background, "none").pixels, kept)
            except ImageError:
                continue


def _timings(codecs: Mapping[str, Codec], references: Iterator[Pixels], most: float = TIMED_SECONDS) -> list[Timing]:
    """Take the time of each codec, one image at a time, on one thread of this machine.

    As many images as take `most` seconds, by what those before took; the first is taken in any case.
    """
    seconds = {name: [0.0, 0.0] for name in codecs}
    num_images, megapixels = 0, 0.0
    for reference in references:
        size = reference.shape[0] * reference.shape[1] / 1e6
        spent = sum(map(sum, seconds.values()))
        if num_images and spent * (1 + size / megapixels) > most:
            break
        num_images, megapixels = num_images + 1, megapixels + size
        for name, codec in codecs.items():
            down, up = _seconds_of(codec, reference)
            seconds[name][0] += down
            seconds[name][1] += up
    if not num_images:
        return []
    return [
        Timing(
            codec=name, down_seconds=down / megapixels, up_seconds=up / megapixels, num_images=num_images,
            megapixels=megapixels,
        )
        for name, (down, up) in seconds.items()
    ]  # fmt: skip


def _seconds_of(codec: Codec, reference: Pixels) -> tuple[float, float]:
    started = time.perf_counter()
    [payload] = codec.encode([np.ascontiguousarray(reference)])
    between = time.perf_counter()
    if isinstance(payload, Failure):
        return between - started, 0.0
    codec.decode([payload])
    return between - started, time.perf_counter() - between
