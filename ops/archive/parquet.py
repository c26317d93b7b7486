"""Parquet as an archive writes it: each thumbnail stands verbatim in the file, so that a range of it is a picture."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ops.archive.rows import ROW_GROUP_ROWS, ROW_GROUP_THUMBNAIL_BYTES, SCHEMA, STATISTICS

_THUMBNAIL = "thumbnail.bytes"
# Already compressed by their own formats, or random: a second compression costs time and gains nothing.
_VERBATIM = (_THUMBNAIL, "alpha")
_REPEATING = ("status", "message", "media_type", "uri", "etag", "format", "mode", "choices.list.element", "icc")
_LEAVES = (
    "key", "generation", "status", "message", "attempts", _THUMBNAIL, "thumbnail.path", "media_type",
    "thumbnail_sha256", "width", "height", "extras.key_value.key", "extras.key_value.value", "alpha", "uri", "locator",
    "etag", "source_bytes", "source_sha256", "format", "mode", "bit_depth", "frames", "orientation",
    "choices.list.element", "exif", "icc", "xmp",
)  # fmt: skip
# One page holds a row group's thumbnails; beyond this pyarrow would cut pages, which moves nothing but is needless.
_PAGE_BYTES = 1 << 30


class Cell(NamedTuple):
    """Where a thumbnail stands in a file: byte offset and length, or None for a row without one."""

    offset: int | None
    length: int | None


def open_writer(file: BinaryIO, metadata: dict[str, str]) -> pq.ParquetWriter:
    """Return a writer of the archive's schema with more key-value metadata."""
    schema = SCHEMA.with_metadata({**(SCHEMA.metadata or {}), **metadata})
    return pq.ParquetWriter(
        file,
        schema,
        compression={leaf: "NONE" if leaf in _VERBATIM else "ZSTD" for leaf in _LEAVES},
        use_dictionary=list(_REPEATING),
        write_statistics=STATISTICS,
        data_page_size=_PAGE_BYTES,
        store_schema=True,
    )


def write_rows(writer: pq.ParquetWriter, table: pa.Table) -> None:
    """Append a table in row groups of at most 64 rows or 512 KiB of pictures and metadata, whichever is first."""
    start = 0
    for num_rows in row_groups(table):
        writer.write_table(table.slice(start, num_rows), row_group_size=num_rows)
        start += num_rows


def row_groups(table: pa.Table) -> Iterator[int]:
    """Yield the number of rows of each row group."""
    blobs = [pc.struct_field(table["thumbnail"], "bytes"), *(table[name] for name in ("alpha", "exif", "icc", "xmp"))]
    sizes = [pc.fill_null(pc.binary_length(blob), 0).to_pylist() for blob in blobs]
    lengths = [sum(row) for row in zip(*sizes, strict=True)]
    num_rows = num_bytes = 0
    for length in lengths:
        if num_rows and (num_rows == ROW_GROUP_ROWS or num_bytes + length > ROW_GROUP_THUMBNAIL_BYTES):
            yield num_rows
            num_rows = num_bytes = 0
        num_rows += 1
        num_bytes += length
    if num_rows:
        yield num_rows


def cells(content: memoryview, metadata: pq.FileMetaData, group: int, thumbnails: list[bytes | None]) -> list[Cell]:
    """Return where each thumbnail of a row group stands in the whole file's bytes.

    The values of an uncompressed, plain page follow one another, each after its length (Parquet, Encodings.md, PLAIN).
    Each is compared with the bytes that stand there, so a wrong offset cannot be handed on.
    """
    column = metadata.row_group(group).column(_LEAVES.index(_THUMBNAIL))
    position, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
    view = content[position:end].tobytes()
    found, at = [], 0
    for thumbnail in thumbnails:
        if thumbnail is None:
            found.append(Cell(None, None))
            continue
        at = view.index(len(thumbnail).to_bytes(4, "little") + thumbnail, at) + 4
        found.append(Cell(position + at, len(thumbnail)))
        at += len(thumbnail)
    return found
