"""How much of a regular grid a reconstruction has that its reference has not: a guard against gaming a loss.

A network can lay a fine grid over its pictures, locked to its own sub-pixels, which a perceptual loss rewards and an
eye rejects. All energy of such a grid is on a lattice of frequencies, the multiples of 1/period along both axes, where
a photograph has no more than beside them: `grid_energy` tells it, however faint. What is strong enough to be seen,
locked or not, is told by `grid_levels`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ops.images import Pixels
from ops.metrics.colour import LUMA_PARTS, luma
from ops.metrics.psnr import check_shapes
from ops.training.peaks import SIDE, standing_out

PERIODS = (2, 4, 8, 16)
# A variance of one level, added to what stands around a frequency, and a step of a twelfth. Without them a smooth
# picture that was enlarged by a bicubic filter would stand out, by what its filter leaves and no eye sees.
FAINT = 1.0
FAINT_STEP = 1 / 12

Plane = NDArray[np.float64]
Squares = NDArray[np.complex128]
"""Spectra (squares, 64, 64) of a picture; white noise has its variance as power everywhere."""


def grid_energy(reference: Pixels, reconstruction: Pixels, periods: Sequence[int] = PERIODS) -> dict[int, float]:
    """Return, for each period, how far a reconstruction's energy on the lattice stands out, relative to the reference.

    Three measures of luma, each about 1 without a grid: `locked`, `loose` and `stepped`, which see below. The value
    is the largest of three ratios, the reconstruction's measure over the reference's, or over 1 where that is less.
    What half a period has too counts as that one's. From 64 pixels a side; periods are 2, 4, 8 and 16. Raises
    ValueError for others, for smaller pictures and for two shapes.

    A photograph against itself has at most 1. Made small by a bicubic filter and enlarged again, or with noise,
    photographs have 0.9 to 1.8, a very smooth one more (up to 12: the filter's own grid); at period 2, whose lattice
    has three frequencies only, chance makes it up to 5. What is locked grows with the area of a picture: judge 512
    pixels a side or more, and the median over several photographs, which has 1.0 to 1.3 without a grid.
    """
    check_shapes(reference, reconstruction)
    if min(reference.shape[:2]) < SIDE:
        raise ValueError(f"{reference.shape[1]}x{reference.shape[0]} pixels are too few for a grid: use {SIDE} a side")
    if wrong := [period for period in periods if period not in PERIODS]:
        raise ValueError(f"no grid of period {wrong[0]} can be told: use {', '.join(map(str, PERIODS))}")
    of_reference, of_reconstruction = _measures(reference, periods), _measures(reconstruction, periods)
    return {
        period: float((found / np.maximum(1, usual)).max())
        for period, usual, found in zip(periods, of_reference, of_reconstruction, strict=True)
    }


def grid_levels(reference: Pixels, reconstruction: Pixels) -> float:
    """Return how strong the regular texture is that a reconstruction has and its reference has not, in levels of 255.

    The root mean square of what stands out of the spectrum of luma, as `ops.training.peaks` tells it, in that quarter
    of the squares, ordered by how busy the reference is there, which has most. Below one level nothing is seen; in busy
    places an eye forgives more. Upright and level stripes are left out, as pictures have them.
    From 64 pixels a side. Raises ValueError.
    """
    check_shapes(reference, reconstruction)
    if min(reference.shape[:2]) < SIDE:
        raise ValueError(f"{reference.shape[1]}x{reference.shape[0]} pixels are too few for a grid: use {SIDE} a side")
    usual, found = (np.square(abs(_spectra(luma(pixels) / LUMA_PARTS))) for pixels in (reference, reconstruction))
    order = np.argsort(usual.mean((1, 2)), kind="stable")
    strongest = 0.0
    for quarter in np.array_split(order, min(4, len(order))):
        of_usual, of_found = (standing_out(torch.from_numpy(one[quarter].mean(0)[None])) for one in (usual, found))
        strongest = max(strongest, float((of_found - of_usual).clamp(min=0).sum()))
    return strongest**0.5 / SIDE


def _measures(pixels: Pixels, periods: Sequence[int]) -> list[NDArray[np.float64]]:
    levels = luma(pixels) / LUMA_PARTS
    squares = _spectra(levels)
    return [np.array([*_on_lattice(squares, period), _stepped(levels, period)]) for period in periods]


def _on_lattice(squares: Squares, period: int) -> tuple[float, float]:
    """Return what is locked and what is loose, each meaned over the frequencies of the lattice.

    Locked: the power of the sum over the squares, which is 1 where phases are chance. A pattern that is the same all
    over the picture has one phase. Loose: the power itself, meaned over the squares, whatever its phase. Both relative
    to the power of each square around the frequency, so that a busy square does not drown what is seen in calm ones.
    """
    step = SIDE // period
    lattice = [(u, v) for u in range(0, SIDE, step) for v in range(0, SIDE, step) if (u | v) % (2 * step)]
    locked, loose = zip(*(_at(squares, u, v) for u, v in lattice), strict=True)
    return float(np.mean(locked)), float(np.mean(loose))


def _at(squares: Squares, u: int, v: int) -> tuple[float, float]:
    """Return both at one frequency, whose surroundings are the ring two frequencies away.

    A Hann window spreads a pattern by one frequency and no further. On an axis only the axis counts: all upright and
    level lines of a picture have their energy there.
    """
    rows, columns = (np.arange(-2, 3) if at else np.zeros(1, int) for at in (u, v))
    spectra = squares[:, ((rows + u) % SIDE)[:, None], ((columns + v) % SIDE)[None]]
    power, distance = np.square(abs(spectra)), np.maximum.outer(abs(rows), abs(columns))
    around = power[:, distance == 2].mean(1) + FAINT
    total = (squares[:, u, v] / np.sqrt(around)).sum()
    return abs(total) ** 2 / len(squares), float(((power[:, distance < 2].mean(1) + FAINT) / around).mean())


def _stepped(levels: Plane, period: int) -> float:
    """Return how steep luma is at the steepest place within a period, relative to the median place.

    It tells enlarged squares, of which the lattice itself has nothing: all places within them have the same mean.
    """
    return max(_steepest(abs(np.diff(levels, axis=0)), period), _steepest(abs(np.diff(levels, axis=1)).T, period))


def _steepest(steepness: Plane, period: int) -> float:
    places = np.array([steepness[place::period].mean() for place in range(period)]) + FAINT_STEP
    return float(places.max() / np.median(places))


def _spectra(levels: Plane) -> Squares:
    """Return the spectra of squares under a Hann window; what is short of a square at the edges is left out."""
    wave = np.hanning(SIDE + 1)[:SIDE]
    window = np.outer(wave, wave) / np.square(wave).sum()
    views = np.lib.stride_tricks.sliding_window_view(levels, (SIDE, SIDE))[:: SIDE // 2, :: SIDE // 2]
    squares = views.reshape(-1, SIDE, SIDE)
    return np.fft.fft2((squares - squares.mean((1, 2), keepdims=True)) * window)
