"""Reading a little of a large Parquet file: its footer once, then the row group that is needed, in one range each."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ops.archive.layout import ArchiveError
from ops.stores import Store

# One request brings most footers; a longer one says its length and is fetched with a second.
TAIL_BYTES = 64 * 1024
_MAGIC = b"PAR1"


class Footer(NamedTuple):
    """A Parquet file's metadata and its size in bytes."""

    metadata: pq.FileMetaData
    size: int


def read_footer(store: Store, url: str) -> Footer:
    """Return a file's footer, in one or two requests."""
    tail, size = store.read_end(url, TAIL_BYTES)
    if len(tail) < 12 or tail[-4:] != _MAGIC:
        raise ArchiveError(f"{url} is no whole Parquet file ({size} bytes): restore it from a copy")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > size:
        raise ArchiveError(f"{url} is damaged (a footer of {length} bytes, a file of {size}): restore it from a copy")
    if length > len(tail):
        tail = store.read(url, size - length, size)
    # A footer alone reads as a file of no data: the reader looks for the magic only at the end.
    with _named_if_damaged(url):
        return Footer(pq.read_metadata(io.BytesIO(_MAGIC + tail[-length:])), size)


@lru_cache(maxsize=32)
def cached_footer(store: Store, url: str, version: str) -> Footer:  # noqa: ARG001  the cache looks at it
    """Return the footer of a file that is written once; `version` tells archives apart that stood in one place."""
    return read_footer(store, url)


def read_row_group(
    store: Store, url: str, group: int, columns: Sequence[str] | None = None, *, version: str = ""
) -> pa.Table:
    """Return some columns (all, if none are named) of one row group, fetched as one range."""
    footer = cached_footer(store, url, version)
    found = footer.metadata.row_group(group)
    chunks = [found.column(i) for i in range(found.num_columns)]
    wanted = [c for c in chunks if columns is None or c.path_in_schema.split(".")[0] in columns]
    start = min(c.dictionary_page_offset or c.data_page_offset for c in wanted)
    end = max((c.dictionary_page_offset or c.data_page_offset) + c.total_compressed_size for c in wanted)
    window = _Window(store.read(url, start, end), start, footer.size)
    with _named_if_damaged(url):
        file = pq.ParquetFile(window, metadata=footer.metadata)
        return file.read_row_group(group, columns=None if columns is None else list(columns), use_threads=False)


@contextmanager
def _named_if_damaged(url: str) -> Iterator[None]:
    """Raise ArchiveError where pyarrow cannot read what was fetched; nothing else may be done in the block."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:  # of a footer, it raises OSError
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ArchiveError(f"{url} is damaged ({why}): restore it from a copy") from error


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with a schema's columns: others are left out, those it lacks are null (format 1 may gain some)."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class _Window(io.RawIOBase):
    """A file of which only one range is at hand; reading elsewhere is an error, not a silent zero."""

    def __init__(self, content: bytes, start: int, size: int) -> None:
        super().__init__()
        self._content, self._start, self._size, self._position = content, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        begin = self._position - self._start
        if begin < 0 or size < 0 or begin + size > len(self._content):
            raise OSError(f"bytes {self._position} to {self._position + size} were not fetched")
        self._position += size
        return self._content[begin : begin + size]
