"""A picture in a terminal: two pixels in each cell, as the upper half and the ground under it."""

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from ops.images import Pixels

_UPPER_HALF = "\u2580"


def fitted(pixels: Pixels, columns: int, lines: int) -> Pixels:
    """Return the picture shrunk, if need be, into so many cells; an even number of rows."""
    height, width = pixels.shape[:2]
    scale = min(columns / width, 2 * lines / height, 1.0)
    size = (max(1, round(width * scale)), max(2, round(height * scale / 2) * 2))
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def draw(pixels: Pixels, columns: int, lines: int) -> Text:
    """Return the picture as text of coloured half blocks, at most so many cells."""
    small = fitted(pixels, columns, lines)
    drawn = Text(no_wrap=True, overflow="crop")
    for upper, lower in zip(small[0::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            drawn.append(_UPPER_HALF, Style(color=_colour(above), bgcolor=_colour(below)))
        drawn.append("\n")
    return drawn


def _colour(pixel: np.ndarray) -> Color:
    red, green, blue = (int(value) for value in pixel)
    return Color.from_rgb(red, green, blue)
