"""Parquet files with a column of encoded images, as Hugging Face and others write them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ops.images import Failure, FailureCode, SourceImage
from ops.keys import key_of
from ops.readers.base import Entry
from ops.readers.broken import BrokenShard

KEY_COLUMNS = ("key", "__key__", "file_name")
IMAGE_COLUMNS = ("image", "img", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp", "content", "picture", "photo")
BATCH_ROWS = 16
# Pages are read as they are needed, by this much; without it a whole column of a row group lies in memory.
_BUFFER_BYTES = 2**20


def index(file: BinaryIO, uri: str) -> Iterator[Entry]:
    """Yield an entry per row, with the locator `row group:row in it`; sizes are unknown without reading all, thus 0.

    Keys are the paths of the images, else a column key, __key__ or file_name, else row numbers. Raises BrokenShard.
    """
    try:
        shard = _open(file)
        column = image_column(shard.schema_arrow)
        yield from _entries(shard, column, _key_column(shard.schema_arrow, column), uri)
    except (pa.ArrowException, OSError) as error:
        _leave_to_store(error)
        raise BrokenShard(f"cannot be read as Parquet: {error}") from error


def read(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
    """Yield the images of these rows; only their row groups are read, and of these only the images' column."""
    shard = _open(file)
    name = image_column(shard.schema_arrow)
    struct = pa.types.is_struct(shard.schema_arrow.field(name).type)
    for group, found in groupby(entries, key=lambda entry: _place(entry)[0]):
        wanted = list(found)
        cells: dict[int, bytes | None] = {}
        damage = _read_cells(
            shard, group, f"{name}.bytes" if struct else name, {_place(entry)[1] for entry in wanted}, cells
        )
        for entry in wanted:
            yield _image(entry, cells, damage)


def image_column(schema: pa.Schema) -> str:
    """Return the column that holds the images: by Hugging Face's metadata, by its type, or by its name."""
    declared = [name for name in _declared(schema) if name in schema.names and _holds_bytes(schema.field(name).type)]
    structs = [field.name for field in schema if pa.types.is_struct(field.type) and _holds_bytes(field.type)]
    named = [field.name for field in schema if field.name.lower() in IMAGE_COLUMNS and _is_binary(field.type)]
    candidates = declared or structs or named
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise BrokenShard(f"several columns may be the images: {', '.join(candidates)}; keep one of them in the file")
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise BrokenShard(f"no column of images (struct<bytes, path>, or binary called image) among: {columns}")


def _open(file: BinaryIO) -> pq.ParquetFile:
    file.seek(0)
    return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _declared(schema: pa.Schema) -> list[str]:
    """Return the columns that the metadata of Hugging Face's datasets calls images."""
    try:
        facts = msgspec.json.decode((schema.metadata or {}).get(b"huggingface", b"{}"))
        return [name for name, feature in facts["info"]["features"].items() if feature.get("_type") == "Image"]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):  # not what it should be: types decide
        return []


def _holds_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return _is_binary(kind)
    index_of_bytes = kind.get_field_index("bytes")
    return index_of_bytes >= 0 and kind.get_field_index("path") >= 0 and _is_binary(kind.field(index_of_bytes).type)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _key_column(schema: pa.Schema, column: str) -> str:
    if pa.types.is_struct(schema.field(column).type):
        return f"{column}.path"
    return next((name for name in KEY_COLUMNS if name in schema.names), "")


def _entries(shard: pq.ParquetFile, column: str, key_column: str, uri: str) -> Iterator[Entry]:
    first = 0
    for group in range(shard.num_row_groups):
        num_rows = shard.metadata.row_group(group).num_rows
        about = _mean_bytes(shard, group, column)
        for row, name in enumerate(_names(shard, group, key_column, num_rows)):
            yield Entry(key=key_of(name or str(first + row)), uri=uri, locator=f"{group}:{row}", size=0, about=about)
        first += num_rows


def _mean_bytes(shard: pq.ParquetFile, group: int, column: str) -> int:
    """Return the mean size of the images of a row group, from the lengths of its columns in the footer."""
    found = shard.metadata.row_group(group)
    chunks = [found.column(number) for number in range(found.num_columns)]
    num_bytes = sum(
        chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in (column, f"{column}.bytes")
    )
    return num_bytes // max(found.num_rows, 1)


def _names(shard: pq.ParquetFile, group: int, column: str, num_rows: int) -> Iterator[str | bytes]:
    """Yield the name in each row of a row group, empty where there is none."""
    if not column:
        yield from [""] * num_rows
        return
    for batch in shard.iter_batches(4096, row_groups=[group], columns=[column]):
        for name in _values(batch):
            yield name if isinstance(name, (str, bytes)) else "" if name is None else str(name)


def _read_cells(shard: pq.ParquetFile, group: int, column: str, rows: set[int], cells: dict[int, bytes | None]) -> str:
    """Fill `cells` with the bytes in these rows of a row group, None for nulls; return why some are missing."""
    first, last = 0, max(rows)
    try:
        for batch in shard.iter_batches(BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False):
            values = _column(batch)
            wanted = [row for row in range(first, first + len(values)) if row in rows]
            cells.update((row, values[row - first].as_py()) for row in wanted)
            first += len(values)
            if first > last:
                break
    except (pa.ArrowException, OSError) as error:
        _leave_to_store(error)
        return " ".join(str(error).split())
    return "the row group ends before it"


def _leave_to_store(error: Exception) -> None:
    """Raise what a store raised: Arrow's own errors are OSError too, but have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def _column(batch: pa.RecordBatch) -> pa.Array:
    """Return the one column that was read, out of its struct if it lies in one."""
    column = batch.column(0)
    return column.flatten()[0] if pa.types.is_struct(column.type) else column


def _values(batch: pa.RecordBatch) -> list[object]:
    return _column(batch).to_pylist()


def _place(entry: Entry) -> tuple[int, int]:
    group, _, row = entry.locator.partition(":")
    return int(group), int(row)


def _image(entry: Entry, cells: dict[int, bytes | None], damage: str) -> SourceImage | Failure:
    row, place = _place(entry)[1], f"{entry.uri} row {entry.locator} ({entry.key})"
    if row not in cells:
        return Failure(FailureCode.UNREADABLE, f"{place} cannot be read: {damage}")
    encoded = cells[row]
    if encoded is None:
        return Failure(FailureCode.EMPTY, f"{place} holds no bytes")
    return SourceImage(entry.key, entry.uri, encoded)
