"""Bicubic resampling by whole factors, exactly aligned, in bounded memory, with regions equal to crops.

Thumbnail pixel i stands for source pixels [i*scale, (i+1)*scale): where a side is no multiple of the scale, its last
pixel is repeated outwards on the way down, and what lies outside is cut off on the way up. So nothing shifts, whatever
the size. Bands and blocks below are part of the definition of the codecs: another division may move last bits.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ops.codecs.base import Box
from ops.images import Pixels

# In pixels of the full image. Pillow releases the GIL while it resizes, so blocks of several images run in parallel.
BAND = 512
BLOCK = 1024
SUPPORT = 2  # bicubic reaches two thumbnail pixels to each side


def shrunk_size(width: int, height: int, scale: int) -> tuple[int, int]:
    """Return width and height of the thumbnail: rounded up."""
    return -(-width // scale), -(-height // scale)


def shrink(pixels: Pixels, scale: int) -> Pixels:
    """Return antialiased pixels, (ceil(height / scale), ceil(width / scale), 3); the input itself where scale is 1."""
    if scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    columns, rows = shrunk_size(width, height, scale)
    small = np.empty((rows, columns, 3), np.uint8)
    step = max(16, BAND // scale)
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        small[top:bottom] = _shrink_rows(pixels, scale, top, bottom)
    return small


def grow(small: Pixels, scale: int, width: int, height: int) -> Pixels:
    """Return pixels of exactly (height, width, 3), interpolated; the input where scale is 1."""
    return grow_region(small, scale, Box(0, 0, width, height))


def grow_region(small: Pixels, scale: int, box: Box) -> Pixels:
    """Return the crop `box` of the grown image, bit for bit, at a cost that follows the box.

    Both ways go through the same blocks on a fixed grid, because the bits of a resize depend on where it starts.
    """
    if scale == 1:
        return small[box.top : box.bottom, box.left : box.right]
    image = Image.fromarray(small)
    region = np.empty((box.bottom - box.top, box.right - box.left, 3), np.uint8)
    for block in _blocks(image.size, scale, box):
        left, top, right, bottom = (side * scale for side in block)
        grown = np.asarray(image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=block))
        x0, x1 = max(left, box.left), min(right, box.right)
        y0, y1 = max(top, box.top), min(bottom, box.bottom)
        region[y0 - box.top : y1 - box.top, x0 - box.left : x1 - box.left] = grown[
            y0 - top : y1 - top, x0 - left : x1 - left
        ]
    return region


def check_box(box: Box, width: int, height: int) -> None:
    """Raise ValueError for a region that is empty or reaches beyond the image."""
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise ValueError(f"region {tuple(box)} is not inside {width}x{height}: give left, top, right, bottom in pixels")


def _shrink_rows(pixels: Pixels, scale: int, top: int, bottom: int) -> Pixels:
    """Return rows [top, bottom) of the thumbnail from the source rows that they depend on."""
    height, width = pixels.shape[:2]
    columns, rows = shrunk_size(width, height, scale)
    first = max(0, top - SUPPORT) * scale
    last = min(rows, bottom + SUPPORT) * scale
    band = np.ascontiguousarray(pixels[first:last])
    below, beside = last - first - len(band), columns * scale - width
    if below or beside:
        band = np.pad(band, ((0, below), (0, beside), (0, 0)), mode="edge")
    box = (0, top * scale - first, columns * scale, bottom * scale - first)
    return np.asarray(Image.fromarray(band).resize((columns, bottom - top), Image.Resampling.BICUBIC, box=box))


def _blocks(size: tuple[int, int], scale: int, box: Box) -> Iterator[tuple[int, int, int, int]]:
    """Yield those blocks of the fixed grid, in thumbnail pixels, that overlap the box."""
    side = max(16, BLOCK // scale)
    grid = side * scale
    for top in range(box.top // grid * side, -(-box.bottom // scale), side):
        for left in range(box.left // grid * side, -(-box.right // scale), side):
            yield left, top, min(left + side, size[0]), min(top + side, size[1])
