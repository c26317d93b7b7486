"""The highest quality whose file fits a number of bytes, in as few encodes as can be."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MOST_ENCODES = 10  # about three are usual, where plain halving always takes seven
# Sizes that fall again do so soon. A search missed a higher quality that fits in 1 of 2,462 with AVIF, 32 of 3,273 with
# WebP, none of 3,317 with JPEG, four above at most; in 155 of 1,638 with JPEG XL, eleven above at most, 18 beyond six.
WINDOW = 6

# A picture twice as large needs about so much of the bits per pixel: its pixels are smoother.
_OCTAVE = 0.75
_QUALITIES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


class Usual(NamedTuple):
    """How many bytes a format takes of a usual picture. Decides how long a search takes, and not what it may find.

    `bits` are those per pixel at the qualities above, the geometric mean over photos/samples at a quarter of their
    size; `frame` is the number of bytes beside them. Behind a file that is `near` times as large as may be no higher
    quality fits: no file between was 1.024 times, and of JPEG XL, whose sizes fall at quality 19, 1.37 times.
    """

    frame: int
    bits: tuple[float, ...]
    near: float = 1.05

    def busyness(self, quality: int, num_bytes: int, num_pixels: int) -> float:
        """Return how many times the usual bits a picture took."""
        usual = math.exp(float(np.interp(quality, _QUALITIES, np.log(self.bits))))
        return max(8 * (num_bytes - self.frame), 1) / num_pixels / usual

    def quality(self, limit: int, num_pixels: int, busyness: float) -> int:
        """Return the highest quality that should fit `limit` bytes."""
        bits = max(8 * (limit - self.frame), 1) / num_pixels / busyness
        return math.floor(np.interp(math.log(bits), np.log(self.bits), _QUALITIES))


USUAL = {
    "jpeg": Usual(330, (0.131, 0.417, 0.709, 0.935, 1.117, 1.283, 1.458, 1.726, 2.158, 3.162, 4.449, 7.327)),
    "webp": Usual(40, (0.302, 0.534, 0.719, 0.909, 1.092, 1.275, 1.448, 1.634, 2.101, 3.202, 4.071, 5.155)),
    "avif": Usual(290, (0.110, 0.168, 0.267, 0.398, 0.608, 0.934, 1.391, 1.979, 2.653, 3.678, 4.810, 6.497)),
    "jxl": Usual(30, (0.250, 0.400, 0.467, 0.620, 0.691, 0.796, 0.976, 1.278, 1.779, 2.873, 4.238, 7.403), near=1.4),
}


def at_scale(busyness: float, measured: int, scale: int) -> float:
    """Return the busyness to expect after a downscale by `scale` of a picture that was measured at another."""
    return busyness * _OCTAVE ** math.log2(measured / scale)


def highest_fitting(
    size_of: Callable[[int], int], limit: int, *, top: int, usual: Usual, num_pixels: int, busyness: float
) -> int:
    """Return a quality q whose file takes at most `limit` bytes while that of q + 1 takes more, or q is `top`.

    Returns 0 where the file of quality 1 takes more. Sizes do not strictly rise with quality, so there may be several
    such q: one of them is found, the same for the same arguments. Asks for at most ten sizes.
    """
    fits, exceeds = 0, top + 1
    sizes: dict[int, int] = {}
    for left in reversed(range(MOST_ENCODES)):
        if exceeds - fits == 1:
            break
        guess = usual.quality(limit, num_pixels, busyness)
        if fits in sizes and exceeds in sizes:
            guess = _between(fits, exceeds, sizes, limit)
        # However this try ends, halving what then remains must do for the tries that are left.
        reach = 1 << left
        quality = min(max(guess, fits + 1, exceeds - reach), exceeds - 1, fits + reach)
        sizes[quality] = size_of(quality)
        busyness = usual.busyness(quality, sizes[quality], num_pixels)
        fits, exceeds = (quality, exceeds) if sizes[quality] <= limit else (fits, quality)
    return fits


def highest_above(found: int, size_of: Callable[[int], int], limit: int, *, top: int, usual: Usual) -> int:
    """Return the highest quality that fits among `found`, which does, and the six above it; 0 for 0.

    It looks no further than a file that is `usual.near` times as large as may be, as the second mostly is.
    """
    highest = found
    for quality in range(found + 1, min(found + WINDOW, top) + 1) if found else ():
        size = size_of(quality)
        if size <= limit:
            highest = quality
        elif size > limit * usual.near:
            break
    return highest


def _between(fits: int, exceeds: int, sizes: dict[int, int], limit: int) -> int:
    """Return where the limit lies if the logarithm of sizes rises evenly between two qualities."""
    share = math.log(limit / sizes[fits]) / math.log(sizes[exceeds] / sizes[fits])
    return fits + math.floor(share * (exceeds - fits))
