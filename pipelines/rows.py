"""The rows that travel between stages, and their columns; no other module names them.

A row travels as an Arrow table of its own. Made here, it costs one copy of its bytes; left to Ray, which guesses types
and pickles rows to learn their size, or to Arrow, which grows its buffers, it took longer than the fetch itself.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ops.archive.plan import Chunk
from ops.archive.rows import ImageRow
from ops.images import Failure
from pipelines.events import Receipt

Row = dict[str, Any]


def row_of(table: pa.Table) -> Row:
    """Return the one row of a table."""
    (row,) = table.to_pylist()
    return row


def table_of(row: Row) -> pa.Table:
    """Return a row as a table: lists of bytes, together of any length, bytes, and numbers."""
    return pa.table({name: _of_bytes(value) if isinstance(value, list) else [value] for name, value in row.items()})


def _of_bytes(values: list[bytes]) -> pa.Array:
    """Return one list of bytes as a column; a chunk may hold more than 2 GiB."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    held = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(values), buffers)
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), held)


def name_of(row: Row) -> str:
    """Return what a row of work is called, in a plan or between stages: its chunk's id, its work's, its first output.

    Nothing for rows of other shapes.
    """
    return next((str(row[name]) for name in ("name", "chunk_id", "work", "id") if name in row), "")


def fetched_row(chunk: Chunk, fetched: Sequence[bytes | Failure]) -> Row:
    """Return the row that a fetch hands to an actor: encoded bytes stay columns of their own, copied once."""
    return {
        "name": chunk.id,
        "chunk": msgspec.msgpack.encode(chunk),
        "encoded": [b"" if isinstance(content, Failure) else content for content in fetched],
        "failures": msgspec.msgpack.encode([one if isinstance(one, Failure) else None for one in fetched]),
    }


def read_fetched(row: Row) -> tuple[Chunk, list[bytes | Failure]]:
    """Return the chunk and its encoded images, or why there are none."""
    chunk = msgspec.msgpack.decode(row["chunk"], type=Chunk)
    failures = msgspec.msgpack.decode(row["failures"], type=list[Failure | None])
    return chunk, [failure or content for failure, content in zip(failures, row["encoded"], strict=True)]


def receipt_row(receipt: Receipt) -> Row:
    """Return the row that an actor hands to the driver."""
    return {"receipt": msgspec.msgpack.encode(receipt)}


def read_receipt(row: Row) -> Receipt:
    """Return the receipt in an actor's row."""
    return msgspec.msgpack.decode(row["receipt"], type=Receipt)


def judged_row(
    work: str, keys: Sequence[str], kept: Sequence[ImageRow | None], encoded: Sequence[bytes | Failure]
) -> Row:
    """Return the row that a fetch hands to a judge: what an archive keeps of each image, and its reference."""
    return {
        "work": work,
        "keys": msgspec.msgpack.encode(keys),
        "kept": msgspec.msgpack.encode(kept),
        "encoded": [b"" if isinstance(content, Failure) else content for content in encoded],
        "failures": msgspec.msgpack.encode([one if isinstance(one, Failure) else None for one in encoded]),
    }


def read_judged(row: Row) -> tuple[str, list[str], list[ImageRow | None], list[bytes | Failure]]:
    """Return a work's id, and of each image its key, what an archive keeps of it, and its reference or why not."""
    failures = msgspec.msgpack.decode(row["failures"], type=list[Failure | None])
    return (
        row["work"],
        msgspec.msgpack.decode(row["keys"], type=list[str]),
        msgspec.msgpack.decode(row["kept"], type=list[ImageRow | None]),
        [failure or content for failure, content in zip(failures, row["encoded"], strict=True)],
    )
