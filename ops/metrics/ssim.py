"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, IEEE TIP 13(4), equation 13)."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ops.images import Pixels
from ops.metrics.psnr import check_shapes

TAPS = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
# A band of 16 rows, 2,000 pixels wide, keeps its planes of doubles within a CPU's second cache.
BAND_ROWS = 16

Rows = NDArray[np.float64]


def ssim(reference: Pixels, reconstruction: Pixels) -> float:
    """Return the mean SSIM, at most 1, over the valid windows of each channel of RGB, then over the channels.

    Windows are Gaussian, 11x11, sigma 1.5, K1 0.01, K2 0.03, population statistics, no downscaling beforehand. Where a
    side is below 11 pixels, the window is cut along it to the largest odd length that fits, and sums to one again.
    """
    check_shapes(reference, reconstruction)
    return math.fsum(_channel(reference[:, :, c], reconstruction[:, :, c]) for c in range(3)) / 3


def _channel(x: Pixels, y: Pixels) -> float:
    down, across = (_window(side) for side in x.shape)
    valid = x.shape[0] - len(down) + 1
    sums: list[float] = []
    for top in range(0, valid, BAND_ROWS):
        rows = slice(top, min(top + BAND_ROWS, valid) + len(down) - 1)
        sums.append(float(_similarity(x[rows].astype(np.float64), y[rows].astype(np.float64), down, across).sum()))
    return math.fsum(sums) / (valid * (x.shape[1] - len(across) + 1))


def _similarity(x: Rows, y: Rows, down: Rows, across: Rows) -> Rows:
    """Return the SSIM of every window. The two variances are needed only as their sum: four filters, not five."""
    mean_x, mean_y, squares, product = (_filter(plane, down, across) for plane in _planes(x, y))
    means = mean_x * mean_y
    mean_squares = mean_x * mean_x + mean_y * mean_y
    numerator = (2 * means + C1) * (2 * (product - means) + C2)
    denominator = (mean_squares + C1) * (squares - mean_squares + C2)
    return numerator / denominator


def _planes(x: Rows, y: Rows) -> Iterator[Rows]:
    yield x
    yield y
    yield x * x + y * y
    yield x * y


def _filter(plane: Rows, down: Rows, across: Rows) -> Rows:
    return _convolve(_convolve(plane, down).T, across).T


def _convolve(plane: Rows, window: Rows) -> Rows:
    """Filter along the first axis, valid positions only; the window is symmetric, which halves the products."""
    half = len(window) // 2
    valid = len(plane) - 2 * half
    total = plane[half : half + valid] * window[half]
    for tap in range(half):
        mirrored = plane[tap : tap + valid] + plane[2 * half - tap : 2 * half - tap + valid]
        mirrored *= window[tap]
        total += mirrored
    return total


def _window(side: int) -> Rows:
    """Return the Gaussian of 11 taps, or of the largest odd number of taps within `side`; it sums to one."""
    taps = min(TAPS, side - 1 + side % 2)
    offsets = np.arange(taps) - taps // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return weights / weights.sum()
