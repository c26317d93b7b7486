"""Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003, Asilomar, equation 7)."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ops.codecs.base import Runtime
from ops.images import Pixels
from ops.metrics.base import Inapplicable, MetricConfig, PairMetric
from ops.metrics.colour import LUMA_PARTS, Colour, Plane, label, luma, suffix
from ops.metrics.psnr import check_shapes
from ops.metrics.ssim import TAPS, contrast, mean_over_windows, similarity

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # as published: they sum to 1.0001
BAND_ROWS = 64

Whole: TypeAlias = NDArray[np.integer[Any]]


class MsSsimConfig(MetricConfig, tag="ms_ssim", frozen=True, kw_only=True):
    """The product over five scales of powers of mean contrast and structure, and of mean SSIM at the last.

    Scales are means of 2x2 pixels; an odd last row or column is repeated, as in the authors' program. A mean that is
    negative, which has no real power, counts as 0. Y is of full range and not rounded; RGB is a mean over channels.
    """

    smallest_side: ClassVar[int] = TAPS << (len(WEIGHTS) - 1)  # the last scale then still holds a window

    colour: Colour = "rgb"

    @property
    def column(self) -> str:
        """Return `ms_ssim_rgb` or `ms_ssim_y`."""
        return f"{self.name}_{suffix(self.colour, 'full')}"

    @property
    def heading(self) -> str:
        """Return such as `MS-SSIM (Y)`."""
        return f"MS-SSIM ({label(self.colour, 'full')})"

    def load(self, runtime: Runtime) -> PairMetric:  # noqa: ARG002  # numpy on one core, whatever the device
        """Build the metric."""
        return _MsSsim(self)


class _MsSsim:
    def __init__(self, config: MsSsimConfig) -> None:
        self._config = config

    def score(self, reference: Pixels, reconstruction: Pixels) -> float:
        check_shapes(reference, reconstruction)
        height, width = reference.shape[:2]
        if min(height, width) < self._config.smallest_side:
            message = f"{width}x{height} is too small for MS-SSIM, whose five scales need {self._config.smallest_side}"
            raise Inapplicable(f"{message} pixels a side: use SSIM")
        scores = [_product(x, y) for x, y in zip(self._scales(reference), self._scales(reconstruction), strict=True)]
        return math.fsum(scores) / len(scores)

    def _scales(self, pixels: Pixels) -> "Iterator[_Scale]":
        """Yield each channel at full size."""
        size = pixels.shape[0], pixels.shape[1]
        if self._config.colour == "y":
            yield _Scale(partial(_luma, pixels), LUMA_PARTS, size, np.uint32)
            return
        for channel in range(3):
            yield _Scale(partial(_cut, pixels[:, :, channel]), 1, size, np.uint16)


class _Scale:
    """One channel at one scale: whole numbers, of which a level has `parts`, so that nothing is ever rounded."""

    def __init__(
        self, cut: Callable[[slice, slice], Whole], parts: int, size: tuple[int, int], kind: type[np.unsignedinteger]
    ) -> None:
        self._cut = cut
        self._parts = parts
        self._kind = kind  # holds the sums of the last scale: 255 x 4^4 is within 16 bits, 255,000 x 4^4 within 32
        self.size = size

    def levels(self, rows: slice, columns: slice) -> Plane:
        """Return these rows and columns in levels."""
        return self._cut(rows, columns) / self._parts

    def halved(self) -> "_Scale":
        """Return the sums of 2x2, which are means in a quarter of the unit."""
        height, width = (-(-side // 2) for side in self.size)
        sums = np.empty((height, width), self._kind)
        for top in range(0, height, BAND_ROWS):
            band = self._cut(slice(2 * top, 2 * (top + BAND_ROWS)), slice(None)).astype(self._kind)
            band = np.pad(band, [(0, side % 2) for side in band.shape], mode="edge")
            pairs = band[::2] + band[1::2]
            sums[top : top + BAND_ROWS] = pairs[:, ::2] + pairs[:, 1::2]
        return _Scale(partial(_cut, sums), 4 * self._parts, (height, width), self._kind)


def _product(x: _Scale, y: _Scale) -> float:
    """Return the MS-SSIM of one channel. One scale is held at a time, and the next while it is made."""
    product = 1.0
    for weight in WEIGHTS[:-1]:
        product *= _power(mean_over_windows(x.levels, y.levels, x.size, contrast), weight)
        x, y = x.halved(), y.halved()
    return product * _power(mean_over_windows(x.levels, y.levels, x.size, similarity), WEIGHTS[-1])


def _power(mean: float, weight: float) -> float:
    return max(mean, 0.0) ** weight


def _cut(plane: Whole, rows: slice, columns: slice) -> Whole:
    return plane[rows, columns]


def _luma(pixels: Pixels, rows: slice, columns: slice) -> Whole:
    return luma(pixels[rows, columns])
