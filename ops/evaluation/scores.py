"""Score rows: one for each image and candidate, a file for each work, and the table that they make together."""

import io
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct
from numpy.typing import NDArray

from ops.archive.layout import ArchiveError
from ops.stack import stack
from ops.stores import Stored, join, open_store

OK = "ok"
ERROR_MAP = "error_map"
TILES = "tiles"
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
    every other column why there is no number. `error_map` is ops.metrics.error_map's, `settings` a baseline's,
    `tiles` what ops.codecs.tile_facts packs.
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
    tiles: bytes | None = None


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
        (TILES, pa.binary()),
        ("missing", pa.map_(pa.string(), pa.string())),
    ]
)


_WORK = pa.field("work", pa.string())
_STACK = b"regrow.stack"


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


class Scores(NamedTuple):
    """All score rows of an evaluation, without error maps and tiles, and what is beside them.

    `older` are works and keys of which another work has a newer version. `stacks` says how many works were done with
    which versions of what decodes and computes; works from before they were recorded are not counted.
    """

    table: pa.Table
    older: set[tuple[str, str]]
    stacks: Counter[str]


def put_scores(url: str, work: str, rows: Sequence[ScoreRow], columns: Sequence[str]) -> None:
    """Store the score rows of a work; who comes second finds the same ones there."""
    written = io.BytesIO()
    table = to_table(rows, columns).replace_schema_metadata({_STACK: _judging_stack()})
    pq.write_table(table, written, compression="zstd")
    open_store(url).put_new(join(url, "scores", f"{work}.parquet"), written.getvalue())


def finished_works(url: str) -> pa.Array:
    """Return the ids of the works whose score rows are there."""
    return pa.array([_name(stored) for stored in _stored(url)], pa.string())


def read_scores(url: str, columns: Sequence[str], candidates: Sequence[str]) -> pa.Table:
    """Return the table of `read_all_scores`."""
    return read_all_scores(url, columns, candidates).table


def read_all_scores(url: str, columns: Sequence[str], candidates: Sequence[str]) -> Scores:
    """Return all score rows sorted by key (its UTF-8 bytes), then in the order of the candidates.

    So the table is the same for any number of workers and in whatever order they came to their ends. Where scores were
    taken while an archive was made, an image may have rows of several generations: as in its catalog, the newest that
    was archived counts, or the newest, with all its candidates, whatever became of them.
    """
    schema = pa.schema([_large(field) for field in schema_of(columns) if field.name not in (ERROR_MAP, TILES)])
    with ThreadPoolExecutor(READERS_AT_ONCE) as pool:
        read = list(pool.map(lambda stored: _read(url, stored, schema), list(_stored(url))))
    table = pa.concat_tables([schema.append(_WORK).empty_table(), *(table for table, _ in read)])
    table = table.append_column("order", pc.index_in(table["candidate"], value_set=pa.array(candidates, pa.string())))
    table = table.append_column("archived", pc.not_equal(table["status"], ScoreStatus.NO_THUMBNAIL))
    # Arrow compares strings by their bytes; works of later generations have later names.
    order = [(name, "ascending") for name in ("key", "archived", "work", "order")]
    table = table.sort_by(order).combine_chunks()
    newest = _of_the_last_work(table)
    older = table.filter(pc.invert(newest))
    return Scores(
        table.filter(newest).select(schema.names).combine_chunks(),
        set(zip(older["work"].to_pylist(), older["key"].to_pylist(), strict=True)),
        Counter(stack for _, stack in read if stack),
    )


def forget_failures(url: str) -> None:
    """Remove what came of works of which an original or thumbnail could not be read, so that they are judged again."""
    again = []
    for stored in _stored(url):
        statuses = _open(url, stored, ["status"])["status"].to_pylist()
        if any(status in OF_SOURCES for status in statuses):
            again += [stored.url, join(url, "features", f"{_name(stored)}.parquet")]
    open_store(url).remove(again)


def rows_of_works(url: str, columns: Sequence[str], older: Collection[tuple[str, str]] = ()) -> Iterator[pa.Table]:
    """Yield columns, the key first, of each work's rows that count, in the order of works; null where it lacks one."""
    for stored in sorted(_stored(url), key=lambda one: one.url):
        table, work = _open(url, stored, columns), _name(stored)
        for name in columns:
            if name not in table.column_names:  # from before regrow kept it
                table = table.append_column(FIXED.field(name), pa.nulls(table.num_rows, FIXED.field(name).type))
        counts = [(work, key) not in older for key in table["key"].to_pylist()]
        yield table.select(columns).filter(pa.array(counts, pa.bool_()))


def _large(field: pa.Field) -> pa.Field:
    """Return a field whose texts may be more than 2 GiB together: a million images have such keys."""
    return field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field


def _of_the_last_work(table: pa.Table) -> pa.Array:
    """Return which rows are of the last work that their key has; rows of a key, and in it of a work, lie together."""
    ends_key = _ends(table["key"])
    ends_work = ends_key | _ends(table["work"])
    number = np.cumsum(ends_work) - ends_work  # of the run of rows of one key and work, for each row
    return pa.array(ends_key[ends_work][number])


def _ends(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return which cells differ from the next one; the last does."""
    if len(column) == 0:
        return np.zeros(0, bool)
    differs = pc.not_equal(column.slice(0, len(column) - 1), column.slice(1))
    return np.append(differs.to_numpy(), True)


def _read(url: str, stored: Stored, schema: pa.Schema) -> tuple[pa.Table, str]:
    """Return a work's rows, and the stack with which it was done."""
    table = _open(url, stored, schema.names).select(schema.names)
    done_with = (table.schema.metadata or {}).get(_STACK, b"").decode()
    table = table.cast(schema)
    return table.append_column(_WORK, pa.array([_name(stored)] * table.num_rows, pa.string())), done_with


def _judging_stack() -> str:
    torch = sys.modules.get("torch")  # loaded where a metric needs it
    return f"{stack()}, torch {torch.__version__}" if torch else stack()


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
