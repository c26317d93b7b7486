"""Images resampled and signs flipped by chance, the same in every run, and sums of scores that do not round.

Resamples and flips come from PCG64 with a fixed seed, and are the same for all columns of one length. Their sums are
taken as products of matrices, of scores rounded to a grid so fine that no sum of them rounds: so they depend neither on
the order of addition nor on the library that multiplies.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
"""A number per image in the order of keys; NaN where there is none, infinity where a PSNR is infinite."""

SEED = 20_260_701


def on_grid(columns: Sequence[Numbers]) -> tuple[Numbers, Numbers]:
    """Return columns side by side as whole numbers, and what each is to be multiplied by.

    Weights that are whole and sum to a column's length at most cannot lift a sum of them above 2^52: it is exact.
    """
    stacked = np.stack(columns, axis=1)
    largest = np.abs(stacked).max(axis=0) * len(stacked)
    exponents = np.frexp(np.where(largest > 0, largest, 1.0))[1]
    grids = np.ldexp(1.0, exponents - 52)
    return np.rint(stacked / grids), grids


def seeded() -> np.random.Generator:
    """Return a generator that draws the same each time."""
    return np.random.Generator(np.random.PCG64(SEED))


def counts_drawn(rng: np.random.Generator, rows: int, num: int) -> Numbers:
    """Return how often each of `num` images was drawn, for so many resamples."""
    drawn = rng.integers(0, num, (rows, num)) + np.arange(rows)[:, None] * num
    return np.bincount(drawn.ravel(), minlength=rows * num).reshape(rows, num).astype(np.float64)


def signs_drawn(rng: np.random.Generator, rows: int, num: int) -> Numbers:
    """Return random signs, 1 or -1, of `num` images, for so many flips."""
    return rng.integers(0, 2, (rows, num), dtype=np.int8).astype(np.float64) * 2 - 1


def all_signs(num: int) -> Numbers:
    """Return every combination of signs of `num` images: 1 or -1, (2^num, num)."""
    bits = np.arange(2**num)[:, None] >> np.arange(num)
    return (bits & 1).astype(np.float64) * 2 - 1
