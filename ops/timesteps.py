"""Tiles of many images side by side: predicted time-steps, true errors, and how far the one tells of the other."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ops.statistics import FEWEST, Interval, Numbers, resampled_sums

LOWEST, HIGHEST = 10.0, 200.0
"""Between these a time-step is predicted, as in TADM's published code."""
FEWEST_TILES = 8
"""Of fewer tiles no correlation is given."""


class TileMaps(NamedTuple):
    """An image's tiles as (rows, columns): predicted time-steps, true errors of latents, and errors of pixels.

    Errors of latents are as ops.codecs.tile_facts says; those of pixels root mean squares over RGB, in levels, NaN
    where they are not known.
    """

    timesteps: NDArray[np.float32]
    errors: NDArray[np.float32]
    pixel_errors: NDArray[np.float32]


class Tiles(Struct, frozen=True, kw_only=True):
    """All tiles of one candidate, image after image in the order of `keys`, each image's row by row.

    `rows` and `columns` are those of each image; the other fields have a number for each tile.
    """

    keys: list[str]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    timesteps: Numbers
    errors: Numbers
    pixel_errors: Numbers

    @property
    def images(self) -> NDArray[np.int64]:
        """Return the place of each tile's image among the keys."""
        return np.repeat(np.arange(len(self.keys)), self.rows * self.columns)

    def of(self, key: str) -> TileMaps | None:
        """Return the tiles of one image, or nothing where it has none."""
        if key not in self.keys:
            return None
        place = self.keys.index(key)
        start = int((self.rows * self.columns)[:place].sum())
        shape = int(self.rows[place]), int(self.columns[place])
        cut = slice(start, start + shape[0] * shape[1])
        planes = (self.timesteps, self.errors, self.pixel_errors)
        return TileMaps(*(plane[cut].reshape(shape).astype(np.float32) for plane in planes))


class Correlation(Struct, frozen=True, kw_only=True):
    """How two numbers of tiles go together: Pearson's r and Spearman's rank correlation, over tiles of all images.

    Intervals are of resampled images, as tiles of one image are alike, and Spearman's with the ranks of all tiles; none
    below FEWEST images. No coefficient below FEWEST_TILES tiles, or where a number is the same for every tile.
    """

    num_images: int
    num_tiles: int
    constant: bool = False
    pearson: float | None = None
    pearson_interval: Interval | None = None
    spearman: float | None = None
    spearman_interval: Interval | None = None


class TimestepNumbers(Struct, frozen=True, kw_only=True):
    """How one candidate's predicted time-steps spread over all tiles, and what they tell of the tiles' errors."""

    num_images: int
    num_tiles: int
    lowest: float
    lower_quartile: float
    median: float
    upper_quartile: float
    highest: float
    latents: Correlation
    pixels: Correlation


def sum_up(tiles: Tiles) -> TimestepNumbers:
    """Return what a candidate's tiles say together; there must be one."""
    lowest, lower, median, upper, highest = np.quantile(tiles.timesteps, [0, 0.25, 0.5, 0.75, 1]).tolist()
    images = tiles.images
    return TimestepNumbers(
        num_images=len(tiles.keys), num_tiles=len(tiles.timesteps), lowest=lowest, lower_quartile=lower, median=median,
        upper_quartile=upper, highest=highest, latents=correlate(tiles.timesteps, tiles.errors, images),
        pixels=correlate(tiles.timesteps, tiles.pixel_errors, images),
    )  # fmt: skip


def gather_tiles(maps: Mapping[str, TileMaps]) -> Tiles:
    """Return the tiles of images by their keys, sorted by those."""
    keys = sorted(maps, key=str.encode)
    held = [maps[key] for key in keys]
    return Tiles(
        keys=keys,
        rows=np.array([one.timesteps.shape[0] for one in held], np.int64),
        columns=np.array([one.timesteps.shape[1] for one in held], np.int64),
        timesteps=_flat([one.timesteps for one in held]),
        errors=_flat([one.errors for one in held]),
        pixel_errors=_flat([one.pixel_errors for one in held]),
    )


def correlate(first: Numbers, second: Numbers, images: NDArray[np.int64]) -> Correlation:
    """Return the correlation of two numbers of each tile, of the images at these places; NaN leaves a tile out."""
    known = np.isfinite(first) & np.isfinite(second)
    _, places = np.unique(images[known], return_inverse=True)
    num_images, num_tiles = int(places.max(initial=-1)) + 1, int(known.sum())
    x, y = first[known], second[known]
    if num_tiles < FEWEST_TILES:
        return Correlation(num_images=num_images, num_tiles=num_tiles)
    if x.min() == x.max() or y.min() == y.max():
        return Correlation(num_images=num_images, num_tiles=num_tiles, constant=True)
    pearson, pearson_interval = _coefficient(x, y, places)
    spearman, spearman_interval = _coefficient(ranks(x), ranks(y), places)
    return Correlation(
        num_images=num_images, num_tiles=num_tiles, pearson=pearson, pearson_interval=pearson_interval,
        spearman=spearman, spearman_interval=spearman_interval,
    )  # fmt: skip


def ranks(numbers: Numbers) -> Numbers:
    """Return the rank of each number, from 1; equal ones share the mean of their ranks."""
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def tile_pixel_errors(
    errors: NDArray[np.float32],
    sides: tuple[int, int],
    tops: Sequence[int],
    lefts: Sequence[int],
    tile: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the root mean square error of pixels under each tile, (rows, columns), from a map of cells.

    `sides` are height and width of the image, `tops` and `lefts` where tiles begin, `tile` their height and width, all
    in pixels; a tile may reach beyond the image. A cell that a tile covers in part counts by the part: where cells are
    wide this is less sharp than the tiles are.
    """
    down = _shares(tops, tile[0], sides[0], len(errors))
    across = _shares(lefts, tile[1], sides[1], len(errors))
    return np.sqrt(down @ errors.astype(np.float64) ** 2 @ across.T).astype(np.float32)


def _shares(starts: Sequence[int], length: int, side: int, cells: int) -> Numbers:
    """Return which share of each tile's stretch of a side lies in each cell, (tiles, cells)."""
    edges = np.arange(cells + 1) * side / cells
    low = np.asarray(starts, np.float64)[:, None]
    high = np.minimum(low + length, side)
    within = np.maximum(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0)
    return within / within.sum(axis=1, keepdims=True)


def _coefficient(x: Numbers, y: Numbers, places: NDArray[np.int64]) -> tuple[float, Interval | None]:
    """Return Pearson's r of numbers that differ, and its interval over resampled images."""
    x, y = _standard(x), _standard(y)
    parts = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = [np.bincount(places, part).astype(np.float64) for part in parts]
    found = float(_pearson(np.array([[part.sum() for part in sums]]))[0])
    if len(sums[0]) < FEWEST:
        return found, None
    resampled = _pearson(resampled_sums(sums))
    resampled = resampled[np.isfinite(resampled)]
    return found, Interval(*np.quantile(resampled, [0.025, 0.975]).tolist()) if len(resampled) else None


def _pearson(sums: Numbers) -> Numbers:
    """Return r for each row of n, sums of x, y, xx, yy and xy; NaN where one of the two does not vary."""
    n, x, y, xx, yy, xy = sums.T
    spread = np.sqrt(np.maximum(xx - x * x / n, 0) * np.maximum(yy - y * y / n, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(np.where(spread > 1e-9 * n, (xy - x * y / n) / spread, np.nan), -1, 1)


def _standard(numbers: Numbers) -> Numbers:
    # Sums of squares of what lies about 0 lose nothing in the differences above.
    return (numbers - numbers.mean()) / numbers.std()


def _flat(planes: Sequence[NDArray[np.float32]]) -> Numbers:
    return np.concatenate([plane.ravel() for plane in planes] or [np.zeros(0)]).astype(np.float64)
