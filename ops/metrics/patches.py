"""Patches of images for metrics of whole sets: where they lie, and which of them are kept.

Which patches count is decided by names alone, before any pixel is seen, so that every worker, every codec and every
later run keeps the same ones.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops.images import Pixels

MOST = 50_000
# Ranks are 64 bits: a threshold is from 0, which keeps nothing, to this, which keeps everything.
EVERY_RANK = 1 << 64


class Position(NamedTuple):
    """A patch's place in an image, in pixels, and its name: `left,top`, or `whole`."""

    name: str
    left: int
    top: int
    width: int
    height: int


def positions(width: int, height: int, patch: int) -> list[Position]:
    """Return the places of all patches of an image, row by row, the plain grid before the shifted one.

    Squares of `patch` pixels lie side by side from the upper left corner, and what is left over at the right and below
    is dropped. Where both sides are at least one and a half patches, a second grid begins half a patch to the right
    and below (FID/256 of Mentzer et al. 2020, as NeuralCompression's update_patch_fid cuts it). 0 is the whole image.
    """
    if patch == 0:
        return [Position("whole", 0, 0, width, height)]
    return [
        Position(f"{left},{top}", left, top, patch, patch)
        for start in _starts(width, height, patch)
        for top in range(start, height - patch + 1, patch)
        for left in range(start, width - patch + 1, patch)
    ]


def num_patches(width: int, height: int, patch: int) -> int:
    """Return how many patches an image of this size has; none if it is smaller than one."""
    if patch == 0:
        return 1
    return sum(((width - start) // patch) * ((height - start) // patch) for start in _starts(width, height, patch))


def rank(key: str, name: str) -> int:
    """Return a patch's place in the lot: the first 8 bytes of the sha256 of its image's key and its position's name."""
    # No name holds a zero byte, so that no two pairs are hashed alike.
    return int.from_bytes(hashlib.sha256(f"{key}\0{name}".encode()).digest()[:8], "big")


def chosen(key: str, width: int, height: int, patch: int, threshold: int) -> list[Position]:
    """Return the places of those patches of an image whose rank is below the threshold, from 0 to 2^64."""
    return [position for position in positions(width, height, patch) if rank(key, position.name) < threshold]


def threshold_for(num: int, most: int = MOST) -> int:
    """Return the threshold for a set of `num` patches that admits a tenth more than `most`, in expectation.

    All of them where there are at most `most`. The surplus makes it near certain that `keep_lowest` finds `most`: by
    chance the number admitted spreads by its square root, 235 for 50,000.
    """
    if num <= most:
        return EVERY_RANK
    return min(EVERY_RANK, EVERY_RANK * most * 11 // (num * 10))


def keep_lowest(ranks: Sequence[int] | NDArray[np.uint64], most: int = MOST) -> NDArray[np.intp]:
    """Return the indices of the `most` lowest ranks, in ascending order of index; equal ranks by their order."""
    lowest = np.argsort(np.asarray(ranks, np.uint64), kind="stable")[:most]
    return np.sort(lowest)


def cut(image: Pixels, position: Position) -> Pixels:
    """Return a patch of an image, as a view."""
    rows = slice(position.top, position.top + position.height)
    return image[rows, position.left : position.left + position.width]


def _starts(width: int, height: int, patch: int) -> tuple[int, ...]:
    """Return where the grids begin, to the right and below alike."""
    return (0, patch // 2) if 2 * min(width, height) >= 3 * patch else (0,)
