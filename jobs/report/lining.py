"""Score rows of one candidate lined up by key, so that any two can be compared image by image."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ops.metrics.error_map import read_error_map
from ops.statistics import Numbers


class Lined(NamedTuple):
    """One candidate's rows lined up by key; NaN and -1 where it has none."""

    present: NDArray[np.bool_]
    num_bytes: NDArray[np.int64]
    pixels: NDArray[np.int64]
    larger: NDArray[np.bool_]
    scores: dict[str, Numbers]
    thumbnail: Numbers
    error_map: NDArray[np.float64] | None


def line_up(
    rows: pa.Table, places: NDArray[np.int64], num: int, columns: list[str], error_map: NDArray[np.float64] | None
) -> Lined:
    """Return the rows of one candidate, whose keys stand at `places` of `num`."""
    return Lined(
        present=_scattered(num, places, np.ones(len(places), bool), False),
        num_bytes=_scattered(num, places, _whole(rows["num_bytes"], -1), -1),
        pixels=_scattered(num, places, _whole(pixels_of(rows), -1), -1),
        larger=_scattered(num, places, rows["larger"].fill_null(False).to_numpy(), False),
        scores={name: _scattered(num, places, floats(rows[name]), np.nan) for name in columns},
        thumbnail=_scattered(num, places, floats(rows["thumbnail_psnr"]), np.nan),
        error_map=_mean_map(rows["error_map"]) if "error_map" in rows.column_names else error_map,
    )


def pixels_of(rows: pa.Table) -> pa.ChunkedArray:
    """Return the pixels of each image, null where its size is not known."""
    return pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))


def _mean_map(cells: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return the mean of all error maps of one size, in levels, in key order."""
    maps = [read_error_map(cell).astype(np.float64) for cell in cells.drop_null().to_pylist()]
    return np.mean(maps, axis=0) if maps else None


def floats(cells: pa.ChunkedArray) -> Numbers:
    """Return a column, NaN for null."""
    return pc.fill_null(cells, float("nan")).to_numpy().astype(np.float64)


def _whole(cells: pa.ChunkedArray, absent: int) -> NDArray[np.int64]:
    return pc.fill_null(cells.cast(pa.int64()), absent).to_numpy()


def _scattered(num: int, places: NDArray[np.int64], numbers: NDArray[Any], absent: object) -> NDArray[Any]:
    found = np.full(num, absent, numbers.dtype)
    found[places] = numbers
    return found
