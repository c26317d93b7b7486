"""Tiles over a plane: where they lie, how they fade into one another, how their results are put together."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Of the authors' Gaussian, relative to the tile's side.
VARIANCE = 0.01

Weigh = Callable[[int, int], tuple[Tensor, Tensor]]


class Tile(NamedTuple):
    """A rectangle of a plane; `row` and `column` count tiles."""

    top: int
    left: int
    height: int
    width: int
    row: int
    column: int

    def of(self, plane: Tensor, factor: int = 1) -> Tensor:
        """Return this tile of (1, c, h * factor, w * factor)."""
        top, left, height, width = (side * factor for side in self[:4])
        return plane[:, :, top : top + height, left : left + width]


class Region(NamedTuple):
    """A rectangle; bottom and right are not inside."""

    top: int
    left: int
    bottom: int
    right: int


class Grid(NamedTuple):
    """Tiles of one size over a plane of height x width: the first at 0, a stride apart, the last at the border."""

    height: int
    width: int
    tile_height: int
    tile_width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def tiles(self, region: Region | None = None) -> Iterator[Tile]:
        """Yield all tiles, or those that overlap a region, row by row."""
        for row, top in enumerate(self.tops):
            for column, left in enumerate(self.lefts):
                tile = Tile(top, left, self.tile_height, self.tile_width, row, column)
                if region is None or _overlap(tile, region):
                    yield tile


def grid(height: int, width: int, tile: int, overlap: int) -> Grid:
    """Return rectangular tiles, each side of which is at most `tile`; neighbours overlap by at least `overlap`."""
    tile_height, tile_width = min(tile, height), min(tile, width)
    return Grid(
        height,
        width,
        tile_height,
        tile_width,
        offsets(height, tile_height, overlap),
        offsets(width, tile_width, overlap),
    )


def official_grid(height: int, width: int, tile: int, overlap: int) -> Grid:
    """Return the tiles of TADM's authors: squares of min(tile, height, width), or one for all where it is no larger.

    Where the square is no wider than the overlap, over which their program never ends, half of it overlaps.
    """
    if height * width <= tile * tile:
        return Grid(height, width, height, width, (0,), (0,))
    side = min(tile, height, width)
    overlap = min(overlap, side // 2)
    return Grid(height, width, side, side, offsets(height, side, overlap), offsets(width, side, overlap))


def offsets(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Return where tiles begin along a side."""
    if length <= tile:
        return (0,)
    stride = tile - overlap
    return (*range(0, length - tile, stride), length - tile)


def fading(overlap: int) -> Weigh:
    """Return weights that rise over the overlap as sin^2 and are 1 between: two neighbours' add up to 1."""

    def weigh(height: int, width: int) -> tuple[Tensor, Tensor]:
        return _flanks(height, overlap), _flanks(width, overlap)

    return weigh


def official_weights(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the authors' Gaussian weights, (height,) and (width,), float64: centred along x, half off along y."""
    return _gaussian(height, height / 2), _gaussian(width, (width - 1) / 2)


class Merged:
    """A plane, or a region of one, put together of overlapping tiles: sum(w x) / sum(w) in float32.

    What a pixel gets depends on the tiles over it and their order alone, so a region equals the crop of the whole.
    """

    def __init__(self, channels: int, region: Region, weigh: Weigh, device: torch.device | str = "cpu") -> None:
        self._region, self._weigh = region, weigh
        height, width = region.bottom - region.top, region.right - region.left
        self._sum = torch.zeros((1, channels, height, width), device=device)
        self._weights = torch.zeros((height, width), device=device)

    def add(self, tile: Tile, made: Tensor) -> None:
        """Add what was made of a tile, (1, channels, height, width)."""
        region = self._region
        top, bottom = max(tile.top, region.top), min(tile.top + tile.height, region.bottom)
        left, right = max(tile.left, region.left), min(tile.left + tile.width, region.right)
        if top >= bottom or left >= right:
            return
        down, across = self._weigh(tile.height, tile.width)
        weights = (down[:, None] * across[None, :]).to(torch.float32)
        inside = slice(top - tile.top, bottom - tile.top), slice(left - tile.left, right - tile.left)
        here = slice(top - region.top, bottom - region.top), slice(left - region.left, right - region.left)
        weights = weights[inside].to(self._sum.device)
        self._sum[:, :, here[0], here[1]] += made[:, :, inside[0], inside[1]].to(self._sum) * weights
        self._weights[here] += weights

    def result(self) -> Tensor:
        """Return (1, channels, height, width) of the region. Ends the merging: the sums are used up."""
        return self._sum.div_(self._weights)


def _overlap(tile: Tile, region: Region) -> bool:
    return (
        tile.top < region.bottom
        and tile.top + tile.height > region.top
        and tile.left < region.right
        and tile.left + tile.width > region.left
    )


def _flanks(side: int, overlap: int) -> Tensor:
    if overlap < 1:
        return torch.ones(side, dtype=torch.float64)
    at = torch.arange(side, dtype=torch.float64) + 0.5
    nearest = torch.minimum(at, side - at).clamp(max=overlap)
    return torch.sin(nearest * (math.pi / 2 / overlap)) ** 2


def _gaussian(side: int, middle: float) -> Tensor:
    at = torch.arange(side, dtype=torch.float64) - middle
    return torch.exp(-(at**2) / (side * side * 2 * VARIANCE)) / math.sqrt(2 * math.pi * VARIANCE)
