"""Features of patches for metrics of a whole set: kept beside the scores, brought together when a report is made."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from ops.evaluation.document import REFERENCE
from ops.evaluation.scores import READERS_AT_ONCE
from ops.metrics.base import Features, Inapplicable, SetMetricConfig
from ops.stores import join, open_store

MOST_PATCHES = 50_000
SCHEMA = pa.schema(
    [("extractor", pa.string()), ("patch", pa.int32()), ("key", pa.string()), ("position", pa.string()),
     ("rank", pa.uint64()), ("candidate", pa.string()), ("vector", pa.binary())]
)  # fmt: skip


class FeatureRow(Struct, frozen=True, kw_only=True):
    """The features of one patch of one candidate's reconstruction (or of the reference, REFERENCE).

    `vector` is little-endian float32; `rank` orders patches for a subset that depends on nothing but key and position.
    """

    extractor: str
    patch: int
    key: str
    position: str
    rank: int
    candidate: str
    vector: bytes


class SetScore(Struct, frozen=True, kw_only=True):
    """A metric of the whole set: its value, or why there is none, and the number of patches that it stands on."""

    value: float | None
    num: int
    message: str | None = None


def put_features(url: str, work: str, rows: Sequence[FeatureRow]) -> None:
    """Store the features of a work."""
    table = pa.Table.from_pylist([msgspec.to_builtins(row, builtin_types=(bytes,)) for row in rows], schema=SCHEMA)
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd", use_dictionary=["extractor", "key", "candidate"])
    open_store(url).put_new(_place(url, work), written.getvalue())


def set_scores(
    url: str, works: Sequence[str], extractor: str, configs: Sequence[SetMetricConfig], candidates: Sequence[str]
) -> dict[str, dict[str, SetScore]]:
    """Return, by candidate and column, the metrics of one extractor and one patch size, in the order of keys.

    Of all patches the MOST_PATCHES of lowest rank count; a patch counts for a candidate where both it and the
    reference have features. Holds one candidate's features beside the reference's.
    """
    found: dict[str, dict[str, SetScore]] = {}
    references = _Vectors(url, works, extractor, configs[0].patch, REFERENCE)
    for candidate in candidates:
        ours = _Vectors(url, works, extractor, configs[0].patch, candidate)
        common = [place for place in references.lowest(MOST_PATCHES) if place in ours.rows]
        found[candidate] = {
            config.column: _finish(config, references.of(common), ours.of(common), len(common)) for config in configs
        }
    return found


def _finish(config: SetMetricConfig, references: Features, ours: Features, num: int) -> SetScore:
    try:
        return SetScore(value=config.finish(references, ours), num=num)
    except Inapplicable as why:
        return SetScore(value=None, num=num, message=str(why))


class _Vectors:
    """The features of one candidate, by key and position."""

    def __init__(self, url: str, works: Sequence[str], extractor: str, patch: int, candidate: str) -> None:
        def read(work: str) -> pa.Table:
            content = open_store(url).read(_place(url, work))
            wanted = [("extractor", "=", extractor), ("patch", "=", patch), ("candidate", "=", candidate)]
            return pq.read_table(io.BytesIO(content), filters=wanted, use_threads=False)

        with ThreadPoolExecutor(READERS_AT_ONCE) as pool:
            table = pa.concat_tables([SCHEMA.empty_table(), *pool.map(read, works)])
        self.rows: dict[tuple[str, str], tuple[int, bytes]] = {
            (key, position): (rank, vector)
            for key, position, rank, vector in zip(
                *(table[name].to_pylist() for name in ("key", "position", "rank", "vector")), strict=True
            )
        }

    def lowest(self, most: int) -> list[tuple[str, str]]:
        """Return the places of lowest rank, at most so many, in the order of keys and positions."""
        by_rank = sorted(self.rows, key=lambda place: (self.rows[place][0], place))
        return sorted(by_rank[:most])

    def of(self, places: Sequence[tuple[str, str]]) -> Features:
        """Return the features of these places, a row for each."""
        if not places:
            return np.empty((0, 0), np.float32)
        return np.stack([np.frombuffer(self.rows[place][1], "<f4") for place in places])


def _place(url: str, work: str) -> str:
    return join(url, "features", f"{work}.parquet")
