"""The catalog: where each key lies, sorted by key, over all generations so far."""

import hashlib
import io
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive.layout import ArchiveError, Location, catalog_name
from ops.archive.packs import CATALOG_SCHEMA
from ops.archive.rows import OK

# Ranges are cut from so many rows at a time: fewer would make many small batches of each file's rows.
DIVIDED_ROWS = 1 << 18
# A file's footer must stay small, since a cold look-up reads it: 250 row groups of 4,096 are some 200 kB.
FILE_ROWS = 1_000_000
ROW_GROUP_ROWS = 4096
_DICTIONARIES = ["pack", "media_type", "status", "format", "generation"]


class CatalogFile(Struct, frozen=True):
    """A file of a catalog as a seal names it; keys from `first_key` to `last_key`, both inside."""

    name: str
    num_bytes: int
    num_rows: int
    sha256: str
    first_key: str
    last_key: str


class Totals(Struct, kw_only=True):
    """Sums over the current rows, those that a key stands for now."""

    num_images: int = 0
    num_good: int = 0
    failures: dict[str, int] = {}
    source_bytes: int = 0
    thumbnail_bytes: int = 0
    alpha_bytes: int = 0
    pixels: int = 0

    def add(self, rows: pa.Table) -> None:
        """Add the rows of one catalog file."""
        good = rows.filter(pc.equal(rows["status"], OK))
        self.num_images += rows.num_rows
        self.num_good += good.num_rows
        self.source_bytes += _sum(good["source_bytes"])
        self.thumbnail_bytes += _sum(good["length"])
        self.alpha_bytes += _sum(good["alpha_bytes"])
        self.pixels += _sum(pc.multiply(good["width"].cast(pa.int64()), good["height"].cast(pa.int64())))
        for counted in pc.value_counts(rows["status"]).to_pylist():
            if counted["values"] != OK:
                self.failures[counted["values"]] = self.failures.get(counted["values"], 0) + counted["counts"]


def write_catalog(location: Location, seal: int, tables: Iterable[pa.Table]) -> tuple[list[CatalogFile], Totals]:
    """Sort rows of packs and of earlier catalogs by key into files of a million, each key with its current row.

    Sorts outside memory: rows are divided by ranges of keys among temporary files, each small enough to sort.
    """
    totals, files = Totals(), []
    with tempfile.TemporaryDirectory(prefix="regrow-catalog-") as folder:
        for index, rows in enumerate(_ranges(Path(folder), tables)):
            current = current_rows(rows)
            totals.add(current)
            files.append(_store(location, catalog_name(seal, index), current))
    return files, totals


def current_rows(rows: pa.Table) -> pa.Table:
    """Return one row per key, sorted by key: the newest good one, or the newest failure where none is good.

    So a later generation supersedes an earlier one, and a failure never supersedes a good row.
    """
    ranked = rows.append_column("good", pc.equal(rows["status"], OK))
    order = [("key", "ascending"), ("good", "ascending"), ("generation", "ascending")]
    ranked = ranked.sort_by(order).drop_columns("good").combine_chunks()
    if ranked.num_rows == 0:
        return ranked
    keys = ranked["key"]
    last = pc.not_equal(keys.slice(0, len(keys) - 1), keys.slice(1))
    mask = pa.chunked_array([*last.chunks, pa.array([True])])
    return ranked.filter(mask)


def _ranges(folder: Path, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield all rows, divided by disjoint, ascending ranges of keys of about FILE_ROWS each."""
    spilled, splitters = _spill(folder, tables)
    if not splitters:
        yield pa.concat_tables([CATALOG_SCHEMA.empty_table(), *map(_read, spilled)])
        return
    spans = [folder / f"range-{index}" for index in range(len(splitters) + 1)]
    sinks = [_new_file(span) for span in spans]
    for path in spilled:
        for sink, rows in zip(sinks, _divide(_read(path), splitters), strict=True):
            if rows.num_rows:
                sink.write_table(rows)
        path.unlink()  # so the rows lie on the disk once, not twice
    for sink in sinks:
        sink.close()
    for span in spans:
        yield _read(span)
        span.unlink()


def _spill(folder: Path, tables: Iterable[pa.Table]) -> tuple[list[Path], list[str]]:
    """Write all rows to temporary files, DIVIDED_ROWS in each, and choose the keys at which to divide them."""
    paths: list[Path] = []
    held: list[pa.Table] = []
    drawn: list[str] = []
    num_rows = num_held = 0
    for table in chain(tables, [None]):
        if table is not None:
            drawn += table["key"].take(np.arange(0, table.num_rows, 100)).to_pylist()
            held.append(table)
            num_held += table.num_rows
        if held and (table is None or num_held >= DIVIDED_ROWS):
            paths.append(folder / f"rows-{len(paths)}")
            with _new_file(paths[-1]) as sink:
                sink.write_table(pa.concat_tables(held).combine_chunks())
            num_rows, num_held, held = num_rows + num_held, 0, []
    num_ranges = -(-num_rows // FILE_ROWS)
    drawn.sort()
    at = [len(drawn) * index // num_ranges for index in range(1, num_ranges)]
    return paths, sorted({drawn[position] for position in at})


def _new_file(path: Path) -> pa.RecordBatchFileWriter:
    return pa.ipc.new_file(str(path), CATALOG_SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4"))


def _divide(table: pa.Table, splitters: list[str]) -> Iterator[pa.Table]:
    table = table.sort_by("key").combine_chunks()
    keys = table["key"]
    start = 0
    for splitter in splitters:
        # Python orders text by code point, Arrow by UTF-8 bytes: the same order.
        end = bisect_left(range(len(keys)), splitter, key=lambda row: keys[row].as_py())
        yield table.slice(start, end - start)
        start = end
    yield table.slice(start)


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _store(location: Location, name: str, rows: pa.Table) -> CatalogFile:
    written = io.BytesIO()
    pq.write_table(
        rows,
        written,
        compression="zstd",
        use_dictionary=_DICTIONARIES,
        write_statistics=["key"],
        row_group_size=ROW_GROUP_ROWS,
        # As many pages as row groups: a page is read whole with its row group anyway.
        data_page_size=64 << 20,
    )
    content = written.getvalue()
    url = location.at(name)
    if not location.store.put_new(url, content):
        ours, content = content, location.store.read(url)
        if ours != content and not pq.read_table(io.BytesIO(content)).equals(rows):
            raise ArchiveError(f"{url} is not the catalog of these packs: move it away and seal again")
    ends = [rows["key"][row].as_py() for row in (0, rows.num_rows - 1)] if rows.num_rows else ["", ""]
    return CatalogFile(name, len(content), rows.num_rows, hashlib.sha256(content).hexdigest(), *ends)


def _sum(column: pa.ChunkedArray) -> int:
    return pc.sum(column).as_py() or 0
