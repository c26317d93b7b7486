"""Peak signal-to-noise ratio, of RGB or of Y, from exact sums."""

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ops.codecs.base import Runtime
from ops.images import Pixels
from ops.metrics.base import MetricConfig, PairMetric
from ops.metrics.colour import LIMITED_SPAN, WHITE, Colour, Range, check_colour, label, luma, suffix

BLOCK_ROWS = 64
BLOCK_COLUMNS = 2048


class PsnrConfig(MetricConfig, tag="psnr", frozen=True, kw_only=True):
    """10 log10 of 255^2 over the mean squared error; nothing is rounded before the difference.

    `range` limited takes Y from 16 to 235 but still judges against 255, as papers on super-resolution and pyiqa's
    `ycbcr` do: 20 log10(255/219) = 1.322 dB above full range, always. `epsilon` is added to the mean squared error of
    pixels from 0 to 1; with pyiqa's 1e-8, identical images give 80 dB, with 0 infinity.
    """

    unit: ClassVar[str] = "dB"
    digits: ClassVar[int] = 2

    colour: Colour = "rgb"
    range: Range = "full"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        check_colour(self.colour, self.range)
        if not 0 <= self.epsilon < math.inf:
            raise ValueError(f"epsilon {self.epsilon} is added to a mean squared error: write 0 or a small number")

    @property
    def column(self) -> str:
        """Return `psnr_rgb`, `psnr_y` or `psnr_y_limited`."""
        return f"{self.name}_{suffix(self.colour, self.range)}"

    @property
    def heading(self) -> str:
        """Return such as `PSNR (Y, limited)`."""
        return f"PSNR ({label(self.colour, self.range)})"

    def load(self, runtime: Runtime) -> PairMetric:  # noqa: ARG002  # numpy on one core, whatever the device
        """Build the metric."""
        return _Psnr(self)


class _Psnr:
    def __init__(self, config: PsnrConfig) -> None:
        self._config = config

    def score(self, reference: Pixels, reconstruction: Pixels) -> float:
        check_shapes(reference, reconstruction)
        if self._config.colour == "rgb":
            squares, whole = _squares(reference, reconstruction), 255**2 * reference.size
        else:
            squares = _luma_squares(reference, reconstruction)
            whole = WHITE**2 * (reference.size // 3)
        if self._config.range == "limited":
            squares, whole = squares * LIMITED_SPAN**2, whole * 255**2
        return _decibels(squares, whole, self._config.epsilon)


def psnr(reference: Pixels, reconstruction: Pixels) -> float:
    """Return 10 log10(255^2 / MSE) in dB, the error taken over all pixels and the three channels of RGB.

    Infinite for equal images. The sum of squares is exact, so the number depends on nothing but the pixels.
    """
    check_shapes(reference, reconstruction)
    return _decibels(_squares(reference, reconstruction), 255**2 * reference.size, 0.0)


def check_shapes(reference: Pixels, reconstruction: Pixels) -> None:
    """Raise ValueError unless both are images of one shape (height, width, 3), not empty."""
    if reference.shape != reconstruction.shape or reference.shape[2:] != (3,) or reference.size == 0:
        message = f"reference {reference.shape} and reconstruction {reconstruction.shape} must have one shape (h, w, 3)"
        raise ValueError(message)


def blocks(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of blocks that cover an image once, small enough for a CPU's second cache."""
    for top in range(0, height, BLOCK_ROWS):
        for left in range(0, width, BLOCK_COLUMNS):
            yield slice(top, min(top + BLOCK_ROWS, height)), slice(left, min(left + BLOCK_COLUMNS, width))


def _squares(reference: Pixels, reconstruction: Pixels) -> int:
    squares = 0
    for block in blocks(*reference.shape[:2]):
        difference = reference[block].astype(np.int32) - reconstruction[block]
        squares += int(np.sum(difference * difference, dtype=np.int64))
    return squares


def _luma_squares(reference: Pixels, reconstruction: Pixels) -> int:
    """Return the sum in square thousandths of a level. A block's is below 131,072 x 255,000^2, which fits 64 bits."""
    squares = 0
    for block in blocks(*reference.shape[:2]):
        difference = (luma(reference[block]) - luma(reconstruction[block])).astype(np.int64)
        squares += int(np.sum(difference * difference))
    return squares


def _decibels(squares: int, whole: int, epsilon: float) -> float:
    """Return the ratio of two exact sums in dB: squared differences, and what they would be at full amplitude."""
    if epsilon:
        return 10 * math.log10(1 / (squares / whole + epsilon))
    return 10 * math.log10(whole / squares) if squares else math.inf
