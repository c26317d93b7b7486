"""Writing packs side by side on a cluster."""

import io
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

import msgspec
import pyarrow as pa

from clusters.budget import Budget
from clusters.session import waiting_seconds
from ops.archive.layout import Location
from ops.archive.packs import Pack, PackOrder, write_pack
from pipelines.feeding import fed
from pipelines.rows import Row
from pipelines.streaming import told

# A pack is held twice while it is written: 256 MiB as Parquet, and what of it is being read.
PACK_MEMORY = 800 << 20
# An order names all parts of its pack, 10 kB or more: of 100 million images all of them would take 400 MB, twice.
ORDERS_AT_ONCE = 4096
# A pack takes seconds; Ray may take minutes to begin one.
NO_PROGRESS_SECONDS = 1800.0


def write_packs(location: Location, ordered: Iterable[PackOrder], budget: Budget) -> Iterator[tuple[Pack, pa.Table]]:
    """Write packs in tasks of a Ray session; yield each with its catalog rows, in the order in which they finish."""
    cpus = max(budget.fetch_cpus, 0.5)
    remaining = iter(ordered)
    with told(NO_PROGRESS_SECONDS + waiting_seconds(), f"a pack needs {cpus:g} processors and {PACK_MEMORY >> 20} MiB"):
        while held := list(islice(remaining, ORDERS_AT_ONCE)):
            work = pa.table({"order": [msgspec.msgpack.encode(order) for order in held]})
            dataset = fed(work, work.num_rows).map(
                partial(_write, location=location), num_cpus=cpus, memory=PACK_MEMORY
            )
            for row in dataset.iter_rows():
                yield msgspec.msgpack.decode(row["pack"], type=Pack), pa.ipc.open_stream(row["rows"]).read_all()


def _write(row: Row, location: Location) -> Row:
    pack, table = write_pack(location, msgspec.msgpack.decode(row["order"], type=PackOrder))
    written = io.BytesIO()
    with pa.ipc.new_stream(written, table.schema) as sink:
        sink.write_table(table)
    return {"pack": msgspec.msgpack.encode(pack), "rows": written.getvalue()}
