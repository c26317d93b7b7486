"""Score rows: one for each image and candidate, a file for each work, and the table that they make together."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive.layout import ArchiveError
from ops.stores import Stored, join, open_store

OK = "ok"
READERS_AT_ONCE = 8


class ScoreStatus(StrEnum):
    """Why an image has no scores for a candidate."""

    NO_THUMBNAIL = "no_thumbnail"  # it failed when it was archived, or its thumbnail cannot be read
    NO_REFERENCE = "no_reference"  # the references hold no image of this key
    REFERENCE_UNREADABLE = "reference_unreadable"  # it is gone, changed, or cannot be decoded
    SIZE_DIFFERS = "size_differs"  # reference and reconstruction are not of one size
    NOT_ENCODED = "not_encoded"  # the codec or the baseline's format cannot hold it
    NOT_REGROWN = "not_regrown"  # the codec could not grow it back


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
        ("error_map", pa.binary()),
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
    """Return all score rows sorted by key (its UTF-8 bytes), then in the order of the candidates.

    So the table is the same for any number of workers and in whatever order they came to their ends. Where scores were
    taken while an archive was made, an image may have rows of several generations: as in its catalog, the newest good
    one counts, or the newest.
    """
    schema = schema_of(columns)
    with ThreadPoolExecutor(READERS_AT_ONCE) as pool:
        tables = list(pool.map(lambda stored: _read(url, stored, schema), list(_stored(url))))
    table = pa.concat_tables([schema.append(_WORK).empty_table(), *tables])
    table = table.append_column("order", pc.index_in(table["candidate"], value_set=pa.array(candidates, pa.string())))
    table = table.append_column("good", pc.equal(table["status"], OK))
    # Arrow compares strings by their bytes; works of later generations have later names.
    order = [(name, "ascending") for name in ("key", "order", "good", "work")]
    table = table.sort_by(order).combine_chunks()
    return table.filter(_last_of_each(table)).select(schema.names).combine_chunks()


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
    try:
        table = pq.read_table(io.BytesIO(open_store(url).read(stored.url)), use_threads=False).cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(f"{stored.url} is damaged ({error}): remove it and run the same command again") from error
    return table.append_column(_WORK, pa.array([_name(stored)] * table.num_rows, pa.string()))


def _stored(url: str) -> Iterator[Stored]:
    for stored in open_store(url).walk(join(url, "scores")):
        if stored.url.endswith(".parquet"):
            yield stored


def _name(stored: Stored) -> str:
    return stored.url.rsplit("/", 1)[-1].removesuffix(".parquet")
