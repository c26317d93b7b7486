"""How strong edges are, for the maps that papers print beside reconstructions."""

import numpy as np
from numpy.typing import NDArray

from ops.images import Pixels
from ops.metrics.colour import LUMA_PARTS, luma

BAND_ROWS = 32
# The two masks sum to four on each side: a step from black to white, straight along an axis, then gives 255.
GAIN = 4 * LUMA_PARTS


def edges(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the magnitude of Sobel's gradient of Y (BT.601, full range) in levels, of shape (height, width).

    A quarter of the masks 1 2 1 by -1 0 1: a straight step of n levels gives n; what exceeds 255, as some corners do,
    is 255. Pixels at the border are repeated outwards. Rounded to the nearest level.
    """
    height, width = pixels.shape[:2]
    strength = np.empty((height, width), np.uint8)
    for top in range(0, height, BAND_ROWS):
        bottom = min(top + BAND_ROWS, height)
        above, below = min(top, 1), min(height - bottom, 1)
        band = np.pad(luma(pixels[top - above : bottom + below]), ((1 - above, 1 - below), (1, 1)), mode="edge")
        strength[top:bottom] = _magnitude(band)
    return strength


def _magnitude(y: NDArray[np.int32]) -> NDArray[np.uint8]:
    beside = y[:-2] + 2 * y[1:-1] + y[2:]
    above = y[:, :-2] + 2 * y[:, 1:-1] + y[:, 2:]
    gradient = np.hypot(beside[:, 2:] - beside[:, :-2], above[2:] - above[:-2])
    return np.minimum(np.rint(gradient / GAIN), 255).astype(np.uint8)
