"""Catalog rows of packs that are not there: what sealing is given when 50 million images are simulated."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ops.archive.layout import pack_name
from ops.archive.packs import CATALOG_SCHEMA, Pack, PackOrder
from ops.archive.plan import Plan


class PretendedPacks:
    """Yields a pack and its catalog rows for each order, with the keys, sizes and etags of the plan in its order."""

    def __init__(self, folder: Path, plan: Plan, thumbnail_bytes: int, size: tuple[int, int]) -> None:
        """Read the plan's files in a folder; thumbnails and images are all of one size (bytes; width, height)."""
        self._files = [folder / file.name for file in plan.files]
        self._thumbnail_bytes, self._size = thumbnail_bytes, size
        self._chance = np.random.default_rng(0)

    def __call__(self, orders: Iterable[PackOrder]) -> Iterator[tuple[Pack, pa.Table]]:
        planned = self._planned()
        held = next(planned)
        for order in orders:
            num_rows = sum(part.num_images for part in order.parts)
            while held.num_rows < num_rows:
                held = pa.concat_tables([held, next(planned)])
            name = pack_name(order.generation, order.index)
            num_bytes = num_rows * self._thumbnail_bytes
            sha256 = self._hex(1).to_pylist()[0]
            yield Pack(name, num_bytes, num_rows, sha256), self._rows(name, order.generation, held.slice(0, num_rows))
            held = held.slice(num_rows)

    def _planned(self) -> Iterator[pa.Table]:
        """Yield key, size and etag of every image, a plan file at a time."""
        for path in self._files:
            table = pq.read_table(path, columns=["keys", "sizes", "etags"])
            columns = [table[name].combine_chunks().flatten() for name in ("keys", "sizes", "etags")]
            yield pa.table(columns, names=["key", "source_bytes", "etag"])

    def _rows(self, name: str, generation: int, planned: pa.Table) -> pa.Table:
        n = planned.num_rows
        # Lossless thumbnails of one size differ by a quarter or so.
        lengths = self._chance.integers(self._thumbnail_bytes * 3 // 4, self._thumbnail_bytes * 5 // 4, n)
        columns = {
            "generation": pa.array(np.full(n, generation, np.int32)),
            "pack": pa.array([name] * n),
            "row": pa.array(np.arange(n, dtype=np.int32)),
            "offset": pa.array(np.cumsum(lengths)),
            "length": pa.array(lengths.astype(np.int32)),
            "media_type": pa.array(["image/webp"] * n),
            "sha256": self._hex(n),
            "status": pa.array(["ok"] * n),
            "width": pa.array(np.full(n, self._size[0], np.int32)),
            "height": pa.array(np.full(n, self._size[1], np.int32)),
            "format": pa.array(["JPEG"] * n),
            "alpha_bytes": pa.array(np.zeros(n, np.int32)),
            **{column: planned[column] for column in planned.column_names},
        }
        return pa.table([columns[field.name] for field in CATALOG_SCHEMA], schema=CATALOG_SCHEMA)

    def _hex(self, number: int) -> pa.StringArray:
        """Return so many random digests of 64 hex digits."""
        text = self._chance.bytes(32 * number).hex().encode()
        offsets = np.arange(0, 64 * (number + 1), 64, dtype=np.int32)
        return pa.StringArray.from_buffers(number, pa.py_buffer(offsets), pa.py_buffer(text))
