"""Score rows: one for each image and candidate, a file for each work, and the table that they make together."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct
from numpy.typing import NDArray

from ops.archive.layout import ArchiveError
from ops.metrics.error_map import read_error_map
from ops.stores import Stored, join, open_store

OK = "ok"
ERROR_MAP = "error_map"
READERS_AT_ONCE = 8


class ScoreStatus(StrEnum):
    """Why an image has no scores for a candidate."""

    NO_THUMBNAIL = "no_thumbnail"  # it failed when it was archived, or its thumbnail cannot be read
    NO_REFERENCE = "no_reference"  # the references hold no image of this key
    REFERENCE_UNREADABLE = "reference_unreadable"  # it is gone, changed, or cannot be decoded
    SIZE_DIFFERS = "size_differs"  # reference and reconstruction are not of one size
    NOT_ENCODED = "not_encoded"  # the codec or the baseline's format cannot hold it
    NOT_REGROWN = "not_regrown"  # the codec could not grow it back
    NOT_JUDGED = "not_judged"  # no memory, or a fault while scores were taken


# What another look at the source may mend.
OF_SOURCES = frozenset(
    {ScoreStatus.NO_THUMBNAIL, ScoreStatus.NO_REFERENCE, ScoreStatus.REFERENCE_UNREADABLE, ScoreStatus.NOT_JUDGED}
)


class ScoreRow(Struct, kw_only=True):
    """What one candidate made of one image.

    `num_bytes` are those of the thumbnail file, or of the baseline's file, `beside_bytes` those of alpha and extras.
    `scores` has a number per metric column; infinity is one (PSNR of equal images), NaN never is. `missing` says of
    every other column why there is no number. `error_map` is ops.metrics.error_map's, `settings` a baseline's.
    """

    key: str
    candidate: str
    status: str = OK
    message: str | None = None
    width: int | None = None
    height: int | None = None
    reference_sha256: str | None = None
    reference_bytes: int | None = None
    num_bytes: int | None = None
    beside_bytes: int = 0
    settings: str | None = None
    larger: bool = False
    scores: dict[str, float] = {}
    missing: dict[str, str] = {}
    thumbnail_psnr: float | None = None
    error_map: bytes | None = None


FIXED = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("candidate", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reference_sha256", pa.string()),
        ("reference_bytes", pa.int64()),
        ("num_bytes", pa.int64()),
        ("beside_bytes", pa.int64()),
        ("settings", pa.string()),
        ("larger", pa.bool_()),
        ("thumbnail_psnr", pa.float64()),
        (ERROR_MAP, pa.binary()),
        ("missing", pa.map_(pa.string(), pa.string())),
    ]
)


_WORK = pa.field("work", pa.string())


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """Return the columns of a score file: the fixed ones, and a double for each metric, null where it has no number."""
    return pa.schema([*FIXED, *(pa.field(name, pa.float64()) for name in columns)])


def to_table(rows: Sequence[ScoreRow], columns: Sequence[str]) -> pa.Table:
    """Return rows as a table."""
    names = [name for name in FIXED.names if name != "missing"]
    held: list[dict[str, Any]] = [
        {
            **{name: getattr(row, name) for name in names},
            "missing": sorted(row.missing.items()),
            **{name: row.scores.get(name) for name in columns},
        }
        for row in rows
    ]
    return pa.Table.from_pylist(held, schema=schema_of(columns))


def put_scores(url: str, work: str, rows: Sequence[ScoreRow], columns: Sequence[str]) -> None:
    """Store the score rows of a work; who comes second finds the same ones there."""
    written = io.BytesIO()
    pq.write_table(to_table(rows, columns), written, compression="zstd")
    open_store(url).put_new(join(url, "scores", f"{work}.parquet"), written.getvalue())


def finished_works(url: str) -> pa.Array:
    """Return the ids of the works whose score rows are there."""
    return pa.array([_name(stored) for stored in _stored(url)], pa.string())


def read_scores(url: str, columns: Sequence[str], candidates: Sequence[str]) -> pa.Table:
    """Return all score rows, without error maps, sorted by key (its UTF-8 bytes), then in the order of the candidates.

    So the table is the same for any number of workers and in whatever order they came to their ends. Where scores were
    taken while an archive was made, an image may have rows of several generations: as in its catalog, the newest good
    one counts, or the newest.
    """
    schema = pa.schema([_large(field) for field in schema_of(columns) if field.name != ERROR_MAP])
    with ThreadPoolExecutor(READERS_AT_ONCE) as pool:
        tables = list(pool.map(lambda stored: _read(url, stored, schema), list(_stored(url))))
    table = pa.concat_tables([schema.append(_WORK).empty_table(), *tables])
    table = table.append_column("order", pc.index_in(table["candidate"], value_set=pa.array(candidates, pa.string())))
    table = table.append_column("good", pc.equal(table["status"], OK))
    # Arrow compares strings by their bytes; works of later generations have later names.
    order = [(name, "ascending") for name in ("key", "order", "good", "work")]
    table = table.sort_by(order).combine_chunks()
    return table.filter(_last_of_each(table)).select(schema.names).combine_chunks()


def forget_failures(url: str) -> None:
    """Remove what came of works of which an original or thumbnail could not be read, so that they are judged again."""
    again = []
    for stored in _stored(url):
        statuses = _open(url, stored, ["status"])["status"].to_pylist()
        if any(status in OF_SOURCES for status in statuses):
            again += [stored.url, join(url, "features", f"{_name(stored)}.parquet")]
    open_store(url).remove(again)


def mean_error_maps(url: str) -> dict[str, NDArray[np.float64]]:
    """Return each candidate's error map, the mean over its images, summed in the order of works."""
    sums: dict[str, NDArray[np.float64]] = {}
    counts: Counter[str] = Counter()
    for stored in sorted(_stored(url), key=lambda one: one.url):
        table = _open(url, stored, ["candidate", ERROR_MAP])
        for candidate, cells in zip(table["candidate"].to_pylist(), table[ERROR_MAP].to_pylist(), strict=True):
            if cells is not None:
                sums[candidate] = sums.get(candidate, 0.0) + read_error_map(cells).astype(np.float64)
                counts[candidate] += 1
    return {candidate: total / counts[candidate] for candidate, total in sums.items()}


def _large(field: pa.Field) -> pa.Field:
    """Return a field whose texts may be more than 2 GiB together: a million images have such keys."""
    return field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field


def _last_of_each(table: pa.Table) -> pa.Array:
    """Return which rows are the last of their key and candidate."""
    if table.num_rows == 0:
        return pa.array([], pa.bool_())
    differs = [
        pc.not_equal(table[name].slice(0, table.num_rows - 1), table[name].slice(1)).combine_chunks()
        for name in ("key", "order")
    ]
    return pa.concat_arrays([pc.or_(*differs), pa.array([True])])


def _read(url: str, stored: Stored, schema: pa.Schema) -> pa.Table:
    table = _open(url, stored, schema.names).select(schema.names).cast(schema)
    return table.append_column(_WORK, pa.array([_name(stored)] * table.num_rows, pa.string()))


def _open(url: str, stored: Stored, columns: Sequence[str]) -> pa.Table:
    try:
        file = pq.ParquetFile(io.BytesIO(open_store(url).read(stored.url)), pre_buffer=False)
        return file.read(columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(f"{stored.url} is damaged ({error}): remove it and run the same command again") from error


def _stored(url: str) -> Iterator[Stored]:
    for stored in open_store(url).walk(join(url, "scores")):
        if stored.url.endswith(".parquet"):
            yield stored


def _name(stored: Stored) -> str:
    return stored.url.rsplit("/", 1)[-1].removesuffix(".parquet")
