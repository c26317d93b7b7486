"""From a reference and what is kept of it to score rows and features of patches. What a judge does, without Ray."""

import hashlib
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from ops.candidates import Kept, Made, Maker
from ops.codecs.base import Runtime
from ops.codecs.tile_facts import EXTRA
from ops.evaluation.document import REFERENCE, Judging, cut_border
from ops.evaluation.features import FeatureRow, put_features
from ops.evaluation.scores import ScoreRow, ScoreStatus, put_scores
from ops.images import Failure, Pixels
from ops.metrics.base import (
    Inapplicable,
    MetricConfig,
    PairMetric,
    SetMetric,
    SetMetricConfig,
    SharingMetric,
    SoloMetric,
)
from ops.metrics.error_map import error_map
from ops.metrics.patches import EVERY_RANK, chosen, cut, rank
from ops.metrics.sharing import LayeredMetric, score_sharing


class Judged(NamedTuple):
    """What came of one image: a score row for each candidate, and features of the patches that were drawn of it."""

    rows: list[ScoreRow]
    features: list[FeatureRow]


class Judge:
    """Judges image after image by one protocol. May be called by several threads at once; each takes one image.

    Metrics of pixels run beside one another; networks on a GPU take turns (ops.networks.exact).

    `shares` says which share of the patches of each size is drawn for metrics of the whole set; all without it.
    """

    def __init__(self, judging: Judging, runtime: Runtime, shares: Mapping[str, float] | None = None) -> None:
        self._judging, self._shares = judging, shares or {}
        self._maker = Maker(judging, runtime)
        loaded = [(config, config.load(runtime)) for config in judging.protocol.metrics]
        self._single = [(config, one) for config, one in loaded if isinstance(one, PairMetric | SoloMetric)]
        self._sharing = [
            (config, cast("LayeredMetric", one)) for config, one in loaded if isinstance(one, SharingMetric)
        ]
        self._sets = [
            (config, one)
            for config, one in loaded
            if isinstance(config, SetMetricConfig) and isinstance(one, SetMetric)
        ]

    def judge(self, key: str, reference: Pixels, encoded: bytes, kept: Kept | None = None) -> Judged:
        """Return the scores of an image whose reference is decoded; `encoded` is that reference's file.

        With `kept`, that is regrown; without, codecs encode the reference.
        """
        set_threads(self._judging.protocol.threads)  # each thread has a number of its own
        made = self._maker.make(reference, kept)
        set_threads(self._judging.protocol.threads)  # a learned codec runs with a number of its own settings
        rows = [self._row(key, reference, encoded, one) for one in made]
        good = [(row, one.pixels) for row, one in zip(rows, made, strict=True) if one.pixels is not None]
        good = [(row, pixels) for row, pixels in good if _of_one_size(row, reference, pixels)]
        if not good:
            return Judged(rows, [])
        for row, pixels in good:
            row.error_map = error_map(reference, pixels)
        border = self._judging.protocol.border
        inner = cut_border(reference, border)
        cut = [(row, cut_border(pixels, border)) for row, pixels in good]
        self._score(inner, cut)
        features = list(self._features(key, inner, cut)) if self._sets else []
        return Judged(rows, features)

    def _row(self, key: str, reference: Pixels, encoded: bytes, made: Made) -> ScoreRow:
        height, width = reference.shape[:2]
        return ScoreRow(
            key=key, candidate=made.candidate, status=str(made.status), message=made.message, width=width,
            height=height, reference_sha256=hashlib.sha256(encoded).hexdigest(), reference_bytes=len(encoded),
            num_bytes=made.num_bytes, beside_bytes=made.beside_bytes, settings=made.settings, larger=made.larger,
            thumbnail_psnr=made.thumbnail_psnr, tiles=made.payload.extras.get(EXTRA) if made.payload else None,
        )  # fmt: skip

    def _score(self, reference: Pixels, cut: Sequence[tuple[ScoreRow, Pixels]]) -> None:
        for config, metric in self._single:
            if _large_enough(config, reference, cut):
                for row, pixels in cut:
                    _note(row, config, lambda metric=metric, pixels=pixels: _score_one(metric, reference, pixels))
        together: dict[str, list[tuple[MetricConfig, LayeredMetric]]] = defaultdict(list)
        for config, metric in self._sharing:
            if _large_enough(config, reference, cut):
                together[metric.backbone].append((config, metric))
        for sharing in together.values():
            found = score_sharing([metric for _, metric in sharing], reference, [pixels for _, pixels in cut])
            for (config, _), scores in zip(sharing, found, strict=True):
                for (row, _), score in zip(cut, scores, strict=True):
                    _note(row, config, lambda score=score: score)

    def _features(self, key: str, reference: Pixels, inner: Sequence[tuple[ScoreRow, Pixels]]) -> Iterator[FeatureRow]:
        height, width = reference.shape[:2]
        taken: set[tuple[str, int]] = set()
        for config, metric in self._sets:
            if not _large_enough(config, reference, inner) or (metric.extractor, config.patch) in taken:
                continue
            taken.add((metric.extractor, config.patch))
            threshold = int(self._shares.get(str(config.patch), 1.0) * EVERY_RANK)
            drawn = chosen(key, width, height, config.patch, threshold)
            for name, pixels in [(REFERENCE, reference), *((row.candidate, pixels) for row, pixels in inner)]:
                patches = [cut(pixels, one) for one in drawn]
                vectors = metric.features(patches) if patches else np.empty((0, 0), np.float32)
                for one, vector in zip(drawn, vectors, strict=True):
                    yield FeatureRow(
                        extractor=metric.extractor, patch=config.patch, key=key, position=one.name,
                        rank=rank(key, one.name),
                        candidate=name, vector=np.asarray(vector, "<f4").tobytes(),
                    )  # fmt: skip


def put_judged(url: str, work: str, judged: Sequence[Judged], judging: Judging) -> None:
    """Store what came of a work: features first, since where scores are nobody comes back for them."""
    if any(isinstance(metric, SetMetricConfig) for metric in judging.protocol.metrics):
        put_features(url, work, [feature for one in judged for feature in one.features])
    put_scores(url, work, [row for one in judged for row in one.rows], judging.protocol.columns())


def failed(judging: Judging, key: str, status: ScoreStatus, message: str) -> list[ScoreRow]:
    """Return the rows of an image that could not be judged at all."""
    return [
        ScoreRow(key=key, candidate=candidate.name, status=str(status), message=message)
        for candidate in judging.candidates
    ]


def is_of_memory(error: Exception) -> bool:
    """Say whether an error is one image's that was too large for the memory, on the processor or a GPU."""
    return isinstance(error, MemoryError) or "out of memory" in str(error)


def why_unreadable(key: str, failure: Failure) -> str:
    """Return what is wrong with a reference, in a line."""
    return f"the reference of {key}: {failure.code}: {failure.message}"


def _of_one_size(row: ScoreRow, reference: Pixels, pixels: Pixels) -> bool:
    if pixels.shape == reference.shape:
        return True
    sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (pixels, reference)]
    row.status = str(ScoreStatus.SIZE_DIFFERS)
    row.message = f"the reconstruction has {sizes[0]} pixels, the reference {sizes[1]}: are they of the same image?"
    return False


def _large_enough(config: MetricConfig, reference: Pixels, cut: Sequence[tuple[ScoreRow, Pixels]]) -> bool:
    """Say whether a metric has numbers for images of this size; where not, note it."""
    height, width = reference.shape[:2]
    if min(height, width) >= config.smallest_side:
        return True
    for row, _ in cut:
        row.missing[config.column] = (
            f"{config.heading} needs {config.smallest_side} pixels a side, here are {width}x{height}"
        )
    return False


def _score_one(metric: PairMetric | SoloMetric, reference: Pixels, pixels: Pixels) -> float:
    return metric.score_alone(pixels) if isinstance(metric, SoloMetric) else metric.score(reference, pixels)


def _note(row: ScoreRow, config: MetricConfig, score: Callable[[], float | Inapplicable]) -> None:
    """Write down a score, or why there is none."""
    try:
        found = score()
    except Inapplicable as why:
        found = why
    if isinstance(found, Inapplicable):
        row.missing[config.column] = str(found)
    elif math.isnan(found):
        row.missing[config.column] = f"{config.heading} came out as no number for this pair"
    else:
        row.scores[config.column] = float(found)


def judging_cost(judging: Judging, pixels: int) -> int:
    """Return what judging an image takes of a budget of pixels, of twelve bytes each.

    Measured beside the reference, with nine candidates: 127 bytes a pixel, of which JPEG XL's writer takes most;
    CLIPIQA takes 121 in its place.
    """
    return pixels * (130 + 3 * len(judging.candidates)) // 12


def set_threads(number: int) -> None:
    """Have torch, where it is loaded, use so many threads for one operation: they change last bits of scores."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(number)
