"""A pack: many parts merged in plan order, 128 to 512 MB, and where each thumbnail lies in it."""

import hashlib
import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive.layout import ArchiveError, Location, pack_name
from ops.archive.parquet import cells, open_writer, write_rows
from ops.archive.parts import PartFacts, read_part
from ops.archive.plan import Plan
from ops.archive.rows import OK

PACK_BYTES = 256 << 20
# A footer takes 2.2 kB a row group, and who looks one image up reads it whole: 512 groups, whatever thumbnails weigh.
PACK_ROWS = 32_768
# Parts are some 4 MB; four requests at a time hide the latency of an object store.
READ_AHEAD = 4

CATALOG_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("generation", pa.int32()),
        ("pack", pa.string()),
        ("row", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int32()),
        ("media_type", pa.string()),
        ("sha256", pa.string()),
        ("status", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("source_bytes", pa.int64()),
        ("etag", pa.string()),
        ("alpha_bytes", pa.int32()),
    ]
)


class PlannedPart(Struct, frozen=True):
    """A part that a pack is to hold, and the rows that the plan wants in it."""

    chunk_id: str
    num_images: int


class PackOrder(Struct, frozen=True, kw_only=True):
    """Which parts make which pack. Follows from the plan and the parts' sizes, so that every driver orders the same."""

    generation: int
    index: int
    plan_digest: str
    codec_digest: str
    parts: list[PlannedPart]


class Pack(Struct, frozen=True):
    """A pack as a seal names it."""

    name: str
    num_bytes: int
    num_rows: int
    sha256: str


def orders(plan: Plan, parts: pa.Table) -> Iterator[PackOrder]:
    """Divide parts, given in plan order (columns chunk_id, num_images, num_bytes), among packs of some 256 MiB."""
    limits = {"num_bytes": PACK_BYTES, "num_images": PACK_ROWS}
    sums = [(np.cumsum(parts[name].to_numpy(), dtype=np.int64), most) for name, most in limits.items()]
    start = index = 0
    while start < parts.num_rows:
        # The first beyond a limit, counted from what the packs before this one hold.
        ends = [np.searchsorted(sum_, (sum_[start - 1] if start else 0) + most, "right") for sum_, most in sums]
        end = max(int(min(ends)), start + 1)
        held = parts.select(["chunk_id", "num_images"]).slice(start, end - start).to_pylist()
        yield PackOrder(
            generation=plan.generation,
            index=index,
            plan_digest=plan.digest,
            codec_digest=plan.codec_digest,
            parts=[PlannedPart(**part) for part in held],
        )
        start, index = end, index + 1


def write_pack(location: Location, order: PackOrder) -> tuple[Pack, pa.Table]:
    """Merge the parts of an order into a pack, unless it is there already; return it and its catalog rows."""
    name = pack_name(order.generation, order.index)
    url = location.at(name)
    content = _merge(location, order)
    if not location.store.put_new(url, content):
        ours, content = _keys(content), location.store.read(url)
        if _keys(content) != ours:
            raise ArchiveError(f"{url} holds other images than the plan says: move it away and seal again")
    pack = Pack(name, len(content), sum(part.num_images for part in order.parts), hashlib.sha256(content).hexdigest())
    return pack, catalog_rows(name, content)


def _merge(location: Location, order: PackOrder) -> bytes:
    written = io.BytesIO()
    made_of = {"codec_digest": order.codec_digest, "plan_digest": order.plan_digest, "parts": _ids(order.parts)}
    with open_writer(written, {"regrow": msgspec.json.encode(made_of).decode()}) as writer:
        for table in _read_ahead(location, order):
            write_rows(writer, table)
    return written.getvalue()


def _ids(parts: Sequence[PlannedPart]) -> list[str]:
    return [parts[0].chunk_id, parts[-1].chunk_id]


def _read_ahead(location: Location, order: PackOrder) -> Iterator[pa.Table]:
    pending: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        for part in order.parts:
            expected = PartFacts(
                chunk_id=part.chunk_id,
                plan_digest=order.plan_digest,
                codec_digest=order.codec_digest,
                device="",
                stack="",
            )
            pending.append(pool.submit(read_part, location, part.chunk_id, expected, part.num_images))
            if len(pending) > READ_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _keys(content: bytes) -> list[str]:
    return pq.read_table(io.BytesIO(content), columns=["key"])["key"].to_pylist()


_FACTS = ["key", "generation", "media_type", "status", "width", "height", "format", "source_bytes", "etag"]


def catalog_rows(name: str, content: bytes) -> pa.Table:
    """Return the catalog's rows of one pack, each with the place of its thumbnail in the file."""
    file = pq.ParquetFile(io.BytesIO(content))
    view = memoryview(content)
    tables, row = [], 0
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, columns=[*_FACTS, "thumbnail", "thumbnail_sha256", "alpha"])
        thumbnails = pc.struct_field(table["thumbnail"], "bytes").to_pylist()
        found = cells(view, file.metadata, group, thumbnails)
        columns = {
            **{column: table[column] for column in _FACTS},
            "pack": pa.array([name] * len(found)),
            "row": pa.array(range(row, row + len(found)), pa.int32()),
            "offset": pa.array([cell.offset for cell in found], pa.int64()),
            "length": pa.array([cell.length for cell in found], pa.int32()),
            "sha256": table["thumbnail_sha256"],
            "alpha_bytes": pc.fill_null(pc.binary_length(table["alpha"]), 0),
        }
        tables.append(pa.table([columns[field.name] for field in CATALOG_SCHEMA], schema=CATALOG_SCHEMA))
        row += len(found)
    return pa.concat_tables(tables) if tables else CATALOG_SCHEMA.empty_table()


def num_good(rows: pa.Table) -> int:
    """Return how many catalog rows have a thumbnail."""
    return pc.sum(pc.equal(rows["status"], OK)).as_py() or 0
