"""Writing packs side by side on a cluster."""

import io
from collections.abc import Iterable, Iterator
from functools import partial

import msgspec
import pyarrow as pa

from clusters.budget import Budget
from ops.archive.layout import Location
from ops.archive.packs import Pack, PackOrder, write_pack
from pipelines.rows import Row
from pipelines.streaming import told

# A pack is held twice while it is written: 256 MiB as Parquet, and what of it is being read.
PACK_MEMORY = 800 << 20
# A pack takes seconds; a cluster may take minutes to grow by a machine.
NO_PROGRESS_SECONDS = 1800.0


def write_packs(location: Location, ordered: Iterable[PackOrder], budget: Budget) -> Iterator[tuple[Pack, pa.Table]]:
    """Write packs in tasks of a Ray session; yield each with its catalog rows, in the order in which they finish."""
    import ray  # noqa: PLC0415  the environment must stand before it is imported

    work = pa.table({"order": [msgspec.msgpack.encode(order) for order in ordered]})
    cpus = max(budget.fetch_cpus, 0.5)
    with told(NO_PROGRESS_SECONDS, f"a pack needs {cpus:g} processors and {PACK_MEMORY >> 20} MiB"):
        dataset = (
            ray.data.from_arrow(work)
            .repartition(target_num_rows_per_block=1)
            .map(partial(_write, location=location), num_cpus=cpus, memory=PACK_MEMORY)
        )
        for row in dataset.iter_rows():
            yield msgspec.msgpack.decode(row["pack"], type=Pack), pa.ipc.open_stream(row["rows"]).read_all()


def _write(row: Row, location: Location) -> Row:
    pack, table = write_pack(location, msgspec.msgpack.decode(row["order"], type=PackOrder))
    written = io.BytesIO()
    with pa.ipc.new_stream(written, table.schema) as sink:
        sink.write_table(table)
    return {"pack": msgspec.msgpack.encode(pack), "rows": written.getvalue()}
