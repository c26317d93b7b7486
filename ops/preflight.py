"""The preflight of a learned codec: a few images regrown here, and compared with bicubic at the same scale."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

from msgspec import Struct

from ops.codecs.base import Codec, CodecConfig, Runtime
from ops.codecs.bicubic import BicubicConfig
from ops.images import Failure, ImageError, Pixels
from ops.marks import MarkError
from ops.metrics.base import Inapplicable, MetricConfig, PairMetric, SharingMetric, Unavailable
from ops.metrics.lpips import LpipsConfig
from ops.metrics.ms_ssim import MsSsimConfig
from ops.metrics.psnr import psnr
from ops.metrics.sharing import LayeredMetric, score_sharing

NUM_IMAGES = 4
# Larger ones are cut: their middle tells as much.
MOST_SIDE = 1024
# A generative codec loses PSNR by inventing detail; more than this is no matter of taste.
WORSE_BY_DECIBELS = 3.0
# Where nothing else is to be had: noise is worse by more, whatever detail is invented.
FAR_WORSE_BY_DECIBELS = 6.0
# What two equal images count as: a mean over infinity says nothing.
MOST_DECIBELS = 100.0

Pair: TypeAlias = tuple[float, float]


class Preflight(Struct, frozen=True, kw_only=True):
    """Means over the images, of the codec and of its rival; `perceived` is by the metric `heading`, if it had numbers.

    `failed` says what became of images that were not regrown.
    """

    codec: str
    rival: str
    num_images: int
    decibels: Pair
    heading: str = ""
    higher_is_better: bool = False
    perceived: Pair | None = None
    failed: list[str] = []

    @property
    def passed(self) -> bool:
        """Whether the codec is worth a long run: not far below its rival in PSNR, or above it as eyes see.

        Without a number for what eyes see PSNR decides alone, by a wider margin.
        """
        if not self.num_images:
            return False
        below = self.decibels[1] - self.decibels[0]
        if self.perceived is None:
            return below <= FAR_WORSE_BY_DECIBELS
        return below <= WORSE_BY_DECIBELS or not self._looks_worse(self.perceived)

    def line(self) -> str:
        """Return the numbers in a line."""
        if not self.num_images:
            return f"{self.codec} regrew none of {len(self.failed)} images ({self.failed[0]})"
        said = f"{self.codec} against {self.rival}: PSNR {self.decibels[0]:.2f} against {self.decibels[1]:.2f} dB"
        if self.perceived is not None:
            said += f", {self.heading} {self.perceived[0]:.4f} against {self.perceived[1]:.4f}"
        else:
            said += ", without LPIPS or MS-SSIM"
        of = "1 image" if self.num_images == 1 else f"means of {self.num_images} images"
        return f"{said} ({of} of at most {MOST_SIDE}x{MOST_SIDE} pixels)"

    def _looks_worse(self, perceived: Pair) -> bool:
        codec, rival = perceived
        return codec < rival if self.higher_is_better else codec > rival


class _Regrown(NamedTuple):
    reference: Pixels
    by_codec: Pixels
    by_rival: Pixels


def compare(config: CodecConfig, codec: Codec, images: Sequence[Pixels]) -> Preflight:
    """Regrow images, one at a time, and return how a codec compares with bicubic of its scale."""
    rival = BicubicConfig(scale=config.factor)
    failed: list[str] = []
    regrown = list(_regrown(codec, rival.load(Runtime()), images, failed))
    known = {"codec": config.spelling(), "rival": rival.spelling(), "num_images": len(regrown), "failed": failed}
    if not regrown:
        return Preflight(decibels=(math.nan, math.nan), **known)
    decibels = _means(
        [(_decibels(one.reference, one.by_codec), _decibels(one.reference, one.by_rival)) for one in regrown]
    )
    metric, scores = _perceived(regrown)
    return Preflight(
        decibels=decibels, heading=metric.heading, higher_is_better=metric.higher_is_better,
        perceived=_means(scores) if scores else None, **known,
    )  # fmt: skip


def cut(pixels: Pixels) -> Pixels:
    """Return the middle of an image, of at most MOST_SIDE pixels a side."""
    top, left = (max(side - MOST_SIDE, 0) // 2 for side in pixels.shape[:2])
    return pixels[top : top + MOST_SIDE, left : left + MOST_SIDE].copy()


def _regrown(codec: Codec, rival: Codec, images: Sequence[Pixels], failed: list[str]) -> Iterator[_Regrown]:
    for pixels in images:
        found = [_through(one, pixels) for one in (codec, rival)]
        if isinstance(found[0], str) or isinstance(found[1], str):
            failed.append(next(one for one in found if isinstance(one, str)))
        else:
            yield _Regrown(pixels, found[0], found[1])


def _through(codec: Codec, pixels: Pixels) -> Pixels | str:
    payload = codec.encode([pixels])[0]
    if isinstance(payload, Failure):
        return payload.message
    try:
        return codec.decode([payload])[0]
    except (ImageError, MarkError) as error:
        return str(error)


def _perceived(regrown: Sequence[_Regrown]) -> tuple[MetricConfig, list[Pair]]:
    """Return LPIPS of each image, or MS-SSIM where LPIPS is not to be had; images too small for it have none."""
    lpips, similarity = LpipsConfig(), MsSsimConfig()
    try:
        loaded = lpips.load(Runtime())
    except Unavailable:
        return similarity, list(_similarities(cast("PairMetric", similarity.load(Runtime())), regrown))
    return lpips, list(_distances(loaded, lpips.smallest_side, regrown))


def _distances(metric: SharingMetric, smallest: int, regrown: Sequence[_Regrown]) -> Iterator[Pair]:
    for one in regrown:
        if min(one.reference.shape[:2]) < smallest:
            continue
        layered = cast("LayeredMetric", metric)
        [[first, second]] = score_sharing([layered], one.reference, [one.by_codec, one.by_rival])
        if not isinstance(first, Inapplicable) and not isinstance(second, Inapplicable):
            yield first, second


def _similarities(metric: PairMetric, regrown: Sequence[_Regrown]) -> Iterator[Pair]:
    for one in regrown:
        if min(one.reference.shape[:2]) >= MsSsimConfig.smallest_side:
            yield metric.score(one.reference, one.by_codec), metric.score(one.reference, one.by_rival)


def _decibels(reference: Pixels, grown: Pixels) -> float:
    return min(psnr(reference, grown), MOST_DECIBELS)


def _means(pairs: Sequence[Pair]) -> Pair:
    first, second = (math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return first, second
