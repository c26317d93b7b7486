"""The Y of ITU-R BT.601: of which range, whether rounded, and how metrics on it are called.

Y is kept as whole thousandths of a level, which is exact: its weights 0.299, 0.587 and 0.114 have three digits.
"""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ops.images import Pixels

Colour: TypeAlias = Literal["rgb", "y"]
"""All three channels, or luma alone."""

Range: TypeAlias = Literal["full", "limited"]
"""Y from 0 to 255, or from 16 to 235 as video, MATLAB's rgb2ycbcr and pyiqa's `ycbcr` have it."""

Plane: TypeAlias = NDArray[np.float64]
"""One channel in levels, of shape (height, width)."""

LUMA_PARTS = 1000  # a level of `luma` is so many parts
LIMITED_SPAN = 219  # 235 - 16
WHITE = 255 * LUMA_PARTS


def luma(pixels: Pixels) -> NDArray[np.int32]:
    """Return 299 R + 587 G + 114 B, from 0 to 255,000, of shape (height, width)."""
    red, green, blue = (pixels[:, :, c].astype(np.int32) for c in range(3))
    red *= 299
    green *= 587
    blue *= 114
    red += green
    red += blue
    return red


def y_plane(pixels: Pixels, span: Range, rounded: bool) -> Plane:
    """Return Y in levels; limited Y is 16 + 219/255 of full Y, which is exactly MATLAB's 65.481, 128.553 and 24.966.

    It is within half a last bit of the true value, or rounded to whole levels, halves to the even one.
    """
    parts = luma(pixels)
    # The numerator of limited Y is at most 60 million: fits 32 bits.
    levels = parts / LUMA_PARTS if span == "full" else (parts * LIMITED_SPAN + 16 * WHITE) / WHITE
    return np.rint(levels) if rounded else levels


def check_colour(colour: Colour, span: Range) -> None:
    """Raise ValueError where a range other than full is asked of RGB, which has no other."""
    if colour == "rgb" and span != "full":
        raise ValueError(f"range {span!r} is one of Y, and the colour is rgb: write colour 'y', or range 'full'")


def suffix(colour: Colour, span: Range) -> str:
    """Return how columns end: `rgb`, `y` or `y_limited`."""
    return colour if span == "full" else f"{colour}_{span}"


def label(colour: Colour, span: Range) -> str:
    """Return how headings end: `RGB`, `Y` or `Y, limited`."""
    return colour.upper() if span == "full" else f"{colour.upper()}, {span}"
