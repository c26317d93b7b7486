"""Work handed to Ray Data in blocks that the driver cuts.

Left to Ray's own repartition, one task would hand out all rows, about one each time that Ray's loop comes round: 10 to
16 a second while other tasks are running, however large a cluster is, and faster than they are used where it is small:
then they heap up in the driver, 10 kB each.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from ray.data import Dataset

# A block costs the driver a millisecond and 10 kB. So many for each task that runs at a time are enough for all tasks
# to end at about the same time, and where there are few rows, a block for each makes no difference.
ROUNDS = 8
FEW = 1024
# A task that dies fetches again what its block has.
MOST_ROWS = 64


def fed(work: pa.Table, tasks: int) -> "Dataset":
    """Return rows of work as a dataset for so many tasks at a time. Needs a Ray session.

    A task gets a block of several rows where there are many; what it makes of each is a block of its own.
    """
    import ray  # noqa: PLC0415  the environment must stand before it is imported

    return ray.data.from_blocks(list(blocks(work, tasks)))


def blocks(work: pa.Table, tasks: int) -> Iterator[pa.Table]:
    """Yield work in blocks: one row each while there are few, of up to MOST_ROWS where there are many for each task."""
    rows = min(max(1, work.num_rows // max(ROUNDS * tasks, FEW)), MOST_ROWS)
    for start in range(0, work.num_rows, rows):
        yield work.slice(start, rows)
