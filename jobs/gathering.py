"""From an evaluation that is complete to the findings that a report tells: table, sets, gallery, timings."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from jobs.info import escrow_bytes
from jobs.report.findings import Findings, GalleryImage, Shown, Timing
from jobs.report.gallery import cut_to_crop
from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive
from ops.archive.rows import OK, ImageRow
from ops.candidates import Made, Maker
from ops.codecs.base import Codec, Runtime
from ops.codecs.binding import reach
from ops.codecs.names import codec_from
from ops.codecs.parameters import Parameters, count_parameters
from ops.decoding import decode
from ops.encoding import limits_of
from ops.evaluation.document import EvaluationDocument
from ops.evaluation.error_maps import mean_error_maps
from ops.evaluation.features import SetScore, set_scores
from ops.evaluation.plan import EvaluationPlan, Pair, find_pairs
from ops.evaluation.scores import finished_works, read_all_scores
from ops.evaluation.tiles import read_tiles
from ops.here import device_here
from ops.images import ImageError, Pixels
from ops.metrics.base import MetricConfig, SetMetricConfig
from ops.metrics.distances import DistanceConfig
from ops.readers.base import Entry
from ops.sources import fetch
from pipelines.evaluate import Evaluated
from pipelines.judge import kept_of

# Worst, best and drawn, three of each.
SHOWN_OF_EACH = 3
# Larger ones would take minutes to encode anew for the page.
SHOWN_PIXELS = 60_000_000
SEED = 0


def gather(evaluated: Evaluated, *, gallery: bool = True) -> Findings:
    """Return the findings of an evaluation. Its gallery is made anew from the references, where they still are."""
    url, document, plan = evaluated.url, evaluated.document, evaluated.plan
    candidates = [candidate.name for candidate in document.judging.candidates]
    metrics = document.judging.protocol.metrics
    scores = read_all_scores(url, [metric.column for metric in metrics], candidates)
    shown, timings = _pictures(evaluated, scores.table) if gallery else ([], [])
    findings = Findings(
        url=url, document=document, plan=plan, table=scores.table, sets=_sets(url, metrics, candidates),
        gallery=shown, timings=timings, error_maps=mean_error_maps(url, scores.older), stacks=dict(scores.stacks),
        tiles=read_tiles(url, document.judging.settings_of_codecs(), scores.older) if gallery else {},
        parameters=_parameters(document) if gallery else {},
    )  # fmt: skip
    archive = _archive(document) if gallery else None
    if archive is None or document.selection:
        return findings
    seal = archive.seal
    held = sum(pack.num_bytes for pack in seal.packs) + sum(file.num_bytes for file in seal.catalog)
    return replace(
        findings, archive_bytes=held, archive_pixels=seal.totals.pixels, escrow_bytes=escrow_bytes(archive.location)
    )


def _parameters(document: EvaluationDocument) -> dict[str, Parameters]:
    counted = {name: count_parameters(codec_from(one)) for name, one in document.judging.settings_of_codecs().items()}
    return {name: one for name, one in counted.items() if one is not None}


def _archive(document: EvaluationDocument) -> Archive | None:
    """Return the archive that was judged; nothing where a source was, or where it is gone or another one by now."""
    if document.kind != "archive":
        return None
    try:
        found = Archive.open(document.target)
    except ArchiveError:
        return None
    # Where scores were taken on the way there is no version: it grows with every run.
    return found if document.seal in ("", found.version) else None


def _sets(url: str, metrics: Sequence[MetricConfig], candidates: Sequence[str]) -> dict[str, dict[str, SetScore]]:
    works = sorted(finished_works(url).to_pylist())
    together: dict[tuple[str, int], list[SetMetricConfig]] = {}
    for metric in metrics:
        if isinstance(metric, DistanceConfig):
            together.setdefault((metric.extractor, metric.patch), []).append(metric)
    found: dict[str, dict[str, SetScore]] = {name: {} for name in candidates}
    for (extractor, _), configs in together.items():
        for candidate, scores in set_scores(url, works, extractor, configs, candidates).items():
            found[candidate] |= scores
    return found if together else {}


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


def _pictures(evaluated: Evaluated, table: pa.Table) -> tuple[list[GalleryImage], list[Timing]]:
    url, document, plan = evaluated.url, evaluated.document, evaluated.plan
    chosen = _choose(table, document, _shown_pixels(document))
    gallery: list[GalleryImage] = []
    shown = [candidate for candidate in document.judging.candidates if candidate.kind != "rate"]
    runtime = reach(Runtime(device=_device(document)), evaluated.weights)
    maker = Maker(replace(document.judging, candidates=shown), runtime)
    clock = _Clock(maker.codecs)
    for key, reference, kept in _references(document, plan, url, list(chosen)):
        made = maker.make(reference, None if kept is None else kept_of(kept), _settings(table, key))
        clock.time(reference)
        if (image := _gallery_image(key, chosen[key], reference, made)) is not None:
            gallery.append(image)
    return gallery, clock.timings()


def _settings(table: pa.Table, key: str) -> dict[str, str]:
    """Return the settings of an image's baselines, as they were found when it was judged."""
    rows = table.filter(pc.and_(pc.equal(table["key"], key), pc.is_valid(table["settings"])))
    return dict(zip(rows["candidate"].to_pylist(), rows["settings"].to_pylist(), strict=True))


def _gallery_image(key: str, why: str, reference: Pixels, made: Sequence[Made]) -> GalleryImage | None:
    payload = made[0].payload
    if payload is None:
        return None
    shown = [Shown(candidate=one.candidate, pixels=one.pixels) for one in made if one.pixels is not None]
    return cut_to_crop(
        GalleryImage(
            key=key, why=why, reference=reference, thumbnail=payload.thumbnail, media_type=payload.media_type,
            shown=shown,
        )
    )  # fmt: skip


def _references(
    document: EvaluationDocument, plan: EvaluationPlan, url: str, keys: Sequence[str]
) -> Iterator[tuple[str, Pixels, ImageRow | None]]:
    """Yield the references of some keys, decoded, with what an archive keeps of them; not those that are gone."""
    archive = _archive(document)
    if document.kind == "archive" and archive is None:
        return
    if archive is None or document.references:
        pairs = find_pairs(url, plan, keys)
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
                yield key, decode(encoded, limits_of(reading), reading.background, "none").pixels, kept
            except ImageError:
                continue


class _Clock:
    """Takes the time of each codec, one image at a time, on one thread of this machine."""

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self._codecs = codecs
        self._seconds = {name: [0.0, 0.0] for name in codecs}
        self._num_images = 0
        self._megapixels = 0.0

    def time(self, reference: Pixels) -> None:
        self._num_images += 1
        self._megapixels += reference.shape[0] * reference.shape[1] / 1e6
        for name, codec in self._codecs.items():
            started = time.perf_counter()
            [payload] = codec.encode([np.ascontiguousarray(reference)])
            between = time.perf_counter()
            self._seconds[name][0] += between - started
            if hasattr(payload, "thumbnail"):
                codec.decode([payload])  # pyright: ignore[reportArgumentType]
                self._seconds[name][1] += time.perf_counter() - between

    def timings(self) -> list[Timing]:
        if not self._num_images:
            return []
        return [
            Timing(
                codec=name, down_seconds=down / self._megapixels, up_seconds=up / self._megapixels,
                num_images=self._num_images, megapixels=self._megapixels,
            )
            for name, (down, up) in self._seconds.items()
        ]  # fmt: skip
