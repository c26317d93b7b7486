"""A coarse map of where a reconstruction is wrong: 32x32 numbers, 2 KiB, kept for every image."""

import math

import numpy as np
from numpy.typing import NDArray

from ops.images import Pixels
from ops.metrics.psnr import check_shapes

CELLS = 32
BAND_ROWS = 64


def error_map(reference: Pixels, reconstruction: Pixels, cells: int = CELLS) -> bytes:
    """Return the root mean squared error over RGB, in levels, of each cell, row by row, as little-endian float16.

    Cell i of n along a side of s pixels holds pixels [i s // n, (i + 1) s // n), and where that is none, because the
    side is shorter than n, pixel i s // n alone: neighbouring cells then repeat one pixel. Sums are exact; a number is
    rounded once to float16, by at most one part in 2,048.
    """
    check_shapes(reference, reconstruction)
    height, width = reference.shape[:2]
    tops, lefts = _starts(height, cells), _starts(width, cells)
    bottoms, rights = _ends(tops, height), _ends(lefts, width)
    errors = np.empty((cells, cells))
    for at, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        columns = _column_squares(reference[top:bottom], reconstruction[top:bottom])
        # Where starts repeat, reduceat takes the one column there, which is what repeated cells hold.
        squares = np.add.reduceat(columns, lefts)
        errors[at] = np.sqrt(squares / (3 * (bottom - top) * (rights - lefts)))
    return errors.astype("<f2").tobytes()


def read_error_map(kept: bytes) -> NDArray[np.float32]:
    """Return the map as (cells, cells). Raises ValueError unless the bytes are a square of float16."""
    cells = math.isqrt(len(kept) // 2)
    if len(kept) != 2 * cells * cells or not kept:
        raise ValueError(f"{len(kept)} bytes are no error map, which has 2 for each cell of a square: {2 * CELLS**2}")
    return np.frombuffer(kept, "<f2").reshape(cells, cells).astype(np.float32)


def _starts(side: int, cells: int) -> NDArray[np.intp]:
    return np.arange(cells) * side // cells


def _ends(starts: NDArray[np.intp], side: int) -> NDArray[np.intp]:
    return np.maximum(np.append(starts[1:], side), starts + 1)


def _column_squares(reference: Pixels, reconstruction: Pixels) -> NDArray[np.int64]:
    """Return the sum of squared differences of each column over its rows and channels."""
    sums = np.zeros(reference.shape[1], np.int64)
    for top in range(0, len(reference), BAND_ROWS):
        difference = reference[top : top + BAND_ROWS].astype(np.int32) - reconstruction[top : top + BAND_ROWS]
        difference *= difference
        sums += difference.sum(axis=0, dtype=np.int64).sum(axis=1)
    return sums
