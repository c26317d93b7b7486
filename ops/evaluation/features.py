"""Features of patches for metrics of a whole set: kept beside the scores, brought together when a report is made."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive.layout import ArchiveError
from ops.evaluation.document import REFERENCE
from ops.evaluation.scores import READERS_AT_ONCE
from ops.metrics.base import Features, Inapplicable, SetMetricConfig
from ops.stores import join, open_store

MOST_PATCHES = 50_000
Place: TypeAlias = tuple[str, str]
"""A patch: its image's key and its position there."""
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
    reference have features. Holds one candidate's features beside the reference's; reads the files once for each.
    """
    kept = _Kept(url, works, extractor, configs[0].patch)
    places = kept.lowest(MOST_PATCHES)
    references = kept.vectors(REFERENCE, places)
    found: dict[str, dict[str, SetScore]] = {}
    for candidate in candidates:
        ours = kept.vectors(candidate, places)
        common = [place for place in places if place in ours]
        found[candidate] = {
            config.column: _finish(config, _stacked(references, common), _stacked(ours, common)) for config in configs
        }
    return found


def _finish(config: SetMetricConfig, references: Features, ours: Features) -> SetScore:
    try:
        return SetScore(value=config.finish(references, ours), num=len(ours))
    except Inapplicable as why:
        return SetScore(value=None, num=len(ours), message=str(why))


def _stacked(vectors: Mapping[Place, bytes], places: Sequence[Place]) -> Features:
    if not places:
        return np.empty((0, 0), np.float32)
    return np.stack([np.frombuffer(vectors[place], "<f4") for place in places])


class _Kept:
    """The features of one extractor and patch size in the files of an evaluation."""

    def __init__(self, url: str, works: Sequence[str], extractor: str, patch: int) -> None:
        self._url, self._works = url, works
        self._of = pc.equal(pc.field("extractor"), extractor) & pc.equal(pc.field("patch"), patch)

    def lowest(self, most: int) -> list[Place]:
        """Return the keys and positions of lowest rank, at most so many, in their own order. Reads no features."""
        ranked: dict[Place, int] = {}
        for table in self._read(REFERENCE, ["key", "position", "rank"]):
            ranked.update(
                ((key, position), rank)
                for key, position, rank in zip(
                    *(table[name].to_pylist() for name in ("key", "position", "rank")), strict=True
                )
            )
            if len(ranked) > 4 * most:
                ranked = dict(sorted(ranked.items(), key=lambda one: (one[1], one[0]))[:most])
        return sorted(sorted(ranked, key=lambda place: (ranked[place], place))[:most])

    def vectors(self, candidate: str, places: Collection[Place]) -> dict[Place, bytes]:
        """Return a candidate's features of these places, as far as it has any."""
        wanted, found = set(places), {}
        for table in self._read(candidate, ["key", "position", "vector"]):
            cells = (table[name].to_pylist() for name in ("key", "position", "vector"))
            found.update(
                ((key, position), vector)
                for key, position, vector in zip(*cells, strict=True)
                if (key, position) in wanted
            )
        return found

    def _read(self, candidate: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        condition = self._of & pc.equal(pc.field("candidate"), candidate)

        def read(work: str) -> pa.Table:
            place = _place(self._url, work)
            try:
                file = pq.ParquetFile(io.BytesIO(open_store(self._url).read(place)), pre_buffer=False)
                table = file.read([*columns, "extractor", "patch", "candidate"], use_threads=False)
                return table.filter(condition).select(columns)
            except FileNotFoundError:  # no metric of a set was taken when this work was done
                return SCHEMA.empty_table().select(columns)
            except (pa.ArrowException, OSError) as error:
                raise ArchiveError(
                    f"{place} is damaged ({error}): remove it and the scores of the same name, and run it again"
                ) from error

        with ThreadPoolExecutor(READERS_AT_ONCE) as pool:
            yield from pool.map(read, self._works)


def _place(url: str, work: str) -> str:
    return join(url, "features", f"{work}.parquet")
