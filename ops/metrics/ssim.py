"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, IEEE TIP 13(4), equation 13), of RGB or of Y."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from ops.codecs.base import Runtime
from ops.images import Pixels
from ops.metrics.base import MetricConfig, PairMetric
from ops.metrics.colour import Colour, Plane, Range, check_colour, label, suffix, y_plane
from ops.metrics.psnr import check_shapes

TAPS = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
# A band of 16 rows, 2,000 pixels wide, keeps its planes of doubles within a CPU's second cache.
BAND_ROWS = 16
# Bounds memory for very wide images. Windows of a row are summed in runs of so many: it decides last bits.
BAND_COLUMNS = 8192

Cut: TypeAlias = Callable[[slice, slice], Plane]
"""Returns these rows and columns of one channel, in levels."""


class SsimConfig(MetricConfig, tag="ssim", frozen=True, kw_only=True):
    """Mean SSIM over windows that lie inside the image, then over channels.

    `rounded` takes Y in whole levels; `clipped` raises the contrast and structure term of a window to 0 where it is
    negative. TADM's protocol, by pyiqa, is Y of limited range, rounded, clipped.
    """

    colour: Colour = "rgb"
    range: Range = "full"
    rounded: bool = False
    clipped: bool = False

    def __post_init__(self) -> None:
        check_colour(self.colour, self.range)
        if self.colour == "rgb" and self.rounded:
            raise ValueError("rounded is for Y, and the colour is rgb, in whole levels anyway: write colour 'y'")

    @property
    def column(self) -> str:
        """Return `ssim_rgb`, `ssim_y` or `ssim_y_limited`."""
        return f"{self.name}_{suffix(self.colour, self.range)}"

    @property
    def heading(self) -> str:
        """Return such as `SSIM (Y)`."""
        return f"SSIM ({label(self.colour, self.range)})"

    def load(self, runtime: Runtime) -> PairMetric:  # noqa: ARG002  # numpy on one core, whatever the device
        """Build the metric."""
        return _Ssim(self)


class _Ssim:
    def __init__(self, config: SsimConfig) -> None:
        self._config = config
        self._value = clipped_similarity if config.clipped else similarity

    def score(self, reference: Pixels, reconstruction: Pixels) -> float:
        check_shapes(reference, reconstruction)
        size = reference.shape[0], reference.shape[1]
        pairs = list(zip(self._cuts(reference), self._cuts(reconstruction), strict=True))
        return math.fsum(mean_over_windows(x, y, size, self._value) for x, y in pairs) / len(pairs)

    def _cuts(self, pixels: Pixels) -> list[Cut]:
        if self._config.colour == "rgb":
            return [partial(_channel, pixels, c) for c in range(3)]
        return [partial(_y, pixels, self._config.range, self._config.rounded)]


class Moments(NamedTuple):
    """Of each window: the product of its two means, the sum of their squares, covariance, the sum of variances."""

    means: Plane
    mean_squares: Plane
    covariance: Plane
    variances: Plane


def ssim(reference: Pixels, reconstruction: Pixels) -> float:
    """Return the mean SSIM, at most 1, over the valid windows of each channel of RGB, then over the channels.

    Windows are Gaussian, 11x11, sigma 1.5, K1 0.01, K2 0.03, population statistics, no downscaling beforehand. Where a
    side is below 11 pixels, the window is cut along it to the largest odd length that fits, and sums to one again.
    """
    return _Ssim(SsimConfig()).score(reference, reconstruction)


def similarity(m: Moments) -> Plane:
    """Return the SSIM of every window; 1 for windows that are flat and equal."""
    return (2 * m.means + C1) * (2 * m.covariance + C2) / ((m.mean_squares + C1) * (m.variances + C2))


def contrast(m: Moments) -> Plane:
    """Return the contrast and structure term of every window: SSIM without the means."""
    return (2 * m.covariance + C2) / (m.variances + C2)


def clipped_similarity(m: Moments) -> Plane:
    """Return the SSIM of every window, 0 where it would be negative."""
    return (2 * m.means + C1) / (m.mean_squares + C1) * np.maximum(contrast(m), 0)


def mean_over_windows(x: Cut, y: Cut, size: tuple[int, int], value: Callable[[Moments], Plane]) -> float:
    """Return the mean of `value` over the windows of a channel of this (height, width).

    Rows are summed alone and then exactly, so the height of the bands that are worked at a time changes no bit.
    """
    down, across = (gaussian(side) for side in size)
    height, width = size[0] - len(down) + 1, size[1] - len(across) + 1
    sums: list[float] = []
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, min(top + BAND_ROWS, height) + len(down) - 1)
        for left in range(0, width, BAND_COLUMNS):
            columns = slice(left, min(left + BAND_COLUMNS, width) + len(across) - 1)
            windows = value(_moments(x(rows, columns), y(rows, columns), down, across))
            sums += windows.sum(axis=1).tolist()
    return math.fsum(sums) / (height * width)


def gaussian(side: int) -> Plane:
    """Return the Gaussian of 11 taps, or of the largest odd number of taps within `side`; it sums to one."""
    taps = min(TAPS, side - 1 + side % 2)
    offsets = np.arange(taps) - taps // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return weights / weights.sum()


def _channel(pixels: Pixels, channel: int, rows: slice, columns: slice) -> Plane:
    return pixels[rows, columns, channel].astype(np.float64)


def _y(pixels: Pixels, span: Range, rounded: bool, rows: slice, columns: slice) -> Plane:
    return y_plane(pixels[rows, columns], span, rounded)


def _moments(x: Plane, y: Plane, down: Plane, across: Plane) -> Moments:
    """Filter four planes, not five: the two variances are needed only as their sum."""
    mean_x, mean_y, squares, product = (_filter(plane, down, across) for plane in _planes(x, y))
    means = mean_x * mean_y
    mean_squares = mean_x * mean_x + mean_y * mean_y
    return Moments(means, mean_squares, product - means, squares - mean_squares)


def _planes(x: Plane, y: Plane) -> Iterator[Plane]:
    yield x
    yield y
    yield x * x + y * y
    yield x * y


def _filter(plane: Plane, down: Plane, across: Plane) -> Plane:
    return _convolve(_convolve(plane, down).T, across).T


def _convolve(plane: Plane, window: Plane) -> Plane:
    """Filter along the first axis, valid positions only; the window is symmetric, which halves the products."""
    half = len(window) // 2
    valid = len(plane) - 2 * half
    total = plane[half : half + valid] * window[half]
    for tap in range(half):
        mirrored = plane[tap : tap + valid] + plane[2 * half - tap : 2 * half - tap + valid]
        mirrored *= window[tap]
        total += mirrored
    return total
