"""Peak signal-to-noise ratio."""

import math

import numpy as np

from ops.images import Pixels

BAND_ROWS = 256


def psnr(reference: Pixels, reconstruction: Pixels) -> float:
    """Return 10 log10(255^2 / MSE) in dB, the error taken over all pixels and the three channels of RGB.

    Infinite for equal images. The sum of squares is exact, so the number depends on nothing but the pixels.
    """
    check_shapes(reference, reconstruction)
    squares = 0
    for top in range(0, len(reference), BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        difference = reference[band].astype(np.int32) - reconstruction[band]
        squares += int(np.sum(difference * difference, dtype=np.int64))
    if squares == 0:
        return math.inf
    return 10 * math.log10(255**2 * reference.size / squares)


def check_shapes(reference: Pixels, reconstruction: Pixels) -> None:
    """Raise ValueError unless both are images of one shape (height, width, 3), not empty."""
    if reference.shape != reconstruction.shape or reference.ndim != 3 or reference.size == 0:
        message = f"reference {reference.shape} and reconstruction {reconstruction.shape} must have one shape (h, w, 3)"
        raise ValueError(message)
