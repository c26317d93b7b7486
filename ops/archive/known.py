"""What an archive holds already, so that growing it plans only what is new."""

from collections.abc import Iterable, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from ops.archive.rows import OK
from ops.keys import HashSet
from ops.readers.base import Entry

BATCH_ROWS = 65_536

Standing = Literal["new", "same", "changed", "untold"]


class KnownKeys:
    """The keys of a catalog with what their source images were, in 24 bytes each.

    The same key with the same etag (or size, where a source has no etags) counts as the same by 16 bytes of hash; a key
    is known by 8, since a false alarm there is only an image reported as changed.
    """

    COLUMNS = ("key", "etag", "source_bytes", "status")

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._facts, self._good = HashSet(16), HashSet()
        for table in tables:
            # A million keys as Python strings would take more than all that is kept of them.
            for batch in table.to_batches(max_chunksize=BATCH_ROWS):
                keys, etags, sizes = (batch.column(name).to_pylist() for name in ("key", "etag", "source_bytes"))
                self._facts.add(self._facts.hashes(map(_facts, keys, etags, sizes)))
                good = batch.filter(pc.equal(batch.column("status"), OK)).column("key").to_pylist()
                self._good.add(self._good.hashes(good))

    def standing(self, entries: Sequence[Entry]) -> list[Standing]:
        """Say of each entry whether it is new (or failed before and is another one now), the same, or changed.

        An entry whose key is known, and that tells neither size nor etag, is "untold": it may be any of the last two.
        """
        same = self._facts.holds(self._facts.hashes(_facts(e.key, e.etag, e.size) for e in entries)).tolist()
        good = self._good.holds(self._good.hashes(e.key for e in entries)).tolist()
        return [_standing(entry, *found) for entry, *found in zip(entries, same, good, strict=True)]


def _standing(entry: Entry, same: bool, good: bool) -> Standing:
    if same:
        return "same"
    if not good:
        return "new"
    # A list of remote URIs knows neither before it fetches.
    return "changed" if entry.etag or entry.size else "untold"


def _facts(key: str, etag: str | None, size: int) -> str:
    return f"{key}\0{etag or size}"
