"""The phases of a driver that has a list of images: plan it, hand it to Ray, take receipts. Each is a child."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scale_phases import ARCHIVE, CODEC, SIZE, measured, open_wire, write_ids

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.rows import Row

GPUS = 512
# Of a list without sizes: 64 MiB of images that count as 4 MiB each.
CHUNK_IMAGES = 16
CHUNK_MEGAPIXELS = CHUNK_IMAGES * SIZE[0] * SIZE[1] / 1e6
LIST_ROWS = 100_000
# One chunk of so many has a failure.
FAILING = 1_000


def write_list(root: str, num_images: int, **_: Any) -> dict[str, Any]:
    """Write a list of URIs as somebody else would have (a child)."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from bench.synthetic import photo_key  # noqa: PLC0415

    begun, path, schema = time.monotonic(), _list_at(root), pa.schema([("uri", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, num_images, LIST_ROWS):
            numbers = range(start, min(start + LIST_ROWS, num_images))
            writer.write_table(pa.table([[f"s3://source/{photo_key(number)}" for number in numbers]], schema=schema))
    return {**measured(begun, {}), "num_bytes": path.stat().st_size}


def _list_at(root: str) -> Path:
    return Path(root) / "list.parquet"


def plan(**given: Any) -> dict[str, Any]:
    """Plan what the list names (a child)."""
    from bench.synthetic import new_target  # noqa: PLC0415
    from pipelines.planning import plan_first  # noqa: PLC0415

    wire, begun = open_wire(given), time.monotonic()
    target, request = new_target(str(_list_at(given["root"])), ARCHIVE, CODEC)
    made = plan_first(target, request)
    answer = measured(begun, wire.calls)
    if made.num_images != given["num_images"]:
        raise RuntimeError(f"{given['num_images']} images are in the list, {made.num_images} were planned")
    write_ids(Path(given["root"]))
    return {**answer, "num_chunks": made.num_chunks}


def feed(**given: Any) -> dict[str, Any]:
    """Read the plan's index and cut it into the blocks that Ray is given (a child)."""
    from clusters.budget import budget_for_nodes  # noqa: PLC0415
    from clusters.machine import Machine  # noqa: PLC0415
    from pipelines.feeding import blocks  # noqa: PLC0415

    wire, begun = open_wire(given), time.monotonic()
    budget = budget_for_nodes([Machine(cpus=8, gpus=1, memory_bytes=32 << 30)] * GPUS)
    found = list(blocks(_index(), budget.num_fetches))
    return {**measured(begun, wire.calls), "num_blocks": len(found), "rows": max(block.num_rows for block in found)}


def receipts(**given: Any) -> dict[str, Any]:
    """Take the receipts of all chunks as a driver does, and show how far it is (a child)."""
    from rich.console import Console  # noqa: PLC0415

    from jobs.progress import Watch  # noqa: PLC0415
    from pipelines.events import Started  # noqa: PLC0415
    from pipelines.outage import Outage  # noqa: PLC0415
    from pipelines.rows import read_receipt  # noqa: PLC0415

    wire, begun = open_wire(given), time.monotonic()
    index = _index()
    outage, spent = Outage("s3://source"), 0.0
    # Made-up receipts cost as much as taking them: what is told is the taking alone, in seconds of the processor.
    with Path(os.devnull).open("w") as nowhere, Watch(Console(file=nowhere)) as watch:
        watch(Started(num_images=given["num_images"], num_bytes=0, num_done=0))
        for row in _rows(index, given["thumbnail_bytes"]):
            received = time.process_time()
            receipt = read_receipt(row)
            watch(receipt)
            outage.watch(receipt)
            spent += time.process_time() - received
    tally = watch.tally
    if (tally.num_done, tally.num_receipts) != (given["num_images"], index.num_rows):
        raise RuntimeError(
            f"of {given['num_images']} images {tally.num_done} were told by {tally.num_receipts} receipts"
        )
    return {
        **measured(begun, wire.calls),
        "cpu": spent,
        "num_receipts": tally.num_receipts,
        "num_failed": tally.num_failed,
        "per_second": tally.num_receipts / spent,
    }


def _rows(index: "pa.Table", thumbnail_bytes: int) -> Iterator["Row"]:
    """Yield what actors would hand to the driver, in the form in which they do."""
    from pipelines.events import Receipt  # noqa: PLC0415
    from pipelines.rows import receipt_row, row_of, table_of  # noqa: PLC0415

    for batch in index.select(["chunk_id", "num_images", "num_bytes"]).to_batches(max_chunksize=LIST_ROWS):
        for number, chunk in enumerate(batch.to_pylist()):
            failures = ["corrupt"] if number % FAILING == 0 else []
            num_good = chunk["num_images"] - len(failures)
            receipt = Receipt(
                name=chunk["chunk_id"], num_images=chunk["num_images"], num_good=num_good,
                pixels=num_good * SIZE[0] * SIZE[1], source_bytes=chunk["num_bytes"],
                thumbnail_bytes=num_good * thumbnail_bytes, seconds=6.4, failures=failures,
            )  # fmt: skip
            yield row_of(table_of(receipt_row(receipt)))


def _index() -> "pa.Table":
    """Return the index of the plan that stands."""
    from ops.archive.layout import locate  # noqa: PLC0415
    from ops.archive.plan import read_index, read_plan  # noqa: PLC0415

    location = locate(ARCHIVE)
    made = read_plan(location, 0)
    assert made
    return read_index(location, made)
