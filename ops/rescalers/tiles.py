"""Tiles over a plane: where they lie, how they fade into one another, how their results are put together."""

import math
from collections.abc import Callable, Iterator, Sequence
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

    def times(self, factor: int) -> "Grid":
        """Return the same tiles over a plane so many times as large."""
        height, width, tile_height, tile_width = (side * factor for side in self[:4])
        tops, lefts = tuple(top * factor for top in self.tops), tuple(left * factor for left in self.lefts)
        return Grid(height, width, tile_height, tile_width, tops, lefts)

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


def even_grid(height: int, width: int, tile: int, overlap: int, block: int) -> Grid:
    """Return as few rectangular tiles of at most `tile` as there can be, made as small as that allows.

    Sides and places are multiples of `block`, as height, width, tile and overlap must be; neighbours overlap by at
    least `overlap`. A last tile that is pushed back to the border would do half of its neighbour's work once more.
    """
    (tile_height, tops), (tile_width, lefts) = (_even(side, tile, overlap, block) for side in (height, width))
    return Grid(height, width, tile_height, tile_width, tops, lefts)


def official_grid(height: int, width: int, tile: int, overlap: int) -> Grid:
    """Return the tiles of TADM's authors: squares of min(tile, height, width), or one for all where it is no larger.

    Where the square is no wider than the overlap, over which their program never ends, half of it overlaps.
    """
    if height * width <= tile * tile:
        return Grid(height, width, height, width, (0,), (0,))
    side = min(tile, height, width)
    overlap = overlap if overlap < side else side // 2
    return Grid(height, width, side, side, offsets(height, side, overlap), offsets(width, side, overlap))


def offsets(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Return where tiles begin along a side."""
    if length <= tile:
        return (0,)
    stride = tile - overlap
    return (*range(0, length - tile, stride), length - tile)


def _even(length: int, tile: int, overlap: int, block: int) -> tuple[int, tuple[int, ...]]:
    """Return the side of tiles along a length, and where they begin."""
    number = max(1, -(-(length - overlap) // (tile - overlap)))
    if number == 1:
        return length, (0,)
    side = -(-(length + (number - 1) * overlap) // (number * block)) * block
    left = length - side
    return side, (*(at * left // (number - 1) // block * block for at in range(number - 1)), left)


def fading(overlap: int) -> Weigh:
    """Return weights that rise over the overlap as sin^2 and are 1 between: two neighbours' add up to 1."""

    def weigh(height: int, width: int) -> tuple[Tensor, Tensor]:
        return _flanks(height, overlap), _flanks(width, overlap)

    return weigh


def official_weights(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the authors' Gaussian weights, (height,) and (width,), float64: centred along x, half off along y."""
    return _gaussian(height, height / 2), _gaussian(width, (width - 1) / 2)


class Merged:
    """A plane, or a region of one, put together of the tiles of a grid, each by its share: sum(w x) / sum(w).

    The weights of a tile are products of those along its sides, and so are the shares. They follow from the grid alone,
    so a region equals the crop of the whole; where one tile covers all, it is taken as it is.
    """

    def __init__(
        self, channels: int, region: Region, laid: Grid, weigh: Weigh, device: torch.device | str = "cpu"
    ) -> None:
        self._region = region
        down, across = weigh(laid.tile_height, laid.tile_width)
        self._down = [share.to(device) for share in _shares(down, laid.tops, laid.height)]
        self._across = [share.to(device) for share in _shares(across, laid.lefts, laid.width)]
        size = (1, channels, region.bottom - region.top, region.right - region.left)
        self._sum = torch.zeros(size, device=device)

    def add(self, tile: Tile, made: Tensor) -> None:
        """Add what was made of a tile, (1, channels, height, width)."""
        region = self._region
        top, bottom = max(tile.top, region.top), min(tile.top + tile.height, region.bottom)
        left, right = max(tile.left, region.left), min(tile.left + tile.width, region.right)
        if top >= bottom or left >= right:
            return
        rows, columns = slice(top - tile.top, bottom - tile.top), slice(left - tile.left, right - tile.left)
        here = self._sum[:, :, top - region.top : bottom - region.top, left - region.left : right - region.left]
        shares = self._down[tile.row][rows, None] * self._across[tile.column][columns]
        here += made[:, :, rows, columns].to(self._sum) * shares.to(torch.float32)

    def result(self) -> Tensor:
        """Return (1, channels, height, width) of the region."""
        return self._sum


def _shares(weights: Tensor, starts: Sequence[int], length: int) -> list[Tensor]:
    """Return which share each tile along a side has of each place that it covers, float64."""
    total = torch.zeros(length, dtype=torch.float64)
    ends = [start + len(weights) for start in starts]
    for start, end in zip(starts, ends, strict=True):
        total[start:end] += weights
    return [weights / total[start:end] for start, end in zip(starts, ends, strict=True)]


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
